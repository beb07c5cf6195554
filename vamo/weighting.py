"""Weightings: alignments of K targets and I sources, and the sources' sizes, to weights of shape (K, I).

The weights of a target sum to 1. A weighting knows nothing else: no model, no data, no step.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from vamo.config import Scaling, TrainConfig, WeightingConfig


class Weighting(Protocol):
    """Maps alignments to weights."""

    needs_alignments: bool  # False: the alignments given are ignored and may be anything of shape (K, I)

    def __call__(self, alignments: Tensor, sizes: Tensor) -> Tensor:
        """Weights (K, I) from alignments (K, I) and the sources' numbers of trajectories (I,)."""
        ...


class Softmax:
    """w_ik = exp(m_ik / lambda) / sum_j exp(m_jk / lambda): the maximum of <w_k, m_k> + lambda H(w_k).

    lambda -> 0 picks the best aligned source, lambda -> infinity is `Uniform` (arXiv 2510.07760).
    """

    needs_alignments = True

    def __init__(self, temperature: float) -> None:
        if not temperature > 0:
            raise ValueError(f"`temperature` must be positive, found {temperature}")
        self.temperature = temperature

    def __call__(self, alignments: Tensor, sizes: Tensor) -> Tensor:
        return torch.softmax(alignments / self.temperature, dim=1)


class Uniform:
    """Naive sharing with equal weight per source."""

    needs_alignments = False

    def __call__(self, alignments: Tensor, sizes: Tensor) -> Tensor:
        return torch.full_like(alignments, 1 / alignments.shape[1])


class Proportional:
    """Naive sharing in proportion to the sources' sizes: pooling their data."""

    needs_alignments = False

    def __call__(self, alignments: Tensor, sizes: Tensor) -> Tensor:
        return (sizes / sizes.sum()).to(alignments.dtype).expand_as(alignments)


class Identity:
    """No sharing: target k learns from source k alone; needs as many sources as targets, in their order."""

    needs_alignments = False

    def __call__(self, alignments: Tensor, sizes: Tensor) -> Tensor:
        n_targets, n_sources = alignments.shape
        if n_targets != n_sources:
            raise ValueError(f"`Identity` must get one source per target, found {n_sources} for {n_targets}")
        return torch.eye(n_targets, dtype=alignments.dtype, device=alignments.device)


def make_weighting(train: TrainConfig, weighting: WeightingConfig) -> Weighting:
    """The weighting behind a training method."""
    simple: dict[str, type[Uniform] | type[Proportional] | type[Identity]]
    simple = {"single": Identity, "uniform": Uniform, "pooled": Proportional}
    return simple[train.method]() if train.method in simple else Softmax(weighting.temperature)


class Scaler:
    """Scales alignments before the weighting; the running state is one number per target.

    Args:
        scaling: `none` leaves the raw inner products (the paper's); `rms` divides those of a target by the
            root of their mean square over sources, averaged over refreshes with a bias-corrected decay.
        decay: Of that average, per refresh.
        n_targets: K.
    """

    def __init__(self, scaling: Scaling, decay: float, n_targets: int, device: torch.device | str = "cpu") -> None:
        self.scaling: Scaling = scaling
        self.decay = decay
        self.mean_square = torch.zeros(n_targets, device=device)  # (K,) not yet corrected for its start at 0
        self.n_updates = 0

    def __call__(self, alignments: Tensor) -> Tensor:
        """Scaled alignments, same shape (K, I); call once a refresh."""
        if self.scaling == "none":
            return alignments
        self.n_updates += 1
        now = alignments.square().mean(dim=1)
        self.mean_square = self.decay * self.mean_square + (1 - self.decay) * now
        root = (self.mean_square / (1 - self.decay**self.n_updates)).sqrt()
        return alignments / root.clamp_min(torch.finfo(root.dtype).tiny)[:, None]


def entropy(weights: Tensor) -> Tensor:
    """Entropy of each target's weights in nats, (K,): 0 for one source, log I for uniform."""
    terms: Tensor = torch.special.entr(weights)
    return terms.sum(dim=1)
