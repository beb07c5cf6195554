"""Small logs that the tests of the offline learners share."""

from __future__ import annotations

import numpy as np

from agents import NoisyBidder, PidBidder, rollout, to_trajectories
from auction_env import TASKS, Funnel, MarketParams
from auction_env.data import TrajectoryData

PARAMS = MarketParams(n_impressions=400, n_ticks=6, funnel=Funnel())


def small_log(n: int = 12, task: str = "MaxConversions") -> TrajectoryData:
    """n trajectories of a noisy PID in a small market with all quantities."""
    episodes = rollout(
        NoisyBidder(PidBidder(0.6)),
        seeds=100 + np.arange(n),
        advertisers=np.arange(n) % 48,
        task=TASKS[task],
        params=PARAMS,
    )
    return to_trajectories(episodes, period=np.arange(n), policy="noisy")
