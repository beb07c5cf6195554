"""Which pairs of target and source a step trains and a refresh looks at, and what is known of all of them.

With K targets and I sources there are K x I pairs. Neither a step nor a refresh grows with their number: a
step trains a sample of them, unbiased for the weighted loss; a refresh takes the targets, and for each the
sources, in turn, and the table keeps the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vamo.alignment.estimators import Alignment
from vamo.config import WeightingConfig

Pairs = list[tuple[int, int]]  # (target, source), sorted


def sample_pairs(weights: NDArray[np.float64], n: int, rng: np.random.Generator) -> tuple[Pairs, float]:
    """Pairs drawn in proportion to their weights, and the factor of each pair's loss.

    sum over the drawn pairs of factor x loss has the expectation sum_k sum_i w_ik L_ik. Systematic sampling:
    every target, or n targets at random where K > n, gets n // K points at equal distances on the line of
    its cumulative weights, so that a pair is drawn as often as its weight says, up to one time.

    Args:
        weights: (K, I), rows of sum 1.
        n: Pairs at most.
        rng: Source of randomness.

    Returns:
        Pairs, sorted, in which one may occur several times, and the factor.
    """
    n_targets = len(weights)
    targets = np.arange(n_targets)
    if n < n_targets:
        targets = np.sort(rng.permutation(n_targets)[:n])
    n_each = n // len(targets)
    points = (np.arange(n_each) + rng.random((len(targets), 1))) / n_each  # (T, n_each)
    ends = np.cumsum(weights[targets], axis=1)
    ends /= ends[:, -1:]  # rounding: the last end is 1
    sources = (points[:, :, None] >= ends[:, None, :]).sum(axis=2)
    pairs = [(int(k), int(i)) for k, row in zip(targets, sources, strict=True) for i in row]
    return pairs, n_targets / len(pairs)


class RefreshPlan(NamedTuple):
    """Sizes of a refresh: R targets with S sources each."""

    n_targets: int  # K
    n_sources: int  # I
    n_refreshed: int  # R
    n_aligned: int  # S
    n_samples: int  # of a pair: at least two, so that there is a standard error
    n_validation: int  # of a target

    @classmethod
    def of(cls, n_targets: int, n_sources: int, config: WeightingConfig) -> RefreshPlan:
        """The plan within the sample budgets of `config`."""
        room = config.alignment_batch_size
        refreshed = min(n_targets, config.targets_per_refresh, config.validation_batch_size, max(room // 2, 1))
        samples = max(room // (refreshed * n_sources), 2)
        aligned = min(n_sources, max(room // (refreshed * samples), 1))
        return cls(n_targets, n_sources, refreshed, aligned, samples, config.validation_batch_size // refreshed)

    @property
    def n_refreshes(self) -> int:
        """Refreshes until every pair has had its turn."""
        return -(-self.n_targets // self.n_refreshed) * -(-self.n_sources // self.n_aligned)

    def pairs(self, refresh: int) -> Pairs:
        """The pairs of a refresh, counted from 0, those of a target one after the other."""
        turns = np.arange(refresh * self.n_refreshed, (refresh + 1) * self.n_refreshed)
        out = []
        for turn in turns:
            visit, target = divmod(int(turn), self.n_targets)
            first = visit * self.n_aligned
            out += [(target, (first + j) % self.n_sources) for j in range(self.n_aligned)]
        return out


class AlignmentTable:
    """The last alignments of all pairs, each a running mean over its refreshes.

    Args:
        n_targets: K.
        n_sources: I.
        decay: Of the running mean, corrected for its start at 0; 0 keeps the last value.
        device: Where it lives.
    """

    def __init__(self, n_targets: int, n_sources: int, decay: float, device: torch.device | str = "cpu") -> None:
        self.decay = decay
        self.sum = torch.zeros(n_targets, n_sources, device=device)  # of values, with decaying factors
        self.square_error = torch.zeros_like(self.sum)  # of that sum
        self.n_updates = torch.zeros_like(self.sum)

    def update(self, pairs: Pairs, new: Alignment) -> None:
        """Takes in the alignments of R x S pairs."""
        k, i = torch.tensor(pairs, device=self.sum.device).T
        keep, add = self.decay, 1 - self.decay
        self.sum[k, i] = keep * self.sum[k, i] + add * new.mean.flatten()
        new_square = new.standard_error.square().flatten()
        self.square_error[k, i] = keep**2 * self.square_error[k, i] + add**2 * new_square
        self.n_updates[k, i] += 1

    def mean(self) -> Tensor:
        """m_ik, (K, I); that of a pair without an update is the mean over its target's other pairs."""
        known = self.n_updates > 0
        value = torch.where(known, self.sum / self._total(), 0.0)
        default = value.sum(dim=1, keepdim=True) / known.sum(dim=1, keepdim=True).clamp_min(1)
        return torch.where(known, value, default)

    def standard_error(self) -> Tensor:
        """Of the mean, (K, I); inf without an update, nan where samples were too few to tell."""
        return torch.where(self.n_updates > 0, self.square_error.sqrt() / self._total(), torch.inf)

    def _total(self) -> Tensor:
        """Sum of the factors of a running mean's values."""
        return 1 - self.decay**self.n_updates
