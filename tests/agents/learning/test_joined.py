"""Logs of several tasks as one."""

from __future__ import annotations

import numpy as np

from agents import FixedBidder, collect
from agents.learning.learner import joined
from auction_env import TASKS, MarketParams
from auction_env.data import TrajectoryData


def test_logs_with_the_same_periods_stand_behind_each_other() -> None:
    params = MarketParams(n_impressions=96, n_ticks=4)
    logs = [
        TrajectoryData.concat(list(collect(FixedBidder(), seeds=[1, 2], task=TASKS[name], params=params)))
        for name in ("TargetCPA", "MaxConversions")
    ]
    both = joined([*logs, logs[0]])
    assert np.unique(both.period).tolist() == [0, 1, 2, 3, 4, 5] and len(both) == 3 * len(logs[0])
    assert [both.tasks[code].name for code in both.task[both.episode_starts[:-1:96]]] == [
        "TargetCPA", "MaxConversions", "TargetCPA",
    ]  # fmt: skip
    np.testing.assert_array_equal(both.observation[: len(logs[0])], logs[0].observation)
    assert joined(logs[:1]) is logs[0]
