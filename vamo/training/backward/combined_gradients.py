"""Combined gradients: the multi-task optimisers of torchjd.

Rows of the Jacobian are the gradients of the targets' losses, with equal weights of the sources. Each comes from one
forward and backward pass over the target's own part of the batch. All rows together take the operations of one pass
over the batch, but K gradients are in memory; the weighted loss of the other methods needs one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeGuard, get_args

import numpy as np
import torch
from torch import Tensor, nn

from vamo.alignment.estimators import BatchT, GroupLosses, Groups
from vamo.config import MultitaskMethod

if TYPE_CHECKING:
    from torchjd.aggregation import Aggregator

AGGREGATORS: Mapping[MultitaskMethod, tuple[str, dict[str, Any]]] = {
    "mean": ("Mean", {}),
    "random": ("Random", {}),  # random loss weighting, arXiv 2111.10603
    "graddrop": ("GradDrop", {}),  # arXiv 2010.06808
    "pcgrad": ("PCGrad", {}),  # arXiv 2001.06782
    "gradvac": ("GradVac", {}),  # arXiv 2010.05874
    "cagrad": ("CAGrad", {"c": 0.5}),  # arXiv 2110.14048
    "mgda": ("MGDA", {}),  # arXiv 1810.04650
    "imtl_g": ("IMTLG", {}),  # ICLR 2021
    "nash_mtl": ("NashMTL", {}),  # arXiv 2202.01017
    "aligned_mtl": ("AlignedMTL", {}),  # arXiv 2305.19000
    "fairgrad": ("FairGrad", {"alpha": 1.0}),  # arXiv 2402.15638
    "upgrad": ("UPGrad", {}),  # arXiv 2406.16232
    "dualproj": ("DualProj", {}),  # gradient episodic memory, arXiv 1706.08840
}
"""Class in `torchjd.aggregation` and its arguments; those without a default there take the paper's usual one."""


def is_multitask(method: str) -> TypeGuard[MultitaskMethod]:
    """Whether a training method is one of this module."""
    return method in get_args(MultitaskMethod)


def make_aggregator(method: MultitaskMethod, n_targets: int) -> Aggregator:
    """The aggregator of a method.

    Raises:
        ImportError: torchjd, or a solver that the method needs, is not installed; both come with `mtl`.
    """
    try:
        from torchjd import aggregation
    except ImportError as error:
        raise ImportError(f"method {method!r} needs torchjd, found none: pip install 'vamo-bidding[mtl]'") from error
    name, arguments = AGGREGATORS[method]
    if method == "nash_mtl":
        arguments = {"n_tasks": n_targets, **arguments}
    aggregator: Aggregator = getattr(aggregation, name)(**arguments)
    return aggregator


@contextmanager
def without_solver_warnings() -> Iterator[None]:
    """Silences what cvxpy says of the way in which torchjd states Nash-MTL's problem, and its divisions by 0.

    They arise where a gradient's products with all others sum to 0; torchjd then keeps the weights that it had.
    """
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not DPP", category=UserWarning)
        yield


class CombinedGradients(Generic[BatchT]):
    """A backward pass for each target; the gradient is a combination of theirs.

    Args:
        method: Which combination.
        losses: Losses of a batch's groups.
        parameters: By name; their `grad` is written.
        groups: Cuts groups out of a batch.
        n_targets: K.
        seed: Of the methods that draw random numbers, with the step's number.
    """

    own_parameters: Sequence[nn.Parameter] = ()
    rate_factor = 1.0

    def __init__(
        self,
        method: MultitaskMethod,
        losses: GroupLosses[BatchT],
        parameters: Mapping[str, nn.Parameter],
        groups: Groups[BatchT],
        *,
        n_targets: int,
        seed: int,
    ) -> None:
        self._method = method
        self._aggregator = make_aggregator(method, n_targets)
        self._losses, self._parameters, self._groups = losses, parameters, groups
        self._n_targets, self._seed = n_targets, seed

    def __call__(self, batch: BatchT, weights: Tensor, targets: Tensor, step: int) -> Tensor:
        """See `vamo.training.backward.strategy.Backward`; each of the K targets must be in the batch.

        The scale of the gradient is that of the sum over targets, of which `mean` gives the gradient itself.
        """
        leaves = list(self._parameters.values())
        counts = torch.bincount(targets, minlength=self._n_targets).tolist()
        rows, terms, start = [], [], 0
        for n in counts:
            part = slice(start, start + n)
            means = self._losses(self._parameters, self._groups(batch, part.start, part.stop)).mean(dim=1)
            own = weights[part] * means
            gradients = torch.autograd.grad(own.sum(), leaves, allow_unused=True, materialize_grads=True)
            rows.append(torch.cat([g.flatten() for g in gradients]))
            terms.append(own.detach())
            start += n
        combined = self._n_targets * self._aggregate(torch.stack(rows), step)
        pieces = torch.split(combined, [parameter.numel() for parameter in leaves])
        for parameter, piece in zip(leaves, pieces, strict=True):
            parameter.grad = piece.view_as(parameter)
        return torch.cat(terms)

    def after_step(self, batch: BatchT, weights: Tensor, targets: Tensor) -> None:
        """The aggregators learn nothing from the parameters' move."""

    def state(self) -> dict[str, Tensor]:
        """What the method remembers from step to step, by name; empty before the first step and for most methods.

        torchjd has no public way to read it, so that this reaches into its objects.

        Raises:
            ValueError: This version of torchjd keeps it elsewhere.
        """
        holder = self._holder()
        if holder is None:
            return {}
        place, name = holder
        value = getattr(place, name)
        if value is None:
            return {}
        return {name: torch.as_tensor(value).clone()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Continues from the `state` of another one with equal arguments; raises as it does."""
        holder = self._holder()
        if holder is None or not tensors:
            return
        place, name = holder
        value = tensors[name].clone()
        if self._method == "nash_mtl":
            place.prvs_alpha = value.numpy()
        else:
            place._phi_t = value
            place._state_key = (len(value), value.dtype)  # without it the next step would start anew

    def _holder(self) -> tuple[Any, str] | None:
        """The object and the attribute that remember; None for a method that does not."""
        where = {"gradvac": ("gramian_weighting", "_phi_t"), "nash_mtl": ("weighting", "prvs_alpha")}
        if self._method not in where:
            return None
        part, name = where[self._method]
        place = getattr(self._aggregator, part, None)
        if not hasattr(place, name):
            raise ValueError(
                f"method {self._method!r} cannot be checkpointed: `{part}.{name}` must be an attribute of torchjd's "
                f"aggregator, found none in this version"
            )
        return place, name

    def _aggregate(self, jacobian: Tensor, step: int) -> Tensor:
        """(K, N) -> (N,); random draws depend on seed and step alone, and global random state is left alone."""
        devices = [jacobian.device] if jacobian.is_cuda else []
        with torch.random.fork_rng(devices=devices), without_solver_warnings():
            torch.manual_seed((self._seed << 32) + step)
            combined: Tensor = self._aggregator(jacobian)
        return combined
