"""`vamo family`: the table names every harm and how much of the log is sound; measured harm on request."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents import read_family, read_harm
from auction_env import Funnel, preset
from auction_env.market.competitors.shipped import AGENTS
from benchmarks.cli import main

SMALL = "--tasks 3 --groups 2 --most 20 --fewest 10 --impressions 240 --validation 2 --test 2 --workers 1"


def test_the_table_says_who_is_harmed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    harms = ["--harms", "scaled_bid=1,delay=0.5@0.5", "--measure"]
    main(["family", "--out", str(tmp_path / "logs"), *SMALL.split(), *harms])
    out = capsys.readouterr().out
    assert "delay=0.5@0.5" in out and "scaled_bid=1" in out and "sound" in out
    assert "share of the score that a source's harm costs a target" in out
    assert read_harm(tmp_path / "logs") is not None  # kept, and not measured again
    main(["family", "--out", str(tmp_path / "logs"), *SMALL.split(), *harms])
    again = capsys.readouterr().out
    assert "measuring harm" not in again and "share of the score that a source's harm costs a target" in again
    members = read_family(tmp_path / "logs").members
    assert len(members) == 3


def test_the_advertisers_of_a_family(tmp_path: Path) -> None:
    options = ["--population", "auctionnet-agents", "--redraw", "0.4,0"]
    main(["family", "--out", str(tmp_path / "logs"), *SMALL.split(), "--harms", "none", *options])
    for member in read_family(tmp_path / "logs").members:
        assert member.population.behaviour == AGENTS
        assert (member.population.budget_swing, member.population.cpa_swing) == (0.4, 0.0)


def test_a_family_of_a_preset_is_saved_loaded_trained_on_and_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs, agent = tmp_path / "logs", tmp_path / "bc"
    main(["family", "--out", str(logs), *SMALL.split(), "--harms", "none", "--shift", "0", "--preset", "dense"])
    params, population = preset("dense", n_impressions=240, funnel=Funnel())
    family = read_family(logs)
    assert {member.params for member in family.members} == {params}
    assert {member.population for member in family.members} == {population}
    training = ["--task", family.names[0], "--set", "steps=4", "--set", "batch_size=8", "--set", "hidden=[8]"]
    main(["train", "--agent", "bc", "--data", str(logs), "--out", str(agent), *training])  # all logs, one task
    played = ["--episodes", "2", "--workers", "1", "--out", str(tmp_path / "evaluation")]
    main(["evaluate", "--agent", str(agent), "--data", str(logs), "--task", family.names[0], *played])
    assert family.names[0] in capsys.readouterr().out.split("share")[-1]


def test_an_unknown_harm_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["family", "--out", str(tmp_path / "logs"), *SMALL.split(), "--harms", "theft=1"])
    assert "`harm.kind` must be one of" in capsys.readouterr().err
    assert not (tmp_path / "logs").exists()
