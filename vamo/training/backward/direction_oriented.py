"""SDMGrad: the targets' gradients, combined near the direction of their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic

import torch
from torch import Tensor, nn

from vamo.alignment.estimators import BatchT, GroupLosses, Groups
from vamo.config import BalancingConfig

if TYPE_CHECKING:
    from torchjd.aggregation import SDMGradWeighting

_STATE = ("_w", "_state_key")  # where torchjd keeps the weights of the last step, and what they belong to


class DirectionOriented(Generic[BatchT]):
    """Direction-oriented multi-objective gradients: d = G w + lambda g_0, with g_0 the mean of the targets' gradients.

    The weights solve min_w |G w + lambda g_0|^2 / 2 on the simplex: the direction that helps the worst-off target most,
    held near that of the mean. lambda = 0 is MGDA, lambda -> infinity the mean. A few steps of projected gradient
    descent from the last step's weights stand for the solution.

    Source: P. Xiao, H. Ban, K. Ji, "Direction-oriented multi-objective learning: simple and provable stochastic
    algorithms" (NeurIPS 2023, arXiv 2305.18409), algorithm 1 with the solver of torchjd, which follows the authors'
    code. The products of two gradients must come from independent batches to be unbiased: here from the first and the
    second half of each pair's windows. The paper draws a third batch for the step itself; here the step takes both
    halves, so that a window is not paid for three times. Its variant that samples targets (SDMGrad-OS) is not here.

    Args:
        config: Its settings.
        losses: Losses of a batch's groups.
        parameters: By name; their `grad` is written.
        groups: Cuts groups out of a batch.
        n_targets: K.

    Raises:
        ImportError: torchjd is not installed; it comes with `mtl`.
    """

    own_parameters: Sequence[nn.Parameter] = ()
    rate_factor = 1.0

    def __init__(
        self,
        config: BalancingConfig,
        losses: GroupLosses[BatchT],
        parameters: Mapping[str, nn.Parameter],
        groups: Groups[BatchT],
        *,
        n_targets: int,
    ) -> None:
        self._weighting = _make_weighting(config)
        self._losses, self._parameters, self._groups = losses, parameters, groups
        self._n_targets = n_targets

    def __call__(self, batch: BatchT, weights: Tensor, targets: Tensor, step: int) -> Tensor:
        """See `vamo.training.backward.strategy.Backward`; each of the K targets must be in the batch.

        The scale of the gradient is that of the sum over targets.

        Raises:
            ValueError: Pairs have fewer than two windows.
        """
        halves: tuple[list[Tensor], list[Tensor]] = [], []
        terms, start, share = [], 0, 0.5
        for n in torch.bincount(targets, minlength=self._n_targets).tolist():
            losses = self._losses(self._parameters, self._groups(batch, start, start + n))  # (n, b)
            n_first = losses.shape[1] // 2
            if not n_first:
                raise ValueError(
                    "`batch_size` must give every pair of a step at least 2 windows for method 'sdmgrad', found 1"
                )
            share = n_first / losses.shape[1]
            own = weights[start : start + n]
            parts = losses[:, :n_first].mean(dim=1), losses[:, n_first:].mean(dim=1)
            for half, part, is_last in zip(halves, parts, (False, True), strict=True):
                half.append(self._gradient((own * part).sum(), retain_graph=not is_last))
            terms.append((own * losses.mean(dim=1)).detach())
            start += n
        first, second = (torch.stack(half) for half in halves)  # (K, N) each
        with torch.no_grad():
            combination = self._weighting(first @ second.T)  # (K,) of sum 1
            combined = self._n_targets * (combination @ (share * first + (1 - share) * second))
        pieces = torch.split(combined, [parameter.numel() for parameter in self._parameters.values()])
        for parameter, piece in zip(self._parameters.values(), pieces, strict=True):
            parameter.grad = piece.view_as(parameter)
        return torch.cat(terms)

    def _gradient(self, loss: Tensor, *, retain_graph: bool) -> Tensor:
        """(N,) all parameters' entries one after the other."""
        leaves = list(self._parameters.values())
        gradients = torch.autograd.grad(
            loss, leaves, retain_graph=retain_graph, allow_unused=True, materialize_grads=True
        )
        return torch.cat([part.flatten() for part in gradients])

    def after_step(self, batch: BatchT, weights: Tensor, targets: Tensor) -> None:
        """The weights have moved with the step's own gradients."""

    def state(self) -> dict[str, Tensor]:
        """The weights of the last step; empty before the first.

        torchjd has no public way to read them, so that this reaches into its object.

        Raises:
            ValueError: This version of torchjd keeps them elsewhere.
        """
        last = getattr(self._holder(), _STATE[0])
        return {} if last is None else {_STATE[0]: last.clone()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Continues from the `state` of another one with equal arguments; raises as it does."""
        holder = self._holder()
        if tensors:
            device = next(iter(self._parameters.values())).device
            last = tensors[_STATE[0]].to(device)
            holder._w = last
            holder._state_key = (len(last), last.dtype, last.device)  # without it the next step would start anew

    def _holder(self) -> Any:
        for name in _STATE:
            if not hasattr(self._weighting, name):
                raise ValueError(
                    f"method 'sdmgrad' cannot be checkpointed: `{name}` must be an attribute of torchjd's weighting, "
                    f"found none in this version"
                )
        return self._weighting


def _make_weighting(config: BalancingConfig) -> SDMGradWeighting:
    try:
        from torchjd.aggregation import SDMGradWeighting
    except ImportError as error:
        raise ImportError("method 'sdmgrad' needs torchjd, found none: pip install 'vamo-bidding[mtl]'") from error
    return SDMGradWeighting(lr=config.sdmgrad_rate, n_iter=config.sdmgrad_steps, lambda_=config.sdmgrad_lambda)
