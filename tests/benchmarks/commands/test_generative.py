"""The known answer, the command and the agents by name of the generative baselines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agents import FixedBidder, NoisyBidder, make
from auction_env import TASKS, data
from benchmarks.cli import main
from benchmarks.studies.known_optimum.generative import logged_days, share_of_optimum, trained
from tests.vamo.synthetic import make_data
from tests.vamo.test_agent import campaigns_of, views_of

TINY = ("backbone.d_model=16", "backbone.n_heads=2", "train.batch_size=16", "train.log_every=2")


def test_a_decision_transformer_finds_the_known_answer() -> None:
    """Far above its logs, near the best constant; others take longer: benchmarks.studies.known_optimum.generative."""
    logged = share_of_optimum(NoisyBidder(FixedBidder(), level_sd=0.3, tick_sd=0.1))
    learned = share_of_optimum(trained("dt", logged_days(96), steps=40))
    assert logged < 0.75
    assert learned > 0.85


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs") / "TargetCPA"
    data.write(path, make_data(20, task=TASKS["TargetCPA"]))
    data.write_splits(path, validation=5, test=1)
    return path


def test_command_checkpoint_and_agent_by_name(logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "dt.safetensors"
    command = ["train", "--agent", "dt", "--data", str(logs), "--out", str(out), "--set", "train.steps=4"]
    command += [part for setting in TINY for part in ("--set", setting)]
    main([*command, "--log-dir", str(tmp_path / "events")])
    assert list((tmp_path / "events").glob("events.*"))
    assert not out.with_name("dt.safetensors.run").exists()
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(command)
    assert "must not exist, found a finished agent" in capsys.readouterr().err

    played = make_data(3, task=TASKS["TargetCPA"])
    bidders = [make("dt", path=str(out)), make("dt", path=str(out), quantile=0.1)]
    decided = []
    for bidder in bidders:
        bidder.reset(campaigns_of(played, TASKS["TargetCPA"]))
        decided.append(bidder.act(next(iter(views_of(played)))))
    assert not np.array_equal(decided[0], decided[1])  # conditioned on another return
    with pytest.raises(ValueError, match="`cost` must not be given for 'dt'"):
        make("dt", path=str(out), cost=0.1)
