"""`vamo ope`: the table, its JSON, its warnings and its errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agents import PidBidder, estimate, make, rollout
from agents.rollouts import to_trajectories
from auction_env import MarketParams, data
from auction_env.tasks import TASKS
from benchmarks.cli import main


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    seeds = np.arange(12)
    params = MarketParams(n_impressions=480, n_ticks=8)
    played = rollout(
        PidBidder(), seeds=seeds, advertisers=seeds, task=TASKS["TargetCPA"], params=params, progress=False
    )
    path = tmp_path_factory.mktemp("ope") / "log"
    data.write(path, to_trajectories(played, period=seeds, policy="pid"))
    return path


def test_policies_stand_side_by_side(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found.json"
    agents = ["--agent", "pid", "--agent", "low=fixed:ratio=0.3"]
    main(["ope", str(log), *agents, "--method", "direct", "--method", "importance", "--json", str(out)])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "TargetCPA: estimated score of an episode, from 12 logged ones" in text
    assert "12 episodes are few" in text.replace("\n", " ")
    assert "(pid, importance; low, importance)" in text.replace("\n", " ")  # a reason of one method
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [(one["policy"], one["method"]) for one in found] == [
        ("pid", "direct"), ("pid", "importance"), ("low", "direct"), ("low", "importance"),
    ]  # fmt: skip
    same = estimate(data.load(log), make("pid"))
    assert found[0]["score"] == pytest.approx(same.score) and found[0]["low"] == pytest.approx(same.low)
    assert found[0]["warnings"] == list(same.warnings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agent", "pid", "--method", "drect"], "`--method` must be one of"),
        (["--agent", "hindsight"], "knows the episode beforehand"),
        (["--agent", "online-lp"], "must play a live market, whose prices it records, found logs"),
        (["--agent", "pid", "--task", "MaxClicks"], "counts clicks, which must be recorded"),
        (["--agent", "pid", "--agent", "fixed:ration=1"], "found ['ration']"),
    ],
)
def test_bad_input_is_an_error(
    log: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["ope", str(log), *arguments])
    assert message in capsys.readouterr().err
