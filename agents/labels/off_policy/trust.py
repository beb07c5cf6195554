"""What an estimate rests on, and when a sentence must say that it may be wrong.

The thresholds and the errors that the sentences name are those of the suite `ope/v1` (`vamo bench ope`, docs/ope.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.labels.completion import ESTIMATED
from agents.labels.predicted_log import CARRY_OVER, MOST_WEIGHT
from agents.labels.response import WINS, Response, uncensored
from auction_env.data import TrajectoryData
from auction_env.data.multipliers import relative_multiplier
from auction_env.tasks import Task

FEW_EPISODES = 120
SMALL_SHARE = 0.25  # of the episodes, below which the effective sample size is small
LITTLE_VARIATION = 0.05  # of the log multiplier
FAR_SHARE = 0.5  # of the ticks, with bids far from the logged ones
MANY_AT_ONCE = 12  # logged advertisers of one period


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an estimate rests on.

    Attributes:
        n_episodes: Logged episodes.
        effective_n: Effective sample size in episodes.
        variation: Standard deviation of the logged log multiplier, relative to the worth of a unit.
        far_share: Share of the policy's ticks with bids more than a factor 2 from the logged ones.
        n_at_once: Most logged advertisers of one period.
        has_prices: Whether the least winning cost is recorded, not estimated.
    """

    n_episodes: int
    effective_n: float
    variation: float
    far_share: float
    n_at_once: int
    has_prices: bool

    @classmethod
    def of(cls, data: TrajectoryData, played: TrajectoryData, response: Response, task: Task) -> Evidence:
        """From a log, and what a policy's own log of the same episodes is taken to be."""
        logged, own = relative_multiplier(data, task), played.action
        bids, both = own > 0, (logged > 0) & (own > 0)
        told = uncensored(data) & (logged > 0)
        logs = np.log(np.stack([np.where(both, own, 1.0), np.where(both, logged, 1.0)], axis=1))
        won = response.outcomes(data, task, logs, counted=(WINS,))["wins"]
        ratio = np.divide(won[:, 0], won[:, 1], out=np.zeros(len(data)), where=won[:, 1] > 0)
        weight = (np.minimum(ratio, MOST_WEIGHT) * both)[bids]
        square = float(np.square(weight).sum())
        share = float(weight.sum()) ** 2 / square / len(weight) if square > 0 else 0.0
        is_far = bids & ~(both & (np.abs(logs[:, 0] - logs[:, 1]) <= CARRY_OVER))
        return cls(
            n_episodes=data.n_episodes,
            effective_n=share * data.n_episodes,
            variation=float(np.log(logged[told] / task.unit_worth(data.targets)[told]).std()),
            far_share=float(is_far.sum()) / max(int(bids.sum()), 1),
            n_at_once=int(np.unique(data.period[data.episode_starts[:-1]], return_counts=True)[1].max()),
            has_prices="least_winning_cost" not in data.metadata.get(ESTIMATED, ()),
        )


def warnings_of(evidence: Evidence, method: str) -> list[str]:
    """Why not to trust an estimate, one sentence a reason."""
    found = []
    n, effective = evidence.n_episodes, evidence.effective_n
    if method in BIASED:
        found.append(BIASED[method])
    if n < FEW_EPISODES:
        found.append(
            f"{n} episodes are few, below {FEW_EPISODES}: policies within the intervals of each other have no known"
            " order; log more"
        )
    if effective < SMALL_SHARE * n:
        found.append(
            f"the effective sample size is {effective:.0f} of {n} episodes: the policy bids where the log did not, and"
            " the estimate rests on the shape of the response model; log some episodes with bids near the policy's"
        )
    if evidence.far_share > FAR_SHARE:
        found.append(
            f"{100 * evidence.far_share:.0f} % of its bids are more than a factor 2 from the logged ones: the response"
            " model extrapolates; log some episodes with such bids"
        )
    if evidence.variation < LITTLE_VARIATION and not evidence.has_prices:
        found.append(
            f"the logged bids hardly vary (standard deviation {evidence.variation:.3f} of the log multiplier) and the"
            " prices are estimated: nothing tells what another bid brings; log with noise (`agents.NoisyBidder`)"
        )
    if evidence.n_at_once > MANY_AT_ONCE:
        found.append(
            f"{evidence.n_at_once} advertisers of one period are in the log: if they all get the policy, prices change,"
            " which no estimate knows"
        )
    return found


BIASED = {
    "importance": "importance sampling knows neither prices nor ticks that the log did not see: in ope/v1 it is wrong"
    " by tens of per cent, use 'direct' or 'doubly_robust'",
    "self_normalised": "self-normalised importance sampling knows no prices that the log did not see: in ope/v1 it is"
    " wrong by tens of per cent, use 'direct' or 'doubly_robust'",
    "fitted_q": "fitted Q extrapolates to actions that the log lacks: in ope/v1 it is wrong by tens of per cent, use"
    " 'direct' or 'doubly_robust'",
}
"""Estimators that are wrong in every scenario of the suite, and what to take instead."""
