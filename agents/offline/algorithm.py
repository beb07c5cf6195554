"""What an algorithm gives the training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from tensordict import TensorDict  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torchrl.objectives import LossModule, SoftUpdate, ValueEstimators  # type: ignore[import-untyped]

from agents.learning.policy import Policy
from agents.offline.settings import OfflineSettings


class Algorithm(nn.Module, ABC):
    """All weights of a training, and its step. Subclasses set `actor`, and an optimizer for every loss.

    Batches have `observation` (B, 31) normalised, `action` (B, 1) in [-1, 1], and below "next": `observation`,
    `reward` (B, 1), `terminated` and `done` (B, 1), and `steps_to_next_obs` (B, 1) beside it.
    """

    actor: nn.Module
    optimizers: dict[str, Optimizer]

    @abstractmethod
    def update(self, batch: TensorDict, step: int) -> dict[str, Tensor]:
        """One step, counted from 0; returns the losses by name."""

    def prepare(self, data: TensorDict, policy: Policy) -> None:
        """Told all transitions, and their normalisation, before the first step; a model-based algorithm keeps them."""

    def minimise(self, name: str, loss: Tensor) -> Tensor:
        """A step of one optimizer, on the parameters that it has; returns the loss."""
        optimizer = self.optimizers[name]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        optimizer.step()
        return loss.detach()


def adam(parameters: nn.Module | list[nn.Parameter], settings: OfflineSettings) -> Adam:
    """Adam with the settings' rate."""
    listed = list(parameters.parameters()) if isinstance(parameters, nn.Module) else parameters
    return Adam(listed, lr=settings.learning_rate)


def prepared(loss: LossModule, discount: float, tau: float) -> SoftUpdate:
    """Gives a loss its one-step targets (of `steps_to_next_obs` ticks), and the updater of its target networks."""
    loss.make_value_estimator(ValueEstimators.TD0, gamma=discount)
    return SoftUpdate(loss, tau=tau)
