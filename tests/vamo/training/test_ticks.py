"""Logs of episodes of any number of ticks: the model takes the number from the data and plays in such markets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from agents import NoisyBidder, PidBidder, registry, rollout, to_trajectories
from auction_env import TASKS, MarketParams
from auction_env.data import TrajectoryData
from auction_env.data.dataset import VECTORS
from tests.vamo.synthetic import make_data
from vamo.examples.sources import n_ticks_of, split

TASK = TASKS["TargetCPA"]
PARAMS = MarketParams(n_impressions=480, n_ticks=24)
SMALL = {
    "vamo": ["model.width=16", "train.warmup_steps=1"],
    "dt": ["backbone.d_model=16", "backbone.n_blocks=1", "backbone.n_heads=2"],
    "diffbid": ["backbone.d_model=16", "backbone.n_blocks=1", "backbone.n_heads=2"],
}


@pytest.fixture(scope="module")
def log() -> TrajectoryData:
    played = rollout(NoisyBidder(PidBidder()), seeds=np.arange(12), advertisers=np.arange(12), task=TASK, params=PARAMS)
    return to_trajectories(played, period=np.arange(12))


def trained(name: str, log: TrajectoryData, *own: str) -> Any:
    sources, held_out = split({"TargetCPA": log}, 0.25)
    settings = [*SMALL[name], "train.steps=2", "train.batch_size=8", "train.evaluation_windows=8", *own]
    learner = registry.learner(name)
    return learner.train(sources, validation=held_out, settings=learner.settings(assignments=settings), seed=0).bidder


@pytest.mark.parametrize("name", SMALL)
def test_a_model_of_short_days_plays_short_days(name: str, log: TrajectoryData) -> None:
    bidder = trained(name, log)
    played = rollout(bidder, seeds=[90], advertisers=[1], task=TASK, params=PARAMS)
    assert played.ticks.multiplier.shape == (24, 1) and (played.ticks.multiplier > 0).any()
    with pytest.raises(ValueError, match="`n_ticks` must be that of the training data, 24, found 48"):
        rollout(bidder, seeds=[90], advertisers=[1], task=TASK, params=MarketParams(n_impressions=480))


@pytest.mark.parametrize(("name", "key"), [("vamo", "model"), ("dt", "backbone")])
def test_another_number_than_that_of_the_data_is_refused(name: str, key: str, log: TrajectoryData) -> None:
    with pytest.raises(ValueError, match=rf"`{key}.n_ticks` must be that of the data, 24, found 30: leave it out"):
        trained(name, log, f"{key}.n_ticks=30")
    trained(name, log, f"{key}.n_ticks=24")


def test_ticks_without_a_row_count_and_logs_must_agree(log: TrajectoryData) -> None:
    kept = log.tick < 20
    arrays = {name: getattr(log, name)[kept] for name in (*VECTORS, "observation")}
    early = TrajectoryData.from_arrays(arrays, log.tasks, {}, log.labels)
    assert early.tick.max() == 19
    logs: Mapping[str, TrajectoryData] = {"one": early, "other": log}
    assert n_ticks_of(logs) == 24
    with pytest.raises(ValueError, match="one number of ticks, found 24 in 'one', 48 in 'synthetic'"):
        n_ticks_of({**logs, "synthetic": make_data(3)})
