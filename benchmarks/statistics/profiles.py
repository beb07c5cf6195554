"""Performance profiles: the share of episodes that score above a level (arXiv 2108.13264, section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.statistics.bootstrap import Draws
from benchmarks.statistics.pairing import Paired

Float = NDArray[np.float64]

LEVELS = np.linspace(0.0, 1.5, 61)
"""Scores over the task's mean reference at which profiles are evaluated."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """The profile of a method, (L,) each.

    Attributes:
        method: The method.
        levels: Scores over the task's mean reference.
        value: Share of episodes, all tasks with equal weight, whose score lies above each level.
        low, high: Pointwise bootstrap band.
    """

    method: str
    levels: Float
    value: Float
    low: Float
    high: Float


def profile(paired: Paired, method: str, draws: Draws, levels: Float = LEVELS) -> Profile:
    """The profile of a method.

    Args:
        paired: Scores in units of the tasks' mean references: `Paired.normalised`.
        method: The method.
        draws: Resamples of episodes and training seeds.
        levels: Where it is evaluated, (L,) ascending.

    Returns:
        The profile with a band from percentiles at the level of `draws`, for each level on its own.
    """
    sample = np.zeros((len(draws.of_training(paired, method)), len(levels)))
    value = np.zeros(len(levels))
    grids = paired.of(method)
    for k, grid in enumerate(grids):  # (R, n)
        train, units = draws.of_training(paired, method), draws.units[k]
        train = train / train.sum(axis=1, keepdims=True)
        units = units / units.sum(axis=1, keepdims=True)
        for at, level in enumerate(levels):
            above = (grid > level).astype(np.float64)
            value[at] += above.mean() / len(grids)
            sample[:, at] += ((units @ above.T) * train).sum(axis=1) / len(grids)
    tails = [0.5 - draws.level / 2, 0.5 + draws.level / 2]
    low, high = np.quantile(sample, tails, axis=0)
    return Profile(method=method, levels=levels, value=value, low=np.minimum(low, value), high=np.maximum(high, value))


def same_seeds(paired: Paired, methods: tuple[str, str]) -> Paired | None:
    """The two methods alone, on the training seeds that both have; None where they share none.

    A method that is not trained has no seeds to share: it meets all of the other's.
    """
    first, second = (paired.train_seeds[method] for method in methods)
    trained = [seeds for seeds in (first, second) if (seeds >= 0).all()]
    shared = trained[0] if len(trained) == 1 else np.intersect1d(first, second)
    if not len(shared):
        return None
    seeds, values = {}, {}
    for method in methods:
        own = paired.train_seeds[method]
        kept = np.isin(own, shared) if (own >= 0).all() else np.ones(len(own), bool)
        seeds[method] = own[kept]
        values[method] = tuple(grid[kept] for grid in paired.of(method))
    return replace(paired, train_seeds=seeds, values=values)
