"""The choice of stages and conditions by offline estimates, without a market."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agents import FixedBidder, NoisyBidder, OfflineEvaluation, load, rollout
from agents.rollouts import to_trajectories
from auction_env.data import TrajectoryData
from auction_env.data.dataset import VECTORS
from auction_env.market.params import MarketParams
from auction_env.tasks import TASKS
from vamo.conditions import BUDGET_RATIOS
from vamo.config import Config, override
from vamo.training.train import train

TASK = TASKS["TargetCPA"]


@pytest.fixture(scope="module")
def logs() -> TrajectoryData:
    seeds = np.arange(24)
    played = rollout(
        NoisyBidder(FixedBidder(0.8)),
        seeds=seeds,
        advertisers=seeds % 12,
        task=TASK,
        params=MarketParams(n_impressions=1200, n_ticks=12),
        progress=False,
    )
    return to_trajectories(played, period=seeds, policy="noisy")


def test_a_training_without_a_market_chooses_by_estimates(logs: TrajectoryData, tmp_path: Path) -> None:
    options = ["train.select=estimate", "train.snapshots=2", "train.steps=20", "train.batch_size=16"]
    config = override(Config(), [*options, "train.method=uniform", "model.width=8"])
    out = tmp_path / "agent.safetensors"
    validation = logs.select(np.arange(12, 24))
    found = train({"TargetCPA": logs.select(np.arange(12))}, {"TargetCPA": validation}, config, out=out)
    chosen = found.chosen
    assert chosen is not None and chosen.n_candidates == 2 * len(BUDGET_RATIOS) and chosen.step in (15, 20)
    assert chosen.bidder is found.bidder and found.returned.step <= 20
    ratio = float(chosen.condition.removeprefix("budget_ratio="))
    assert found.bidder.config.agent.budget_ratio == ratio
    assert load(out).config.agent.budget_ratio == ratio  # the file has what was chosen
    log = OfflineEvaluation(validation)
    scores = {
        (step, ratio): log.estimate(stage.conditioned_on(budget_ratio=ratio)).score
        for step, stage in found.snapshots.items()
        for ratio in BUDGET_RATIOS
    }
    assert scores[chosen.step, ratio] == max(scores.values()) == chosen.scores["TargetCPA"]


def test_what_cannot_be_estimated_is_an_error_before_training(logs: TrajectoryData) -> None:
    config = override(Config(), ["train.select=estimate", "train.steps=5"])
    kept = logs.tick != 3
    columns = {name: getattr(logs, name)[kept] for name in (*VECTORS, "observation")}
    short = TrajectoryData.from_arrays(columns, logs.tasks, {}, logs.labels)
    with pytest.raises(ValueError, match=r"'estimate' needs validation logs of 'TargetCPA': .* all its 12 ticks"):
        train({"TargetCPA": logs}, {"TargetCPA": short}, config)


def test_trained_on_validation_logs_are_no_judges() -> None:
    with pytest.raises(ValueError, match="`select` must be last for `cross_fit`"):
        override(Config(), ["train.select=estimate", "train.cross_fit=2"])
