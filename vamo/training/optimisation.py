"""What turns gradients into parameters: optimiser, learning rate, running mean of the parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from vamo.config import TrainConfig


def make_optimizer(parameters: Mapping[str, nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    groups = [
        {"params": [p for p in parameters.values() if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.learning_rate, fused=True)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up to the peak, then a cosine down to `final_learning_rate` of it."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / (config.warmup_steps + 1)
    progress = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    cosine = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    return config.learning_rate * (config.final_learning_rate + (1 - config.final_learning_rate) * cosine)


class Average:
    """Exponential running mean of the parameters.

    Step t = 1, 2, ... decays by min(decay, t / (t + 9)): a short run is not held at its random start.

    Args:
        parameters: By name; the mean starts at their present values.
        decay: Per step.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self.mean: dict[str, Tensor] = {name: p.detach().clone() for name, p in parameters.items()}

    def update(self, step: int) -> None:
        """Takes in the parameters after step `step`, counted from 1."""
        decay = min(self._decay, step / (step + 9))
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        average(list(self.mean.values()), [p.detach() for p in self._parameters.values()], step)
