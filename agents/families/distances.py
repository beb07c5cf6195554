"""How far two trajectory data sets lie apart, part by part: what the knobs of a task family move."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auction_env.data import TrajectoryData, require

Float = NDArray[np.float64]


class Distance(NamedTuple):
    """Distances between two data sets; 0 for equal distributions.

    Total variation lies in [0, 1]; Wasserstein-1 distances are of natural logarithms, so 0.1 is about 10 %.
    """

    category: float  # total variation between the shares of the advertisers' categories
    budget: float  # Wasserstein, log budget of the episodes
    target: float  # Wasserstein, log target CPA of the episodes
    market: float  # Wasserstein, log least winning cost of the ticks
    season: float  # total variation between the mean shares of the impressions by tick
    policy: float  # Wasserstein, log multiplier over the worth of a unit of the own objective, where somebody bids


def data_distance(first: TrajectoryData, second: TrajectoryData) -> Distance:
    """Distance between the distributions of two data sets, each of one length of episodes.

    Args:
        first, second: Trajectories, each of any tasks.

    Raises:
        ValueError: A data set is empty.
    """
    for name, data in (("first", first), ("second", second)):
        if not len(data):
            raise ValueError(f"`{name}` must hold trajectories, found none")
        require(data, ("action", "n_impressions", "least_winning_cost"), "distances between logs")
    from scipy.stats import wasserstein_distance  # here: importing scipy.stats takes longer than all else

    a, b = _Sample(first), _Sample(second)
    return Distance(
        category=_total_variation(a.category, b.category),
        budget=float(wasserstein_distance(a.budget, b.budget)),
        target=float(wasserstein_distance(a.target, b.target)),
        market=float(wasserstein_distance(a.price, b.price)),
        season=_total_variation(a.season, b.season),
        policy=float(wasserstein_distance(a.action, b.action)),
    )


class _Sample:
    """What of a data set is compared."""

    def __init__(self, data: TrajectoryData) -> None:
        first = data.episode_starts[:-1]
        self.category = np.bincount(data.category[first]) / len(first)
        self.budget, self.target = np.log(data.budget[first]), np.log(data.cpa_target[first])
        self.price = np.log(data.least_winning_cost[data.least_winning_cost > 0])
        volume = np.bincount(data.tick, data.n_impressions)
        self.season = volume / volume.sum()
        is_bid = data.action > 0
        self.action = np.log(data.action[is_bid] / data.base[is_bid])


def _total_variation(first: Float, second: Float) -> float:
    n = max(len(first), len(second))
    difference = np.pad(first, (0, n - len(first))) - np.pad(second, (0, n - len(second)))
    return float(0.5 * np.abs(difference).sum())
