"""What turns gradients into parameters: optimiser, preconditioner, learning rate, running mean of the parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from vamo.config import TrainConfig


def make_optimizer(
    parameters: Mapping[str, nn.Parameter],
    config: TrainConfig,
    own: Sequence[nn.Parameter] = (),
    rate_factor: float = 1.0,
) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only.

    Args:
        parameters: The model's, by name.
        config: Learning rate and weight decay.
        own: Those of a backward strategy; no weight decay.
        rate_factor: Their learning rate over the model's.
    """
    groups = [
        {"params": [p for p in parameters.values() if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups += [{"params": list(own), "weight_decay": 0.0, "rate_factor": rate_factor}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.learning_rate, fused=True)


def set_learning_rate(optimizer: torch.optim.AdamW, step: int, config: TrainConfig) -> None:
    """Gives every group its learning rate of a step."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, config) * group.get("rate_factor", 1.0)


def preconditioner(optimizer: torch.optim.AdamW, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor] | None:
    """Adam's P^-1 = 1 / (sqrt(v) + eps) for each parameter entry, by name; None before its first step."""
    if not optimizer.state:
        return None
    beta, eps = optimizer.defaults["betas"][1], optimizer.defaults["eps"]
    out = {}
    for name, parameter in parameters.items():
        state = optimizer.state[parameter]
        second_moment = state["exp_avg_sq"] / (1 - beta ** state["step"])
        out[name] = 1 / (second_moment.sqrt() + eps)
    return out


def fill_gradients(parameters: Mapping[str, nn.Parameter]) -> None:
    """Zeros where a loss does not depend on a parameter, so that all are treated alike."""
    for parameter in parameters.values():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


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
