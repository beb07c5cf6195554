"""Chooses among candidate bidders on validation episodes: tuning of rules and of what a policy is asked for.

Every method gets its choice from this one function, on the same episodes; test episodes never come here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents import Bidder, rollout
from agents.rollout import Progress
from auction_env import MarketParams, Population, Task


class Choice(NamedTuple):
    """The outcome of a tuning.

    Attributes:
        bidder: The chosen candidate.
        position: Its place among the candidates.
        scores: (n_candidates, n_episodes) expected scores.
        stability: Share of bootstrap resamples of the episodes in which the same candidate wins.
    """

    bidder: Bidder
    position: int
    scores: NDArray[np.float64]
    stability: float


def choose(
    candidates: Sequence[Bidder],
    *,
    seeds: NDArray[np.int64],
    advertisers: NDArray[np.int64],
    task: Task,
    params: MarketParams,
    population: Population | None = None,
    progress: Progress | None = None,
) -> Choice:
    """The candidate with the highest mean expected score over the validation episodes.

    Predicted conversions replace sampled ones: the same expectation with a fraction of the noise, so that fewer
    episodes make a stable choice. How stable is part of the answer.
    """
    if not candidates:
        raise ValueError("`candidates` must hold at least one bidder, found none")
    scores = np.stack(
        [
            rollout(
                candidate,
                seeds=seeds,
                advertisers=advertisers,
                task=task,
                params=params,
                population=population,
                progress=progress,
            ).score(expected=True)
            for candidate in candidates
        ]
    )
    best = int(scores.mean(axis=1).argmax())
    return Choice(candidates[best], best, scores, float(chosen_shares(scores)[best]))


def chosen_shares(
    scores: NDArray[np.float64], n_episodes: int | None = None, *, n_resamples: int = 1000
) -> NDArray[np.float64]:
    """How often each candidate would be chosen, (n_candidates,): a bootstrap over validation episodes.

    Args:
        scores: (n_candidates, n) scores on the same n episodes.
        n_episodes: Episodes behind a choice; n by default. Fewer show how much the choice hangs on their number.
        n_resamples: Choices that are made.
    """
    n_candidates, n = scores.shape
    resample = np.random.default_rng(0).integers(n, size=(n_resamples, n_episodes or n))
    winners = scores[:, resample].mean(axis=2).argmax(axis=0)
    return np.bincount(winners, minlength=n_candidates) / n_resamples
