"""One weighted loss: validation-aligned weights, and every rule that fixes weights before training."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vamo.alignment.estimators import BatchT, GroupLosses, Groups
from vamo.training.backward.stateless import Stateless
from vamo.training.distributed import Processes
from vamo.training.optimisation import fill_gradients


class WeightedLoss(Stateless[BatchT]):
    """The gradient of sum_k sum_i w_ik L_ik in one backward pass, shared out to the processes.

    Args:
        losses: Losses of a batch's groups.
        parameters: By name; their `grad` is written.
        groups: Cuts groups out of a batch.
        processes: Each does its share of the groups; gradients and terms are summed.
    """

    def __init__(
        self,
        losses: GroupLosses[BatchT],
        parameters: Mapping[str, nn.Parameter],
        groups: Groups[BatchT],
        processes: Processes,
    ) -> None:
        self._losses, self._parameters, self._groups = losses, parameters, groups
        self._processes = processes

    def __call__(self, batch: BatchT, weights: Tensor, targets: Tensor, step: int) -> Tensor:
        """See `vamo.training.backward.strategy.Backward`."""
        part = self._processes.share(len(weights))
        if self._processes.size > 1:
            batch = self._groups(batch, part.start, part.stop)
        losses = self._losses(self._parameters, batch)  # (P of this process, b)
        factors = weights[part] if weights.ndim == 2 else weights[part, None] / losses.shape[1]
        own = (factors * losses).sum(dim=1)
        own.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        fill_gradients(self._parameters)
        terms = weights.new_zeros(len(weights))
        terms[part] = own.detach()
        self._processes.sum([terms, *(p.grad for p in self._parameters.values() if p.grad is not None)])
        return terms
