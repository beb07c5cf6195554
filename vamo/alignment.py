"""Alignments m_ik = <g_k, g_ik> of the sources with a target's validation gradient (arXiv 2510.07760).

Every estimator has the signature of `Estimator` and gives the numbers of `explicit` up to rounding. It sees
parameters by name and a function of them, nothing of the model or the data.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]
BatchT = TypeVar("BatchT")
GroupLosses = Callable[[Parameters, BatchT], Tensor]
"""Parameters and a batch of G groups of b samples to losses (G, b); a group's loss is the mean over its b."""


class Alignment(NamedTuple):
    """Alignments of the groups with one direction."""

    mean: Tensor  # (G,) <direction, gradient of the group's loss>
    standard_error: Tensor  # (G,) of that mean over the group's samples; nan where unknown


class Estimator(Protocol):
    """Alignments of a batch's groups with a direction in parameter space."""

    def __call__(
        self, losses: GroupLosses[BatchT], parameters: Parameters, batch: BatchT, direction: Parameters
    ) -> Alignment: ...


def gradient(losses: GroupLosses[BatchT], parameters: Parameters, batch: BatchT) -> dict[str, Tensor]:
    """Gradient of the mean loss over all groups and samples, by parameter name."""
    leaves = {name: parameter.detach().requires_grad_() for name, parameter in parameters.items()}
    mean = losses(leaves, batch).mean()
    return dict(zip(leaves, torch.autograd.grad(mean, list(leaves.values())), strict=True))


def explicit(losses: GroupLosses[BatchT], parameters: Parameters, batch: BatchT, direction: Parameters) -> Alignment:
    """The reference: one backward pass per group and a dot product; no standard errors."""
    leaves = {name: parameter.detach().requires_grad_() for name, parameter in parameters.items()}
    means = losses(leaves, batch).mean(dim=1)
    dots = []
    for mean in means:
        gradients = torch.autograd.grad(mean, list(leaves.values()), retain_graph=True)
        products = [(g * direction[name]).sum() for name, g in zip(leaves, gradients, strict=True)]
        dots.append(torch.stack(products).sum())
    return Alignment(torch.stack(dots), torch.full_like(means, torch.nan).detach())


def forward_mode(
    losses: GroupLosses[BatchT], parameters: Parameters, batch: BatchT, direction: Parameters
) -> Alignment:
    """All groups in one forward pass: the derivative of every sample's loss along the direction.

    The mean over a group's samples is the alignment; their spread gives its standard error.
    """
    _load_derivatives()
    primals = {name: parameter.detach() for name, parameter in parameters.items()}
    tangents = {name: direction[name].detach() for name in primals}
    per_sample: Tensor = torch.func.jvp(lambda p: losses(p, batch), (primals,), (tangents,))[1]
    n = per_sample.shape[1]
    if n < 2:
        return Alignment(per_sample.mean(dim=1), torch.full_like(per_sample[:, 0], torch.nan))
    return Alignment(per_sample.mean(dim=1), per_sample.std(dim=1) / n**0.5)


@functools.cache
def _load_derivatives() -> None:
    """The first use of forward mode in a process makes torch warn about its own use of TorchScript."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=DeprecationWarning)
        torch.func.jvp(torch.sin, (torch.zeros(1),), (torch.ones(1),))
