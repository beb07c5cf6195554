"""Intervals of a mean over episodes: a bootstrap within advertisers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.labels.relabel import Float

N_RESAMPLES = 2000


def mean_interval(scores: Float, advertiser: NDArray[np.int32], level: float, seed: int) -> tuple[float, float]:
    """Ends of a percentile bootstrap interval of the mean score of the log's advertisers.

    Episodes are drawn with replacement among those of their advertiser: advertisers differ more than days do, and the
    log has each of them as often as it has. A mean over n drawn episodes of an advertiser has (n - 1) / n of the
    variance that it should have, so that deviations from the advertiser's mean are widened by sqrt(n / (n - 1)) (Rao
    and Wu 1988). Advertisers with one episode are drawn among each other.

    Args:
        scores: (e,) of each episode.
        advertiser: (e,).
        level: Coverage, in (0, 1).
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    _, group, size = np.unique(advertiser, return_inverse=True, return_counts=True)
    group = np.where(size[group] > 1, group, len(size))  # those with one episode are a group of their own
    total = np.zeros(N_RESAMPLES)
    for number in np.unique(group):
        own = scores[group == number]
        n = len(own)
        wide = own.mean() + np.sqrt(n / max(n - 1, 1)) * (own - own.mean())
        total += wide[rng.integers(n, size=(N_RESAMPLES, n))].sum(axis=1)
    low, high = np.quantile(total / len(scores), [(1.0 - level) / 2, (1.0 + level) / 2])
    return float(low), float(high)
