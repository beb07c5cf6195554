"""What a backward strategy is, and which one a training method has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn

from vamo.alignment.estimators import BatchT, BatchT_contra, GroupLosses
from vamo.config import Config
from vamo.training.backward.balanced_losses import BalancedLosses
from vamo.training.backward.balancers import is_loss_based
from vamo.training.backward.combined_gradients import CombinedGradients, is_multitask
from vamo.training.backward.direction_oriented import DirectionOriented
from vamo.training.backward.gated_gradients import GatedGradients
from vamo.training.backward.weighted_loss import WeightedLoss
from vamo.training.batches import Batches
from vamo.training.distributed import Processes


class Backward(Protocol[BatchT_contra]):
    """Writes the gradients of a step; the optimiser that follows is the same for all strategies."""

    own_parameters: Sequence[nn.Parameter]  # learned by the trainer's optimiser beside the model's; without decay
    rate_factor: float  # their learning rate over the model's

    def __call__(self, batch: BatchT_contra, weights: Tensor, targets: Tensor, step: int) -> Tensor:
        """Writes the gradients of the model's and its own parameters.

        Args:
            batch: P groups, one a pair.
            weights: (P,) factors of the groups' mean losses, or (P, b) of the losses of their samples.
            targets: (P,) the pairs' targets, ascending.
            step: Number of the step.

        Returns:
            Terms of the targets' losses, (P,): weight times loss, without a graph.
        """
        ...

    def after_step(self, batch: BatchT_contra, weights: Tensor, targets: Tensor) -> None:
        """Called with the same arguments when the optimiser has moved the parameters."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What is remembered from step to step, by name."""
        ...

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Continues from the `state` of another strategy with equal arguments."""
        ...


def make_backward(
    config: Config,
    losses: GroupLosses[BatchT],
    parameters: Mapping[str, nn.Parameter],
    batches: Batches[BatchT],
    *,
    n_targets: int,
    processes: Processes | None = None,
) -> Backward[BatchT]:
    """The strategy of `config.train.method`.

    Args:
        config: `train`, `weighting` and `balancing` are used.
        losses: Losses of a batch's groups.
        parameters: The model's, by name.
        batches: Cuts groups out of a batch, and supplies validation windows.
        n_targets: K.
        processes: Those that train together.

    Raises:
        ImportError: The method needs the extra `mtl`.
        ValueError: The method weights targets, and a step does not hold all of them; or it trains in one process only,
            and several train.
    """
    method, seed = config.train.method, config.train.seed
    processes = Processes() if processes is None else processes
    if method == "agem":
        _check_is_alone(method, processes)
        n_validation = max(config.weighting.validation_batch_size // n_targets, 1)
        return GatedGradients(losses, parameters, batches, n_validation=n_validation)
    if is_multitask(method) or is_loss_based(method) or method == "sdmgrad":
        _check_holds_all_targets(config, n_targets)
        _check_is_alone(method, processes)
    if method == "sdmgrad":
        return DirectionOriented(config.balancing, losses, parameters, batches.groups, n_targets=n_targets)
    if is_multitask(method):
        return CombinedGradients(method, losses, parameters, batches.groups, n_targets=n_targets, seed=seed)
    if is_loss_based(method):
        return BalancedLosses(method, config.balancing, losses, parameters, n_targets=n_targets)
    return WeightedLoss(losses, parameters, batches.groups, processes)


def _check_holds_all_targets(config: Config, n_targets: int) -> None:
    method, n_pairs = config.train.method, config.weighting.pairs_per_step
    if n_pairs < n_targets:
        raise ValueError(
            f"`pairs_per_step` must be at least the number of targets, {n_targets}, for method {method!r}, "
            f"found {n_pairs}"
        )


def _check_is_alone(method: str, processes: Processes) -> None:
    if processes.size > 1:
        raise ValueError(f"method {method!r} must train in one process, found {processes.size}")
