"""Intervals of a mean score: the luck of the logged episodes, and the error of the response model.

Both parts are independent, so that their half-widths add as squares do.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from agents.labels.off_policy.rules import direct
from agents.labels.predicted_log import predicted_logs
from agents.labels.relabel import Float
from agents.labels.response import Response
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.data import TrajectoryData
from auction_env.data.multipliers import relative_multiplier
from auction_env.tasks import Task

N_RESAMPLES = 2000
LEAST_MODEL_ERROR = 0.03
"""Of the score: that of most policies in the suite `ope/v1` (docs/ope.md), whatever a log's own check says."""
_FEWEST = 8  # episodes that a check of the model needs


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


def widened(interval: tuple[float, float], score: float, model_error: float, level: float) -> tuple[float, float]:
    """An interval that holds the error of the model as well, a standard deviation of `model_error` x score."""
    own = NormalDist().inv_cdf((1.0 + level) / 2) * model_error * abs(score)
    low, high = interval
    return score - float(np.hypot(score - low, own)), score + float(np.hypot(high - score, own))


def model_error(data: TrajectoryData, task: Task, n_ticks: int) -> float:
    """Relative error of mean scores by the response model, where it predicts bids that it was not fitted to.

    The complete episodes of a log are halved by the level of their bids. A response that is fitted to one half predicts
    the scores of the other at its logged bids (where the money was gone, at the last ones): the root mean square of
    both errors, less what the luck of the episodes explains, and at least `LEAST_MODEL_ERROR`.
    """
    multiplier = relative_multiplier(data, task).reshape(-1, n_ticks)
    bids = multiplier > 0
    told = np.flatnonzero(bids.sum(axis=1) > 1)
    if len(told) < _FEWEST:
        return LEAST_MODEL_ERROR
    logs = np.log(np.where(bids, multiplier / task.unit_worth(data.targets).reshape(bids.shape), 1.0))
    order = np.argsort((logs.sum(axis=1) / np.maximum(bids.sum(axis=1), 1))[told], kind="stable")
    halves = np.array_split(told[order], 2)
    squares = []
    for fitted, held_out in (halves, halves[::-1]):
        response, own = Response.fit([data.select(fitted)]), data.select(held_out)
        bidder = _Logged(relative_multiplier(own, task).reshape(-1, n_ticks))
        rng = np.random.default_rng(0)
        (played,) = predicted_logs(bidder, task, [(own, response)], n_ticks=n_ticks, rng=rng, rule=direct)
        targets = own.targets.at(own.episode_starts[:-1])
        logged, predicted = (task.score(log.totals(), targets, expected=True) for log in (own, played))
        if logged.mean() > 0:
            difference = (predicted - logged) / logged.mean()
            squares.append(float(difference.mean() ** 2 - difference.var(ddof=1) / len(difference)))
    found = max(float(np.mean(squares)), 0.0) if squares else 0.0
    return max(float(np.sqrt(found)), LEAST_MODEL_ERROR)


class _Logged(NamedBidder):
    """Bids what was logged, (e, T), and the last of it where nothing was bid any more."""

    name = "logged"

    def __init__(self, multiplier: Float) -> None:
        self._multiplier = multiplier.copy()
        for t in range(1, multiplier.shape[1]):
            before, now = self._multiplier[:, t - 1], self._multiplier[:, t]
            self._multiplier[:, t] = np.where(now > 0, now, before)

    def reset(self, campaigns: Campaigns) -> None:
        """Starts the episodes."""

    def act(self, view: TickView) -> Float:
        """The multipliers of the tick, (e,)."""
        return self._multiplier[:, view.tick]
