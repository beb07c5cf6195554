"""Search spaces and the tuner that all agents share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agents import Bidder, make, record_scenarios, rollout
from agents.registry import BUILT_IN
from auction_env import TASKS, MarketParams, auctionnet_population
from benchmarks import cli
from benchmarks.suites.data.episodes import TaskEpisodes
from benchmarks.suites.data.variant import VariantData
from benchmarks.suites.methods.fitting import Setting
from benchmarks.suites.methods.methods import fit_rule
from benchmarks.suites.methods.resolved import FROM_LOGS
from benchmarks.suites.methods.tuning import Range, candidates_of, read_spaces, tune
from tests.agents.rules.logs import log_of, params_of

MARKET = {"task": TASKS["MaxConversions"], "params": MarketParams(n_impressions=1000)}
EPISODES = {"seeds": np.arange(100_000, 100_006), "advertisers": np.arange(6)}


def test_the_spaces_are_of_agents_and_parameters_that_exist() -> None:
    spaces = read_spaces()
    assert set(spaces) <= {entry.name for entry in BUILT_IN}
    for agent, space in spaces.items():
        if agent in ("online-lp", *FROM_LOGS):
            continue  # needs a history
        for point in candidates_of(space, 5, seed=1):
            assert isinstance(make(agent, **point), Bidder)


def test_candidates_are_the_defaults_and_points_within_the_space() -> None:
    space = {"a": Range(low=0.1, high=10.0, log=True), "b": Range(low=-1.0, high=1.0)}
    points = candidates_of(space, 33, seed=0)
    assert points[0] == {}
    assert len(points) == 33
    a, b = (np.array([point[name] for point in points[1:]]) for name in space)
    assert a.min() >= 0.1
    assert a.max() <= 10.0
    # a Sobol sequence: each half of a range has half of the points
    assert np.sum(a < 1.0) == np.sum(b < 0.0) == 16
    assert candidates_of(space, 33, seed=0) == points
    assert candidates_of(space, 33, seed=1) != points
    assert candidates_of(space, 6, seed=0) == points[:6]
    assert candidates_of(space, 1, seed=0) == [{}]


def test_tuning_chooses_the_best_candidate_and_records_what_it_did(tmp_path: Path) -> None:
    space = {"ratio": Range(low=0.05, high=2.0, log=True)}
    bidder, record = tune("fixed", space, n_candidates=5, seed=3, **EPISODES, **MARKET)
    scores = [rollout(make("fixed", **p), **EPISODES, **MARKET).score(expected=True).mean() for p in record.candidates]
    np.testing.assert_allclose(record.scores, scores)
    assert record.chosen == np.argmax(scores)
    played = rollout(bidder, **EPISODES, **MARKET)
    again = rollout(make("fixed", **record.parameters), **EPISODES, **MARKET)
    np.testing.assert_array_equal(played.ticks.multiplier, again.ticks.multiplier)
    record.save(tmp_path / "fixed.json")
    saved = json.loads((tmp_path / "fixed.json").read_text())
    assert saved["agent"] == "fixed"
    assert saved["first_seed"] == 100_000
    assert saved["candidates"] == list(record.candidates)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fixed.ratio]\nlow = 2.0\nhigh = 1.0\n", r"\[fixed\] ratio must be a range .* `low` must be below `high`"),
        ("[fixed.ratio]\nlow = 0.0\nhigh = 1.0\nlog = true\n", "`low` must be positive in a logarithmic range"),
        ("[fixed.ratio]\nlow = 0.0\nmost = 1.0\n", r"\[fixed\] ratio must be a range .*'most'"),
        ("[fixed]\nratio = 1.0\n", r"\[fixed\] ratio must be a range"),
    ],
)
def test_bad_spaces_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "spaces.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_spaces(path)


def test_a_tuning_needs_a_candidate() -> None:
    with pytest.raises(ValueError, match="`n` must be at least 1, found 0"):
        candidates_of({"a": Range(low=0.0, high=1.0)}, 0, seed=0)


def test_the_command_lists_the_agents(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["agents"])
    printed = capsys.readouterr().out
    for entry in BUILT_IN:
        assert f"{entry.name} " in printed
    assert "reference" in printed and len(printed.splitlines()) < 40
    cli.main(["agents", "cql"])
    assert "arXiv 2006.04779" in capsys.readouterr().out


@pytest.mark.parametrize("agent", FROM_LOGS)
def test_a_rule_on_a_response_is_fitted_to_the_training_logs_of_its_task(agent: str) -> None:
    task, log = "TargetCPA", log_of("TargetCPA", 4)
    episodes = TaskEpisodes(
        task=TASKS[task], params=params_of(task), population=auctionnet_population(), seeds=np.arange(2) + 100,
        advertisers=np.arange(2),
    )  # fmt: skip
    data = VariantData(
        targets={task: episodes}, tests={}, target_of={}, load_logs=lambda: ({task: log}, {}), n_train={task: 4},
        n_validation={},
    )  # fmt: skip
    setting = Setting(data=data, settings=(f"agent={agent}",), training=(), train_seed=-1, n_candidates=2)
    fitted = fit_rule(setting)
    chosen = fitted.chosen[task]["parameters"]
    again = make(agent, history=record_scenarios(log, TASKS[task]), **chosen)
    played, expected = (episodes.play(bidder).ticks.multiplier for bidder in (fitted.bidders[task], again))
    np.testing.assert_array_equal(played, expected)
