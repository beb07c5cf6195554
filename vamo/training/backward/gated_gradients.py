"""A-GEM's gate: what points against a target's validation gradient is projected out of a source's gradient."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vamo.alignment.estimators import BatchT, GroupLosses, derivatives, dot, gradient
from vamo.training.backward.stateless import Stateless
from vamo.training.batches import Batches
from vamo.training.optimisation import fill_gradients


class GatedGradients(Stateless[BatchT]):
    """The gradient sum_k sum_i w_ik p_k(g_ik), with p_k the gate of target k.

    With the validation gradient g_k,
        p_k(g) = g                               where <g, g_k> >= 0,
        p_k(g) = g - <g, g_k> / <g_k, g_k> g_k    elsewhere:
    the nearest gradient that does not raise the target's validation loss to first order. A source that agrees is used
    whole, one that conflicts loses its part against the target, and none is dropped.

    Source: A. Chaudhry et al., "Efficient lifelong learning with A-GEM" (ICLR 2019, arXiv 1812.00420), equation 11.
    There the reference is the mean gradient of the memory of earlier tasks and the gradient is that of the present
    task; here they are the target's validation gradient and the gradient of each of its sources.

    The projections are sums of g_k, so that no gradient of a pair is needed: the products <g_ik, g_k> come from one
    forward-mode pass a target, and one backward pass gives the weighted sum of the g_ik.

    Args:
        losses: Losses of a batch's groups.
        parameters: By name; their `grad` is written.
        batches: Supplies the validation windows of each step.
        n_validation: Validation windows of a target in a step.
    """

    def __init__(
        self,
        losses: GroupLosses[BatchT],
        parameters: Mapping[str, nn.Parameter],
        batches: Batches[BatchT],
        *,
        n_validation: int,
    ) -> None:
        self._losses, self._parameters, self._batches = losses, parameters, batches
        self._n_validation = n_validation

    def __call__(self, batch: BatchT, weights: Tensor, targets: Tensor, step: int) -> Tensor:
        """See `vamo.training.backward.strategy.Backward`."""
        terms = weights * self._losses(self._parameters, batch).mean(dim=1)
        terms.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        fill_gradients(self._parameters)
        counts = {k: n for k, n in enumerate(torch.bincount(targets).tolist()) if n}
        validation = self._batches.validation(step, list(counts), self._n_validation)
        start = 0
        for place, n in enumerate(counts.values()):
            held_out = self._batches.groups(validation, place, place + 1)
            self._gate(self._batches.groups(batch, start, start + n), weights[start : start + n], held_out)
            start += n
        return terms.detach()

    def _gate(self, batch: BatchT, weights: Tensor, validation: BatchT) -> None:
        """Adds to the gradients what projects those of one target's pairs."""
        direction = gradient(self._losses, self._parameters, validation)
        detached = {name: parameter.detach() for name, parameter in self._parameters.items()}
        product = derivatives(self._losses, detached, direction, batch).mean(dim=1)  # (S,) <g_ik, g_k>
        square = dot(direction, direction).clamp_min(torch.finfo(product.dtype).tiny)
        against = (weights * (-product).clamp_min(0.0)).sum() / square
        for name, parameter in self._parameters.items():
            assert parameter.grad is not None  # `fill_gradients` has been called
            parameter.grad += against * direction[name]
