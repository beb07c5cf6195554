"""Alignments summed over refreshes: what integral weights follow, instead of the last alignment alone.

The softmax of arXiv 2510.07760 reads one refresh: it is noisy, and as a source's bias is trained away the validation
gradient shrinks and the weights drift back to uniform. A sum keeps what was learned. Multiplicative weights on it are
mirror descent on the mixture of sources (`docs/method.md`, "Integral weights", has the derivation and the bound).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from vamo.alignment.pairs import Pairs
from vamo.config import WeightingConfig


class Accumulator(Protocol):
    """Logits of the weights, (K, I), moved by every refresh."""

    logits: Tensor  # (K, I) 0 before the first refresh: uniform weights

    def update(self, pairs: Pairs, alignments: Tensor) -> None:
        """Takes in the alignments of a refresh.

        Args:
            pairs: R x S pairs of target and source, those of a target one after the other.
            alignments: (R, S) theirs, scaled.
        """
        ...


class _Accumulated:
    """Logits that start at uniform weights, and the two numbers of the rules that move them."""

    def __init__(
        self, n_targets: int, n_sources: int, eta: float, decay: float, device: torch.device | str = "cpu"
    ) -> None:
        self.logits = torch.zeros(n_targets, n_sources, device=device)
        self._eta, self._decay = eta, decay


class Integral(_Accumulated):
    """Multiplicative weights: C_ik <- decay C_ik + eta (m_ik - mean_j m_jk), and w_k = softmax(C_k).

    With decay 0 it is the paper's softmax with lambda = 1 / eta; with decay < 1 the softmax of the running mean with
    lambda = (1 - decay) / eta, which forgets; with decay 1 the sum, whose weights stand still only where the sources
    that have weight are equally well aligned: the best mixture. Only the pairs of a refresh move, each against the mean
    of its target's in the same refresh.

    Source: exponentiated gradient, J. Kivinen and M. Warmuth, "Exponentiated gradient versus gradient descent for
    linear predictors" (1997); on data mixtures arXiv 2410.02498, whose alignments are not scaled.

    Args:
        n_targets, n_sources: K and I.
        eta: Step of the logits, for alignments of root mean square 1.
        decay: What is kept of the logits at each refresh, in [0, 1].
        device: Where they live.
    """

    def update(self, pairs: Pairs, alignments: Tensor) -> None:
        """See `Accumulator`."""
        k, i = _indices(pairs, self.logits)
        gain = (alignments - alignments.mean(dim=1, keepdim=True)).flatten()
        self.logits[k, i] = self._decay * self.logits[k, i] + self._eta * gain


class DynamicGradientAlignment(_Accumulated):
    """DGA: w <- decay w + (1 - decay) normalised(w exp(eta m)), the weights' own running mean.

    Source: S. Fan, D. Grangier and P. Ablin, "Dynamic gradient alignment for online data mixing" (arXiv 2410.02498),
    algorithm 1 with the running mean of the weights. Pairs that a refresh leaves out keep their share of the weight.

    Args:
        n_targets, n_sources: K and I.
        eta: Step of the logits; the paper's alignments are raw inner products (`scaling=none`).
        decay: Share of the old weights that is kept, in [0, 1).
        device: Where they live.
    """

    def update(self, pairs: Pairs, alignments: Tensor) -> None:
        """See `Accumulator`."""
        k, i = _indices(pairs, self.logits)
        old = self.logits[k, i].view_as(alignments)
        mass = torch.logsumexp(old, dim=1, keepdim=True)
        new = torch.log_softmax(old + self._eta * alignments, dim=1) + mass
        tiny = torch.finfo(new.dtype).tiny
        mixed = self._decay * old.exp() + (1 - self._decay) * new.exp()
        self.logits[k, i] = mixed.clamp_min(tiny).log().flatten()


def make_accumulator(
    n_targets: int, n_sources: int, weighting: WeightingConfig, device: torch.device | str
) -> Accumulator | None:
    """What a kind of weighting accumulates; None for kinds that read the last alignments only."""
    if weighting.kind == "integral":
        return Integral(n_targets, n_sources, weighting.eta, weighting.decay, device)
    if weighting.kind == "dga":
        return DynamicGradientAlignment(n_targets, n_sources, weighting.eta, weighting.decay, device)
    return None


def _indices(pairs: Pairs, logits: Tensor) -> tuple[Tensor, Tensor]:
    k, i = torch.tensor(pairs, device=logits.device).T
    return k, i
