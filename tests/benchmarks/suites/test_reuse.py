"""Runs of other results are taken over where they are the same, and only there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.statistics.analysis import analyse
from benchmarks.suites.catalogue.shared.arms import rule
from benchmarks.suites.running import provenance
from benchmarks.suites.running.reuse import take_over
from benchmarks.suites.running.run import execute, failure
from benchmarks.suites.running.suite import CACHE, run_suite
from benchmarks.suites.spec import Arm, Seeds, Suite, Variant
from benchmarks.suites.storage.publishing import publish
from benchmarks.suites.storage.store import TABLES, Store
from tests.benchmarks.suites.tiny import DATA, RULES, VAO, jobs_of, suite

FIXED, PID = RULES[:2]
MADE_ELSEWHERE = [
    "started", "train_seconds", "tune_seconds", "play_seconds", "step_milliseconds", "decision_milliseconds",
    "peak_memory_mb",
]  # fmt: skip


def other(*arms: Arm, **changes: Any) -> Suite:
    """Another suite that meets on the same data under other names."""
    variant = Variant(name="elsewhere", label="the same tasks", data=DATA)
    return replace(suite(*arms), **{"id": "other/v1", "variants": (variant,), **changes})


def make(of: Suite, out: Path) -> Path:
    """Does all runs in this process, which spares starting others."""
    for job in jobs_of(of, out / CACHE):
        Store(out).write_run(job.id, execute(replace(job, commit=provenance.commit())))
    run_suite(of, out, n_workers=1)  # finds them finished
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rule, and both seeds of a trained method."""
    return make(suite(FIXED, VAO), tmp_path_factory.mktemp("made"))


def test_what_is_the_same_is_taken_over_under_its_new_names(made: Path, tmp_path: Path) -> None:
    wanted = other(rule("fixed", "renamed"), PID, replace(VAO, name="ours", label="ours"))
    outcome = run_suite(wanted, tmp_path / "with", n_workers=1, reuse=[made])
    assert (outcome.n_runs, outcome.n_found, outcome.n_taken, outcome.failed) == (4, 0, 3, ())
    make(wanted, tmp_path / "without")
    found, direct = Store(tmp_path / "with"), Store(tmp_path / "without")
    for name in TABLES:
        ours, theirs = (getattr(store, name)().to_pandas() for store in (found, direct))
        if name == "runs":
            ours, theirs = (frame.drop(columns=MADE_ELSEWHERE) for frame in (ours, theirs))
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    again = run_suite(wanted, tmp_path / "with", n_workers=1, reuse=[made])
    assert (again.n_found, again.n_taken) == (4, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"n_candidates": 3},
        {"test": Seeds(first=300, n=3)},
        {"training": (*suite().training, "train.learning_rate=0.1")},
        {"variants": (Variant(name="family", label="", data=replace(DATA, n_validation=2)),)},
        {"train_seeds": (8,), "arms": (VAO,)},
        {"n_viewed": 2},
    ],
    ids=str,
)
def test_what_differs_is_not(made: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    wanted = other(FIXED, VAO, **changes)
    runs = tuple(run for run in wanted.runs() if run.n_viewed or "n_viewed" not in changes)
    assert take_over(Store(tmp_path), runs, [made]) == ()
    assert Store(tmp_path).run_ids() == ()


def test_a_failed_run_is_not(made: Path, tmp_path: Path) -> None:
    failed = Store(tmp_path / "failed")
    failed.write_suite(Store(made).suite())
    (job,) = jobs_of(suite(FIXED), made / CACHE)
    failed.write_run(job.id, failure(job, "out of memory"))
    assert take_over(Store(tmp_path / "out"), other(FIXED).runs(), [failed.path]) == ()
    assert len(take_over(Store(tmp_path / "out"), other(FIXED).runs(), [failed.path, made])) == 1


def test_published_results_get_more_seeds(made: Path, tmp_path: Path) -> None:
    published, _ = publish(made, tmp_path / "published")
    wanted = suite(FIXED, VAO, seeds=(7, 9, 11))
    outcome = run_suite(wanted, tmp_path / "more", n_workers=1, reuse=[published])
    assert (outcome.n_runs, outcome.n_taken, outcome.failed) == (4, 3, ())
    first, more = (Store(path).rows().to_pandas() for path in (made, tmp_path / "more"))
    keys = ["method", "task", "train_seed", "seed"]
    both = first.merge(more, on=keys, suffixes=("", "_taken"))
    assert len(both) == len(first)
    assert both["score_expected_taken"].to_numpy() == pytest.approx(both["score_expected"].to_numpy(), rel=1e-4)
    assert set(more["train_seed"]) == {-1, 7, 9, 11}
    assert analyse(Store(tmp_path / "more"))["family"].missing == ()  # rounded and whole rows are paired


def test_published_results_are_not_written_into(made: Path, tmp_path: Path) -> None:
    published, _ = publish(made, tmp_path / "published")
    with pytest.raises(ValueError, match=r"`out` must be .*--reuse, found published results"):
        run_suite(suite(FIXED, VAO), published, n_workers=1)


def test_a_directory_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        run_suite(suite(FIXED), tmp_path / "out", n_workers=1, reuse=[tmp_path / "nothing"])


def test_the_command_says_what_it_took_over(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.cli import main
    from benchmarks.commands import suites as commands

    monkeypatch.setattr(commands, "get_suite", lambda name, size: other(FIXED))
    main(["bench", "run", "other/v1", "--reuse", str(made), "--workers", "1", "--out", str(tmp_path)])
    assert "1 runs, 0 found finished, 1 taken over, 0 failed" in capsys.readouterr().out
