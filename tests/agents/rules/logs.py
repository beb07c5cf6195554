"""Logs that the tests of rules on a response share."""

from __future__ import annotations

import numpy as np

from agents import NoisyBidder, PidBidder, rollout, to_trajectories
from auction_env import TASKS, MarketParams
from auction_env.data import TrajectoryData


def params_of(task: str, n_impressions: int = 2_000) -> MarketParams:
    """A small market of the task's quantities, with days of 48 ticks."""
    return MarketParams.for_task(TASKS[task], n_impressions=n_impressions)


def log_of(task: str, n: int = 16) -> TrajectoryData:
    """n days of a noisy PID in it."""
    played = rollout(
        NoisyBidder(PidBidder(0.8)),
        seeds=900 + np.arange(n),
        advertisers=np.arange(n) % 48,
        task=TASKS[task],
        params=params_of(task),
    )
    return to_trajectories(played, period=0)
