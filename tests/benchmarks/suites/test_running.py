"""The runner: the same rows however it is interrupted, failures that stop nothing, and what a run records."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from benchmarks.cli import main
from benchmarks.suites.data.opening import open_variant
from benchmarks.suites.data.references import references
from benchmarks.suites.numbers import NUMBERS
from benchmarks.suites.running import identity, provenance
from benchmarks.suites.running.run import Tables, execute
from benchmarks.suites.running.suite import run_suite
from benchmarks.suites.storage.publishing import publish
from benchmarks.suites.storage.store import TABLES, Store
from tests import processes
from tests.benchmarks.suites.made_up import write_results
from tests.benchmarks.suites.tiny import BROKEN, DATA, RULES, UNIFORM, VAO, fragile, jobs_of, suite

ROOT = Path(__file__).parents[3]


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    """To the last bit; NaN equals NaN."""
    pd.testing.assert_frame_equal(found.to_pandas(), expected.to_pandas(), check_exact=True)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(cache: Path) -> Tables:
    """The tables of VAO's first seed."""
    return execute(jobs_of(suite(VAO), cache)[0])


def test_a_run_fills_every_table(trained: Tables) -> None:
    assert set(trained) == set(TABLES)
    run = trained["runs"].to_pylist()[0]
    assert (run["failed"], run["n_steps"], run["train_seed"]) == ("", 4, 7)
    assert min(run[name] for name in ("train_seconds", "tune_seconds", "play_seconds", "step_milliseconds")) > 0
    assert run["peak_memory_mb"] > 50 and np.isfinite(run["validation_loss"])
    assert json.loads(run["config"])["arm"]["settings"] == ["train.method=vao"]
    chosen = json.loads(run["chosen"])
    assert all(set(choice) == {"condition", "stability"} for choice in chosen.values()) and len(chosen) == 2
    rows = trained["rows"].to_pandas()
    assert rows.groupby("task").size().tolist() == [3, 3]
    assert set(rows["seed"]) == {200, 201, 202} and (rows["reference"] > 0).any()
    weights = trained["weights"].to_pandas()
    assert np.allclose(weights.groupby(["step", "target"])["weight"].sum(), 1, atol=1e-6)
    assert sorted(set(weights["step"])) == [2, 4]
    assert len(trained["losses"]) == 2 * 2


def test_viewed_episodes_are_those_of_the_rows(trained: Tables) -> None:
    ticks, rows = trained["episodes"].to_pandas(), trained["rows"].to_pandas()
    for task, day in ticks.groupby("task"):
        assert day["tick"].tolist() == list(range(48))
        row = rows[(rows["task"] == task) & (rows["seed"] == day["seed"].iloc[0])].iloc[0]
        assert row["advertiser"] == day["advertiser"].iloc[0]
        last = day.iloc[-1]
        assert day["cost"].sum() == pytest.approx(row["cost"])
        for name in ("objective", "budget_ratio", "cpa_ratio"):
            assert last[name] == pytest.approx(row[name], nan_ok=True)
        assert np.allclose(day[["slot1", "slot2", "slot3"]].sum(axis=1), day["wins"])
        assert last["planned_spend_share"] == pytest.approx(1.0) and (day["planned_spend_share"].diff()[1:] >= 0).all()


def test_a_run_is_the_same_again_and_other_seeds_differ(trained: Tables, cache: Path) -> None:
    again, other = (execute(job) for job in jobs_of(suite(VAO), cache))
    for name in ("rows", "weights", "losses", "episodes"):
        assert_same(again[name], trained[name])
    assert not other["rows"]["score_expected"].equals(trained["rows"]["score_expected"])
    assert "episodes" not in other  # of the first seed only


def test_untrained_and_uniform_methods_leave_no_alignments(cache: Path) -> None:
    fixed, uniform = (execute(job) for job in jobs_of(suite(RULES[0], UNIFORM, seeds=(7,)), cache))
    assert set(fixed) == {"runs", "rows", "episodes"}
    assert fixed["rows"]["train_seed"].to_pylist() == [-1] * 6
    assert "parameters" in next(iter(json.loads(fixed["runs"]["chosen"][0].as_py()).values()))
    assert uniform["weights"].num_rows == 0 and uniform["losses"].num_rows == 4
    unseen = execute(jobs_of(replace(suite(RULES[0]), n_viewed=0), cache)[0])
    assert set(unseen) == {"runs", "rows"} and unseen["rows"].num_rows == 6


def test_a_failed_run_is_recorded_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of = suite(BROKEN, RULES[0])
    outcome = run_suite(of, tmp_path, n_workers=2)
    assert (outcome.n_runs, outcome.failed) == (2, ("family--broken",))
    assert "`name` must be an agent" in " ".join(capsys.readouterr().out.split())
    store = Store(tmp_path)
    failed = {run["run_id"]: run["failed"] for run in store.runs().to_pylist()}
    assert failed["family--fixed"] == "" and failed["family--broken"].startswith("ValueError: `name` must be an agent")
    assert set(store.rows()["method"].to_pylist()) == {"fixed"}
    before = (tmp_path / "runs" / "family--fixed.parquet").stat().st_mtime_ns
    again = run_suite(of, tmp_path, n_workers=1)
    assert (again.n_found, again.failed) == (1, ("family--broken",))  # only the failed one is tried again
    assert (tmp_path / "runs" / "family--fixed.parquet").stat().st_mtime_ns == before


ONE_WORKER = """
import sys
from pathlib import Path
from benchmarks.suites.running.suite import run_suite
from tests.benchmarks.suites.tiny import suite

if __name__ == "__main__":
    run_suite(suite(), Path(sys.argv[1]), n_workers=1)
"""


def test_killed_and_started_again_it_ends_with_the_same_rows(tmp_path: Path, cache: Path) -> None:
    run = processes.Run(ONE_WORKER, str(tmp_path), folder=ROOT, work=tmp_path / "process")
    deadline = time.monotonic() + 120
    while not any((tmp_path / "runs").glob("*.parquet")):  # one worker: the next run is then under way
        assert run.process.is_alive() and time.monotonic() < deadline, "must still be running"
        time.sleep(0.01)
    run.kill()
    n_before = Store(tmp_path).runs().num_rows
    assert 1 <= n_before < 4
    outcome = run_suite(suite(), tmp_path, n_workers=2)
    assert (outcome.n_found, outcome.failed) == (n_before, ())
    whole = [execute(job) for job in sorted(jobs_of(suite(), cache), key=lambda job: job.id)]
    for name in ("rows", "episodes"):
        assert_same(getattr(Store(tmp_path), name)(), pa.concat_tables([tables[name] for tables in whole]))


def test_a_dead_worker_costs_its_run_one_attempt_of_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.suites.running.suite.execute_quietly", fragile)
    assert run_suite(suite(*RULES[:3]), tmp_path, n_workers=2).failed != ()
    errors = {run["method"]: run["failed"] for run in Store(tmp_path).runs().to_pylist()}
    assert errors.pop("fixed").startswith("its process died 3 times, exit code 3")
    assert errors == {"pid": "lives", "dual": "lives"}


@pytest.mark.exhaustive
def test_rows_made_on_ray_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    of = suite(RULES[0])
    assert run_suite(of, tmp_path / "ray", n_workers=2, ray="local").failed == ()
    assert_same(Store(tmp_path / "ray").rows(), execute(jobs_of(of, tmp_path)[0])["rows"])


def test_results_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    run_suite(suite(RULES[0]), tmp_path, n_workers=1)
    with pytest.raises(ValueError, match="must hold runs of the same settings, found run 'family--fixed' of others"):
        run_suite(replace(suite(RULES[0]), n_candidates=3), tmp_path, n_workers=1)
    with pytest.raises(ValueError, match="must be empty or hold other/v1/testing, found tiny/v1/testing"):
        run_suite(replace(suite(RULES[0]), id="other/v1"), tmp_path, n_workers=1)


def test_rows_of_another_numbers_version_are_made_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of = suite(RULES[0], RULES[1])
    first, second = jobs_of(of, cache)
    with monkeypatch.context() as patch:
        patch.setitem(NUMBERS, "benchmarks", NUMBERS["benchmarks"] - 1)
        identity.resolved_part.cache_clear()
        Store(tmp_path).write_run(first.id, execute(replace(first, commit=provenance.commit())))
        identity.resolved_part.cache_clear()
    Store(tmp_path).write_run(second.id, execute(replace(second, commit=provenance.commit())))
    old = {run["run_id"]: run["config_hash"] for run in Store(tmp_path).runs().to_pylist()}
    run_suite(of.only(arms=(RULES[1],)), tmp_path, n_workers=1)  # finds its run, writes the suite's record
    with pytest.raises(ValueError, match="must be of one numbers version of 'benchmarks', found"):
        publish(tmp_path, tmp_path / "published")
    outcome = run_suite(of, tmp_path, n_workers=1)
    assert (outcome.n_runs, outcome.n_found, outcome.failed) == (2, 1, ())
    assert "1 finished runs are of other defaults or numbers: done again" in " ".join(capsys.readouterr().out.split())
    new = {run["run_id"]: run["config_hash"] for run in Store(tmp_path).runs().to_pylist()}
    assert new[first.id] != old[first.id] and new[second.id] == old[second.id]
    publish(tmp_path, tmp_path / "published")


def test_a_table_is_published_of_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = suite(RULES[0], RULES[1])
    for commit, part in (("0ld", of.only(arms=(RULES[0],))), ("new", of)):
        monkeypatch.setattr(provenance, "commit", lambda commit=commit: commit)
        run_suite(part, tmp_path / "out", n_workers=1)
    assert set(Store(tmp_path / "out").runs()["commit"].to_pylist()) == {"0ld", "new"}
    with pytest.raises(ValueError, match=r"must be of one commit, found .*--one-commit"):
        publish(tmp_path / "out", tmp_path)
    published, _ = publish(tmp_path / "out", tmp_path, is_mixed=True)
    assert Store(published).rows().num_rows == Store(tmp_path / "out").rows().num_rows
    again = run_suite(of, tmp_path / "out", n_workers=1, one_commit=True)
    assert (again.n_runs, again.n_found) == (2, 1)  # the other is done again
    publish(tmp_path / "out", tmp_path)


def test_logs_are_shared_by_variants_that_use_fewer_of_them(cache: Path) -> None:
    of = suite(VAO)
    few = replace(of.variants[0], data=replace(DATA, n_validation=2, n_scored=1))
    opened = [open_variant(variant, of, cache) for variant in (of.variants[0], few)]
    sizes = [{log.n_episodes for log in data.load_logs()[1].values()} for data in opened]
    assert sizes == [{3}, {2}] and [len(data.targets) for data in opened] == [2, 1]
    assert len(list(cache.glob("family-*"))) == 1
    first = references(opened[0], cache)
    assert references(opened[0], cache).keys() == first.keys() == opened[0].tests.keys()


def test_the_record_keeps_every_command(tmp_path: Path) -> None:
    for command in ("bench --agents a", "bench --agents b", "bench --agents a"):
        run_suite(suite(RULES[0]), tmp_path, n_workers=1, command=command)
    assert Store(tmp_path).suite().command == "bench --agents a && bench --agents b"


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["bench", "run", "data-scarce/v2/testing", "--out", str(out), "--workers", "2"]
    main([*arguments, "--agents", "fixed", "random"])
    assert "2 runs, 0 found finished, 0 failed" in capsys.readouterr().out
    main([*arguments, "--agents", "fixed"])
    assert "1 runs, 1 found finished, 0 failed" in capsys.readouterr().out
    record = Store(out).suite()
    assert [method["name"] for method in record.methods] == ["fixed", "random"]  # the second call forgets nothing
    rows = Store(out).rows()
    assert set(rows["method"].to_pylist()) == {"fixed", "random"}
    assert pc.min(rows["seed"]).as_py() >= 6_000_000
    main(["bench", "table", str(out)])
    shown = capsys.readouterr().out
    assert "constant (tuned)" in shown and "random (tuned)" in shown and "Cost of a run" in shown
    main(["bench", "table", str(out), "--against", "fixed"])
    shown = capsys.readouterr().out
    assert "random (tuned)" in shown
    figures = [line for line in shown.splitlines() if line.count("[") == line.count("]") == 1]
    assert len(figures) == 7 and figures[-1].split()[0] == "all"  # six tasks and all, a line each
    main(["bench", "publish", str(out), "--to", str(tmp_path / "results")])
    published = Store(tmp_path / "results" / "data-scarce-v2-testing")
    assert published.rows().num_rows == rows.num_rows
    assert np.allclose(published.rows()["score_sampled"], rows["score_sampled"], rtol=1e-4)
    assert not (published.path / "report.html").exists()  # the site renders it
    main(["bench", "list"])
    assert "many-tasks/v2" in capsys.readouterr().out
    for bad, text in (
        (["bench", "run", "nothing"], "`SUITE` must be one of"),
        ([*arguments, "--agents", "pidd"], "nearest: pid"),
        (["bench", "table", str(tmp_path / "nowhere")], "holds no results"),
        ([*arguments, "--workers", "0"], "`n_workers` must be at least 1, found 0"),
    ):
        with pytest.raises(SystemExit) as exit_of:
            main(bad)
        assert exit_of.value.code == 2
        assert text in capsys.readouterr().err


def test_a_failed_run_makes_the_command_exit_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.commands import suites as commands

    monkeypatch.setattr(commands, "get_suite", lambda name, size: suite(BROKEN))
    with pytest.raises(SystemExit) as exit_of:
        main(["bench", "run", "tiny/v1", "--out", str(tmp_path)])
    assert exit_of.value.code == 1


def test_the_published_command_names_no_folder() -> None:
    given = ["/somewhere/bin/vamo", "bench", "run", "data-scarce/v2", "--out", "/home/me/x", "--seeds", "2", "--out=y"]
    given += ["--reuse", "/home/me/z", "--reuse=/home/me/z"]
    assert provenance.command_line(given) == "vamo bench run data-scarce/v2 --seeds 2"


@pytest.mark.parametrize(
    ("earlier", "latest", "expected"),
    [
        ("run a --seeds 1 --workers 2", "run a --seeds 3 --workers 2", "run a --seeds 3 --workers 2"),
        ("run a --seeds 10", "run a --seeds 9", "run a --seeds 10"),
        ("run a --seeds 2", "run a", "run a"),
        ("run a", "run a --seeds 2", "run a"),
        ("run a --seeds=1 && run a --agents b", "run a --seeds 2", "run a --agents b && run a --seeds 2"),
        ("run a", "run a --device cuda", "run a && run a --device cuda"),
        (
            "run a --agents b c --seeds 2 --workers 2",
            "run a --agents c d b --seeds 2",
            "run a --agents c d b --seeds 2",
        ),
        (
            "run a --agents b --seeds 3",
            "run a --agents b c --seeds 2",
            "run a --agents b --seeds 3 && run a --agents b c --seeds 2",
        ),
        ("run --seeds 2 a", "run a --seeds=1 --size cpu", "run --seeds 2 a && run a --seeds=1 --size cpu"),
        ("run --seeds 1 --one-commit a", "run a --seeds 2 --one-commit", "run a --seeds 2 --one-commit"),
        ("run a --variants x", "run a --agents b", "run a --variants x && run a --agents b"),
        ("run a --variants x && run a --agents b", "run a", "run a"),
        ("run a --one-commit", "run b --one-commit", "run a --one-commit && run b --one-commit"),
    ],
)
def test_a_command_that_gives_more_replaces_one_that_gives_less(earlier: str, latest: str, expected: str) -> None:
    assert provenance.joined_commands(earlier, latest) == expected


def test_publishing_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = write_results(tmp_path / "whole", with_failure=False)
    main(["bench", "publish", str(whole), "--to", str(tmp_path / "out")])
    assert "note:" not in capsys.readouterr().out
    removed = sorted((whole / "runs").iterdir())[-1]
    removed.unlink()
    method, seed = removed.stem.split("--")[-2:]
    main(["bench", "publish", str(whole), "--to", str(tmp_path / "out")])
    assert f"{method} in family (1 of 2 runs)" in capsys.readouterr().out and seed.startswith("s")
