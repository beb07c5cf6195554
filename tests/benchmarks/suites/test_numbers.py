"""The numbers version: golden rows of every package; a run's hash follows defaults, search spaces and versions."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.suites.data.opening import log_key
from benchmarks.suites.methods import resolved
from benchmarks.suites.methods.tuning import Range
from benchmarks.suites.numbers import NUMBERS
from benchmarks.suites.running import identity
from benchmarks.suites.spec import Arm
from tests.benchmarks.suites import golden
from tests.benchmarks.suites.tiny import DATA, RULES, VAO, suite

PID = RULES[1]
DT = Arm(name="dt", label="", method="generative", settings=("algo=dt",))
BC = Arm(name="bc", label="", method="offline", settings=("algo=bc",))


@pytest.fixture(autouse=True)
def _no_memory() -> Any:
    """Resolved settings are kept for the process: tests that change defaults must not see or leave any."""
    identity.resolved_part.cache_clear()
    yield
    identity.resolved_part.cache_clear()


def test_golden_rows_move_with_a_new_version_only(tmp_path: Path) -> None:
    committed = golden.read()
    assert committed[golden.VERSIONS] == NUMBERS, "write the golden rows: python -m tests.benchmarks.suites.golden"
    found = golden.moved(committed, golden.measure(tmp_path))
    assert not found, (
        f"results changed: {found}. If they should, raise the version of the lowest of these packages in"
        " benchmarks/suites/numbers.py, write there why, and run python -m tests.benchmarks.suites.golden"
    )


def test_golden_rows_are_not_written_without_a_new_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = golden.read()
    numbers = {name: copy.deepcopy(committed[name]) for name in NUMBERS}
    file = tmp_path / "golden.json"
    file.write_text(json.dumps(committed))
    monkeypatch.setattr(golden, "FILE", file)
    what = next(name for name in numbers["vamo"] if name.startswith(golden.TRAINED))
    numbers["vamo"][what] = [value * (1 + 1e-4) for value in numbers["vamo"][what]]
    assert golden.moved(committed, numbers) == {}  # another processor
    golden.write(numbers | {"vamo": numbers["vamo"] | {f"{golden.EXACT}: another": [1.0]}})  # a new one has not moved
    assert golden.moved(golden.read(), numbers) == {"vamo": [f"{golden.EXACT}: another"]}
    numbers["vamo"][what] = [value * 1.01 for value in numbers["vamo"][what]]
    assert golden.moved(committed, numbers) == {"vamo": [what]}
    with pytest.raises(ValueError, match=r"version of 'vamo' .* must be above"):
        golden.write(numbers)
    monkeypatch.setitem(NUMBERS, "vamo", NUMBERS["vamo"] + 1)
    golden.write(numbers)
    assert golden.read()["vamo"] == numbers["vamo"] and golden.read()[golden.VERSIONS] == NUMBERS
    del numbers["agents"][next(iter(numbers["agents"]))]
    assert list(golden.moved(golden.read(), numbers)) == ["agents"]


def hashes() -> dict[str, str]:
    """Of a run of each kind of method, with nothing kept from before."""
    identity.resolved_part.cache_clear()
    one_of_each = replace(suite(PID, VAO, DT, BC, seeds=(7,)), training=("train.steps=4",))
    return {run.arm.name: identity.config_hash(run) for run in one_of_each.runs()}


def changed(before: dict[str, str]) -> set[str]:
    after = hashes()
    return {name for name in before if before[name] != after[name]}


def test_a_version_changes_the_hash_of_what_it_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    before, logs = hashes(), log_key(DATA)
    monkeypatch.setitem(NUMBERS, "vamo", 99)
    assert changed(before) == {"vao", "dt"} and log_key(DATA) == logs
    monkeypatch.setitem(NUMBERS, "agents", 99)
    assert changed(before) == {"pid", "vao", "dt", "bc"} and log_key(DATA) != logs


def test_a_changed_default_changes_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    from agents.offline.training import OfflineLearner
    from vamo import Config

    before, usual = hashes(), Config.to_dict
    defaults = OfflineLearner("bc").defaults()
    with monkeypatch.context() as patch:
        patch.setattr(Config, "to_dict", lambda config: usual(config) | {"a default": "that is new"})
        assert changed(before) == {"vao"}
    with monkeypatch.context() as patch:
        patch.setattr(OfflineLearner, "defaults", lambda _: replace(defaults, batch_size=defaults.batch_size + 1))
        assert changed(before) == {"bc"}
    with monkeypatch.context() as patch:
        patch.setattr(resolved, "BUDGET_RATIOS", (1.0,))
        assert changed(before) == {"vao", "dt"}  # the candidates of a generative baseline are as many
    read = resolved.read_spaces
    with monkeypatch.context() as patch:
        patch.setattr(resolved, "read_spaces", lambda *path: read(*path) | {"pid": {"start": Range(low=1.0, high=2.0)}})
        assert "pid" in changed(before)
    with monkeypatch.context() as patch:
        patch.setattr(resolved.HindsightBidder.__init__, "__kwdefaults__", {"n_coarse": 99})
        assert changed(before) == {"pid", "vao", "dt", "bc"}  # the reference of all
    assert changed(before) == set()


def test_what_is_recorded_is_all_settings() -> None:
    of_vamo, of_rule = (identity.config(run) for run in suite(VAO, PID, seeds=(7,)).runs())
    settings = of_vamo["resolved"]["settings"]
    assert (
        settings["train"]["method"] == "vao" and settings["train"]["steps"] == 4
    )  # the suite's over the packaged ones
    assert settings["weighting"]["refresh_every"] > 0 and of_vamo["numbers"] == NUMBERS
    assert set(of_rule["resolved"]["space"]) == {"start", "i", "cpa_p"} and "vamo" not in of_rule["numbers"]
    assert of_rule["reference"]["expected"] is True


def test_a_method_that_cannot_be_resolved_fails_when_it_is_run() -> None:
    broken = replace(VAO, settings=("train.methods=vao",))
    (run,) = suite(broken, seeds=(7,)).runs()
    assert "nearest is `train.method`" in identity.config(run)["resolved"]["error"]
    (run,) = suite(replace(PID, logs="both"), seeds=(7,)).runs()
    assert "must be 'training' for method 'rule'" in identity.config(run)["resolved"]["error"]
