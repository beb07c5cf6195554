"""What an estimate rests on, and when a sentence must say that it may be wrong.

The thresholds are those at which the suite `ope/v1` (`benchmarks.studies.ope`) finds that estimates go wrong; its
results stand in docs/ope.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.labels.predicted_log import CARRY_OVER, MOST_WEIGHT
from agents.labels.response import WINS, Response
from auction_env.data import TrajectoryData
from auction_env.data.multipliers import relative_multiplier
from auction_env.tasks import Task

FEW_EPISODES = 120
SMALL_SHARE = 0.25  # of the episodes, below which the effective sample size is small
LITTLE_RANDOMNESS = 0.05  # standard deviation of the log multiplier within episodes
FAR_SHARE = 0.5  # of the ticks with bids far from the logged ones
MANY_AT_ONCE = 12  # logged advertisers of one period


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an estimate rests on.

    Attributes:
        n_episodes: Logged episodes.
        effective_n: Effective sample size in episodes.
        randomness: Of the log: standard deviation of the change of its log multipliers from tick to tick, pooled.
        far_share: Share of the policy's ticks with bids more than a factor 2 from the logged ones.
        n_at_once: Most logged advertisers of one period.
    """

    n_episodes: int
    effective_n: float
    randomness: float
    far_share: float
    n_at_once: int

    @classmethod
    def of(cls, data: TrajectoryData, played: TrajectoryData, response: Response, task: Task) -> Evidence:
        """From a log, and what a policy's own log of the same episodes is taken to be."""
        logged, own = relative_multiplier(data, task), played.action
        both = (logged > 0) & (own > 0)
        logs = np.log(np.stack([np.where(both, own, 1.0), np.where(both, logged, 1.0)], axis=1))
        won = response.outcomes(data, task, logs, counted=(WINS,))["wins"]
        ratio = np.divide(won[:, 0], won[:, 1], out=np.zeros(len(data)), where=won[:, 1] > 0)
        weight = (np.minimum(ratio, MOST_WEIGHT) * both)[own > 0]
        square = float(np.square(weight).sum())
        share = float(weight.sum()) ** 2 / square / len(weight) if square > 0 else 0.0
        far = np.abs(logs[:, 0] - logs[:, 1])[both] > CARRY_OVER
        bids = own > 0
        n_far = int(far.sum()) + int((bids & ~both).sum())
        return cls(
            n_episodes=data.n_episodes,
            effective_n=share * data.n_episodes,
            randomness=_randomness(data, logged),
            far_share=n_far / max(int(bids.sum()), 1),
            n_at_once=int(np.unique(data.period[data.episode_starts[:-1]], return_counts=True)[1].max()),
        )


def _randomness(data: TrajectoryData, logged: np.ndarray) -> float:
    """Standard deviation, over the log, of the change of the log multiplier from a tick to the next."""
    same = np.ones(len(data) - 1, bool)
    same[data.episode_starts[1:-1] - 1] = False
    same &= (logged[1:] > 0) & (logged[:-1] > 0)
    steps = np.diff(np.log(np.where(logged > 0, logged, 1.0)))[same]
    return float(steps.std()) if len(steps) else 0.0


def warnings_of(evidence: Evidence, method: str) -> list[str]:
    """Why not to trust an estimate, one sentence a reason."""
    return []
