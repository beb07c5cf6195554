"""Alignments m_ik = <g_k, g_ik> of the sources with a target's validation gradient (arXiv 2510.07760).

Every estimator has the signature of `Estimator` and gives the numbers of `Explicit` up to rounding. It sees
parameters by name and a function of them, nothing of the data. `vamo.alignment.ghost` has the cheapest of them.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

Parameters = Mapping[str, Tensor]
BatchT = TypeVar("BatchT")
BatchT_contra = TypeVar("BatchT_contra", contravariant=True)
GroupLosses = Callable[[Parameters, BatchT], Tensor]
"""Parameters and a batch of G groups of b samples to losses (G, b); a group's loss is the mean over its b."""
Groups = Callable[[BatchT, int, int], BatchT]
"""A batch, start and stop to the batch of its groups from `start` to before `stop`."""


class Alignment(NamedTuple):
    """Alignments of R targets with S sources each, from b samples a pair."""

    per_sample: Tensor  # (R, S, b) <direction of the target, gradient of the sample's loss>
    norm: Tensor | None  # (R, S) |direction| |gradient of the pair's loss|; None where not wanted

    @property
    def mean(self) -> Tensor:
        """m_ik, (R, S)."""
        return self.per_sample.mean(dim=2)

    @property
    def standard_error(self) -> Tensor:
        """Of that mean over the pair's samples, (R, S); nan where there is one sample only."""
        n = self.per_sample.shape[2]
        if n < 2:
            return torch.full_like(self.per_sample[:, :, 0], torch.nan)
        sd: Tensor = self.per_sample.std(dim=2)
        return sd / math.sqrt(n)

    def normalised(self) -> Alignment:
        """Cosines where the norms are known, the inner products otherwise."""
        if self.norm is None:
            return self
        tiny = torch.finfo(self.norm.dtype).tiny
        return Alignment(self.per_sample / self.norm.clamp_min(tiny)[:, :, None], None)


class Estimator(Protocol[BatchT_contra]):
    """Alignments of training samples with the directions of their targets."""

    def __call__(
        self,
        training: BatchT_contra,
        validation: BatchT_contra,
        *,
        preconditioner: Parameters | None = None,
        norms: bool = False,
    ) -> Alignment:
        """Alignments at the model's present parameters, which are left alone.

        Args:
            training: R x S groups of b samples, those of a target one after the other.
            validation: R groups; the direction of target r is the gradient g_r of its group's loss.
            preconditioner: A positive number per parameter entry, P^-1; the direction is then P^-1 g_r, the
                drop that an update preconditioned by P^-1 brings (arXiv 2602.00329).
            norms: Whether `Alignment.norm` is wanted, which turns inner products into cosines.
        """
        ...


def gradient(
    losses: GroupLosses[BatchT], parameters: Parameters, batch: BatchT, varied: Parameters | None = None
) -> dict[str, Tensor]:
    """Gradient of the mean loss over all groups and samples with respect to `varied`, all by default; by name."""
    leaves = {name: p.detach().requires_grad_() for name, p in (parameters if varied is None else varied).items()}
    mean = losses({**parameters, **leaves}, batch).mean()
    return _gradient_of(mean, leaves)


def _gradient_of(loss: Tensor, leaves: Parameters) -> dict[str, Tensor]:
    """Gradient by name; zeros for what the loss does not depend on."""
    if not loss.requires_grad:
        return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    gradients = torch.autograd.grad(
        loss, list(leaves.values()), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return dict(zip(leaves, gradients, strict=True))


def dot(a: Parameters, b: Parameters) -> Tensor:
    """Inner product over all entries of `a`, whose names `b` has too; a scalar."""
    return torch.stack([(a[name] * b[name]).sum() for name in a]).sum()


class _ByTarget(Generic[BatchT]):
    """What estimators that go from target to target share.

    Args:
        losses: Losses of a batch's groups.
        model: Holds the parameters.
        groups: Cuts groups out of a batch.
    """

    def __init__(self, losses: GroupLosses[BatchT], model: nn.Module, groups: Groups[BatchT]) -> None:
        self.losses, self.groups = losses, groups
        self.parameters: dict[str, nn.Parameter] = dict(model.named_parameters())

    def detached(self) -> dict[str, Tensor]:
        return {name: parameter.detach() for name, parameter in self.parameters.items()}

    def parts(self, training: BatchT, validation: BatchT, size: int = 1) -> Iterator[tuple[BatchT, BatchT]]:
        """Training and validation groups of `size` targets after the other; fewer in the last part."""
        n_targets, n_groups = n_groups_of(validation), n_groups_of(training)
        if n_groups % n_targets:
            raise ValueError(
                f"`training` must hold equally many groups for each of {n_targets} targets, found {n_groups}"
            )
        n_sources = n_groups // n_targets
        for start in range(0, n_targets, size):
            stop = min(start + size, n_targets)
            own = self.groups(training, start * n_sources, stop * n_sources)
            yield own, self.groups(validation, start, stop)


def n_groups_of(batch: object) -> int:
    """Groups of a batch: its attribute `n_groups`, or the length of a tensor."""
    n: int = len(batch) if isinstance(batch, Tensor) else batch.n_groups  # type: ignore[attr-defined]
    return n


class Explicit(_ByTarget[BatchT]):
    """The reference: one backward pass per sample and dot products."""

    def __call__(
        self,
        training: BatchT,
        validation: BatchT,
        *,
        preconditioner: Parameters | None = None,
        norms: bool = False,
    ) -> Alignment:
        leaves = {name: parameter.requires_grad_() for name, parameter in self.detached().items()}
        dots, products = [], []
        for own, held_out in self.parts(training, validation):
            direction = precondition(gradient(self.losses, leaves, held_out), preconditioner)
            per_sample = self.losses(leaves, own)
            dots.append(
                torch.stack(
                    [dot(_gradient_of(loss, leaves), direction) for group in per_sample for loss in group]
                ).view_as(per_sample)
            )
            if norms:
                groups = [_gradient_of(mean, leaves) for mean in per_sample.mean(dim=1)]
                squares = torch.stack([dot(g, g) for g in groups])
                products.append((dot(direction, direction) * squares).sqrt())
        return Alignment(torch.stack(dots), torch.stack(products) if norms else None)


class ForwardMode(_ByTarget[BatchT]):
    """One forward-mode pass a target: the derivative of every sample's loss along the direction.

    The gradients of the pairs never exist, so that there are no `norms`: asking for them is a ValueError.
    """

    def __call__(
        self,
        training: BatchT,
        validation: BatchT,
        *,
        preconditioner: Parameters | None = None,
        norms: bool = False,
    ) -> Alignment:
        return self.along(self.detached(), training, validation, preconditioner=preconditioner, norms=norms)

    def along(
        self,
        varied: Parameters,
        training: BatchT,
        validation: BatchT,
        *,
        preconditioner: Parameters | None,
        norms: bool = False,
    ) -> Alignment:
        """The contribution of the parameters in `varied` alone; the alignment is the sum over all of them."""
        if norms:
            raise ValueError(
                f"`norms` must be False for forward mode, which never holds a pair's gradient, found True "
                f"(parameters {', '.join(varied)})"
            )
        parameters = self.detached()
        rows = []
        for own, held_out in self.parts(training, validation):
            direction = precondition(gradient(self.losses, parameters, held_out, varied), preconditioner)
            rows.append(derivatives(self.losses, {**parameters, **varied}, direction, own))
        return Alignment(torch.stack(rows), None)


def derivatives(losses: GroupLosses[BatchT], parameters: Parameters, direction: Parameters, batch: BatchT) -> Tensor:
    """Derivative of every sample's loss along a direction, in one forward-mode pass.

    Args:
        losses: Losses of a batch's groups.
        parameters: Where, by name, without a graph.
        direction: By name, of all parameters or of some of them.
        batch: G groups of b samples.

    Returns:
        (G, b).
    """
    _load_derivatives()
    start = {name: parameters[name] for name in direction}

    def moved(values: dict[str, Tensor]) -> Tensor:
        return losses({**parameters, **values}, batch)

    with sdpa_kernel(SDPBackend.MATH):  # attention's fused kernels have no forward-mode derivative
        derivative: Tensor = torch.func.jvp(moved, (start,), (dict(direction),))[1]
    return derivative


def precondition(direction: dict[str, Tensor], preconditioner: Parameters | None) -> dict[str, Tensor]:
    """P^-1 g, entry by entry; g itself without a preconditioner."""
    if preconditioner is None:
        return direction
    return {name: preconditioner[name] * g for name, g in direction.items()}


@functools.cache
def _load_derivatives() -> None:
    """The first use of forward mode in a process makes torch warn about its own use of TorchScript."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=DeprecationWarning)
        torch.func.jvp(torch.sin, (torch.zeros(1),), (torch.ones(1),))
