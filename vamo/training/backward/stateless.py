"""The part of a strategy that remembers nothing from step to step and learns no parameters of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic

from torch import Tensor, nn

from vamo.alignment.estimators import BatchT


class Stateless(Generic[BatchT]):
    """What `vamo.training.backward.strategy.Backward` asks for beside the gradient, where there is nothing to keep."""

    own_parameters: Sequence[nn.Parameter] = ()
    rate_factor = 1.0

    def after_step(self, batch: BatchT, weights: Tensor, targets: Tensor) -> None:
        """Nothing is learned from the parameters' move."""

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """There is none."""
