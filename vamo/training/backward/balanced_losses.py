"""Balanced losses: the targets' losses, weighted by a balancer, in one backward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic

import torch
from torch import Tensor, nn

from vamo.alignment.estimators import BatchT, GroupLosses
from vamo.config import BalancingConfig, LossMethod
from vamo.training.backward.balancers import make_balancer
from vamo.training.optimisation import fill_gradients


class BalancedLosses(Generic[BatchT]):
    """The gradient of the scalar that a balancer makes of the targets' losses.

    Args:
        method: Which balancer.
        config: Its settings.
        losses: Losses of a batch's groups.
        parameters: By name; their `grad` is written.
        n_targets: K.
    """

    def __init__(
        self,
        method: LossMethod,
        config: BalancingConfig,
        losses: GroupLosses[BatchT],
        parameters: Mapping[str, nn.Parameter],
        *,
        n_targets: int,
    ) -> None:
        self._losses, self._parameters, self._n_targets = losses, parameters, n_targets
        self._shared = last_shared(parameters)
        self._balancer = make_balancer(method, config, n_targets, self._shared.device)
        self.own_parameters: Sequence[nn.Parameter] = self._balancer.parameters
        self.rate_factor = config.uncertainty_rate

    def __call__(self, batch: BatchT, weights: Tensor, targets: Tensor, step: int) -> Tensor:
        """See `vamo.training.backward.strategy.Backward`."""
        terms, losses = self._target_losses(batch, weights, targets)
        self._balancer.scalar(losses, self._shared).backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        fill_gradients(self._parameters)
        return terms.detach()

    @torch.no_grad()
    def after_step(self, batch: BatchT, weights: Tensor, targets: Tensor) -> None:
        """Lets the balancer see what the step did to the losses of its batch."""
        self._balancer.after_step(lambda: self._target_losses(batch, weights, targets)[1])

    def state(self) -> dict[str, Tensor]:
        """What the balancer remembers."""
        return self._balancer.state()

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Continues from the `state` of another one with equal arguments."""
        for name, tensor in self._balancer.state().items():
            tensor.copy_(tensors[name])

    def _target_losses(self, batch: BatchT, weights: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted losses (P,) of the pairs, and their sums (K,) over each target."""
        terms = weights * self._losses(self._parameters, batch).mean(dim=1)
        return terms, terms.new_zeros(self._n_targets).index_add(0, targets, terms)


def last_shared(parameters: Mapping[str, nn.Parameter]) -> nn.Parameter:
    """The weights of the output layer, which all targets share; for a model without one its last parameter."""
    for name in ("head.weight", "planner.inverse_out.weight"):
        if name in parameters:
            return parameters[name]
    return list(parameters.values())[-1]
