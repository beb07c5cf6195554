"""`vamo import table`: from an advertiser's own table to a policy that bids in the simulator; messages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vamo
from agents import NoisyBidder, PidBidder, collect, rollout
from auction_env import TASKS, MarketParams, data
from benchmarks.cli import main

PARAMS = MarketParams(n_impressions=480)
SMALL = ("train.steps=4", "train.batch_size=32", "train.evaluation_windows=8", "model.width=16", "train.log_every=4")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated log with the columns of an advertiser's own, under names of its own."""
    days = collect(NoisyBidder(PidBidder()), seeds=range(2), task=TASKS["TargetCPA"], params=PARAMS)
    log = data.TrajectoryData.concat(list(days))
    names = np.array([f"campaign-{advertiser}" for advertiser in log.advertiser])
    columns = {"name": names, "period": log.period, "tick": log.tick, "spend": log.cost}
    columns |= {"bid": log.bid / np.maximum(log.n_impressions, 1), "volume": log.n_impressions, "budget": log.budget}
    columns |= {"impressions": log.exposures, "conversions": log.conversions, "cpa_target": log.cpa_target}
    path = tmp_path_factory.mktemp("table") / "log.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_a_table_becomes_a_policy_that_plays_in_the_simulator(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs, agent = str(tmp_path / "logs"), str(tmp_path / "agent.safetensors")
    task = tmp_path / "task.json"
    task.write_text(TASKS["TargetCPA"].to_json())
    main(["import", "table", str(table), "--map", "cost=spend", "campaign=name", "--task", str(task), "--out", logs])
    said = capsys.readouterr().out
    assert "4,608 rows -> 96 trajectories" in said and "the log lacks: " in said and "offered_conversions" in said
    main(["data", "check", logs])
    main(["data", "describe", logs])
    main(["data", "split", logs, "--validation", "24", "--test", "0"])
    capsys.readouterr()
    settings = [part for setting in SMALL for part in ("--set", setting)]
    main(["train", "--data", logs, "--out", agent, *settings])
    assert f"{logs}: estimated, because the log lacks them: action, " in capsys.readouterr().out
    bidder = vamo.load(agent)
    played = rollout(bidder, seeds=[400_000, 400_001], advertisers=[0, 1], task=TASKS["TargetCPA"], params=PARAMS)
    assert played.totals.cost.sum() > 0


def test_problems_are_listed_and_nothing_is_left(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["import", "table", str(table), "--task", "TargetCPA", "--out", str(tmp_path / "logs")])
    error = capsys.readouterr().err
    assert "the table has 2 problems" in error and "must have `campaign`" in error and "--map cost=YOURS" in error
    for given in ("spend", "=spend"):
        with pytest.raises(SystemExit):
            main(
                ["import", "table", str(table), "--map", given, "--task", "TargetCPA", "--out", str(tmp_path / "logs")]
            )
        assert "`--map` must be NAME=VALUE" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_agents_that_learn_from_transitions_take_it_too(table: Path, tmp_path: Path) -> None:
    logs = str(tmp_path / "logs")
    main(["import", "table", str(table), "--map", "cost=spend", "campaign=name", "--task", "TargetCPA", "--out", logs])
    agent = tmp_path / "bc.safetensors"
    main(["train", "--agent", "bc", "--data", logs, "--out", str(agent), "--set", "steps=2"])
    manifest = json.loads((tmp_path / "logs" / "manifest.json").read_text())
    assert agent.exists() and manifest["metadata"]["campaigns"][0] == "campaign-0"


def test_bids_become_ticks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["campaign,time,bid,paid,conversions", "a,2026-01-05 00:10:00,900,700,1", "a,2026-01-05 00:20:00,1100,,"]
    (tmp_path / "log.csv").write_text("\n".join(rows))
    out = str(tmp_path / "set")
    main(["import", "bids", str(tmp_path / "log.csv"), "--map", "price=paid", "--constant", "budget=1000",
          "--price-unit", "1000", "--task", "MaxConversions", "--out", out])  # fmt: skip
    assert "1 rows -> 1 trajectories in" in capsys.readouterr().out and data.check(out) == []
    log = data.load(out)
    assert (log.cost[0], log.bid[0], log.n_impressions[0], log.wins[0], log.conversions[0]) == (0.7, 2.0, 2, 1, 1)
