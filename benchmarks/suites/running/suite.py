"""Runs a suite: what is missing is done, what is finished stays; killed and started again, it goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from agents.parallel import Failure, run_jobs, worker_count
from benchmarks.console import Bar, console, progress_bar
from benchmarks.suites.data.opening import open_variant
from benchmarks.suites.data.references import references
from benchmarks.suites.data.variant import VariantData
from benchmarks.suites.running import identity, provenance
from benchmarks.suites.running.reuse import take_over
from benchmarks.suites.running.run import Job, Tables, execute_quietly, failure
from benchmarks.suites.spec import Run, Suite
from benchmarks.suites.storage.store import SUITE_FILE, Store, SuiteRecord

CACHE = "data"
"""Folder of the logs within a suite's directory."""

_PRELOADED = ("benchmarks.suites.running.preloaded",)


class Outcome(NamedTuple):
    """What a call did."""

    n_runs: int  # asked for
    n_found: int  # finished by an earlier call
    n_taken: int  # taken over from other results
    failed: tuple[str, ...]  # ids of runs that failed


def run_suite(
    suite: Suite,
    out: Path,
    *,
    n_workers: int | None = None,
    ray: str | None = None,
    device: str = "cpu",
    command: str = "",
    reuse: Sequence[Path] = (),
    one_commit: bool = False,
) -> Outcome:
    """Does all runs of a suite that are not there yet, or that other defaults or another numbers version made.

    Args:
        suite: What to run, all of it or some seeds and methods (`Suite.only`).
        out: Directory of the results.
        n_workers: Runs at a time, each in a process of its own on one thread; one a core by default.
        ray: Address of a Ray cluster that executes the runs (`agents.parallel.run_jobs`).
        device: Where the transformer is trained: "cpu" or "cuda".
        command: What a reader types to get the results.
        reuse: Directories of other results, whose runs are taken over where they are the same (`take_over`).
        one_commit: Whether finished runs that another commit made are done again, so that all rows are of this one.

    Raises:
        FileNotFoundError: A directory of `reuse` holds no results.
        ValueError: The directory holds another suite, published results, or runs that were made with other settings.
    """
    store, runs = Store(out), suite.runs()
    worker_count(n_workers)  # an error before anything is made
    finished = _finished(store, suite, runs, one_commit)
    taken = take_over(store, [run for run in runs if run.id not in finished], reuse)
    finished |= {run.id for run in taken}
    todo = [run for run in runs if run.id not in finished]
    cache = (out / CACHE).resolve()
    data = _open_variants(suite, cache, n_workers)
    _describe(store, suite, data, command)
    commit = provenance.commit()
    jobs = [Job(run=run, cache=str(cache), commit=commit, device=device) for run in todo]
    failed = _execute(store, jobs, n_workers, ray)
    return Outcome(len(runs), len(runs) - len(todo) - len(taken), len(taken), failed)


def _finished(store: Store, suite: Suite, runs: Sequence[Run], one_commit: bool) -> set[str]:
    """Ids of the runs that are there, did not fail and are of these settings, defaults and numbers versions.

    Raises:
        ValueError: The directory is another suite's, is published, or holds runs that a suite of other settings made.
    """
    if store.is_published:
        rule = "a directory of runs: take over what was published by --reuse"
        raise ValueError(f"`out` must be {rule}, found published results: {store.path}")
    if (store.path / SUITE_FILE).exists():
        found = store.suite()
        if (found.id, found.size) != (suite.full_id, suite.size):
            raise ValueError(f"{store.path} must be empty or hold {suite.full_id}, found {found.id}")
    columns = ["run_id", "config", "config_hash", "commit", "failed"]
    recorded = {row["run_id"]: row for row in store.runs().select(columns).to_pylist()}
    commit, finished, others, n_stale = provenance.commit(), set(), set(), 0
    for run in runs:
        row = recorded.get(run.id)
        if row is None or row["failed"]:
            continue
        if row["config_hash"] == identity.config_hash(run):
            if row["commit"] == commit or not one_commit:
                finished.add(run.id)
                others |= {row["commit"]} - {commit}
        elif identity.is_as_written(run, json.loads(row["config"])):
            n_stale += 1
        else:
            raise ValueError(
                f"{store.path} must hold runs of the same settings, found run {run.id!r} of others"
                f" ({row['config_hash']}, not {identity.config_hash(run)}): choose another --out or delete it"
            )
    if n_stale:
        console.print(f"note: {n_stale} finished runs are of other defaults or numbers: done again", soft_wrap=True)
    if others:
        listed = ", ".join(sorted(others))
        rule = "a table is published of one commit only, --one-commit does them again"
        console.print(f"note: finished runs are kept that are of other code ({listed}); {rule}", soft_wrap=True)
    return finished


def _open_variants(suite: Suite, cache: Path, n_workers: int | None) -> dict[str, VariantData]:
    """Logs and references of all variants, before any run needs them."""
    data = {}
    with progress_bar("logs and references", len(suite.variants), None) as bar:
        for variant in suite.variants:
            name = variant.name
            bar.note(name)
            data[name] = open_variant(variant, suite, cache, n_workers=n_workers, note=_noting(bar, name))
            references(data[name], cache)
            bar.advance(1)
    return data


def _noting(bar: Bar, name: str) -> Callable[[str], None]:
    """What writes a text behind a name at the end of a bar."""
    return lambda text: bar.note(f"{name}: {text}")


def _describe(store: Store, suite: Suite, data: dict[str, VariantData], command: str) -> None:
    """Writes `suite.json`, with the methods and seeds of earlier calls too."""
    record = SuiteRecord(
        id=suite.full_id,
        version=suite.version,
        size=suite.size,
        title=suite.title,
        question=suite.question,
        tasks={name: _tasks(of_variant) for name, of_variant in data.items()},
        variants=[{"name": v.name, "label": v.label, "x": v.x, "group": v.group} for v in suite.variants],
        methods=[
            {"name": a.name, "label": a.label, "kind": a.method, "is_trained": a.is_trained, "x": a.x}
            for a in suite.arms
        ],
        axis=suite.axis,
        baseline=suite.baseline,
        ours=list(suite.ours),
        contrasts=[{**asdict(contrast), "variants": list(contrast.variants)} for contrast in suite.contrasts],
        train_seeds=list(suite.train_seeds),
        commit=provenance.commit(),
        command=command,
        versions=provenance.versions(),
    )
    if (store.path / SUITE_FILE).exists():
        record = _merged(store.suite(), record)
    store.write_suite(record)


def _merged(old: SuiteRecord, new: SuiteRecord) -> SuiteRecord:
    """The record of both calls; commit and versions stay those of the first, and of commands those that give all."""
    kept = {key: value for key, value in asdict(old).items() if key in ("commit", "versions")}
    kept["command"] = provenance.joined_commands(old.command, new.command)
    joined: dict[str, Any] = {
        "tasks": {**old.tasks, **new.tasks},
        "variants": _joined(old.variants, new.variants),
        "methods": _joined(old.methods, new.methods),
        "train_seeds": new.train_seeds + [seed for seed in old.train_seeds if seed not in new.train_seeds],
        "ours": list(dict.fromkeys([*new.ours, *old.ours])),
        "contrasts": _joined(old.contrasts, new.contrasts),
        "baseline": new.baseline or old.baseline,
    }
    return SuiteRecord(**(asdict(new) | kept | joined))


def _joined(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records of both, each name once: the longer list's order first."""
    first, second = (old, new) if len(old) >= len(new) else (new, old)
    latest = {record["name"]: record for record in (*old, *new)}
    names = dict.fromkeys(record["name"] for record in (*first, *second))
    return [latest[name] for name in names]


def _tasks(data: VariantData) -> list[dict[str, Any]]:
    counts = data.n_train, data.n_validation
    return [
        {
            "name": test,
            "n_train": counts[0].get(target, 0),
            "n_validation": counts[1].get(target, 0),
            "n_test": len(data.tests[test].seeds),
        }
        for test, target in data.target_of.items()
    ]


def _execute(store: Store, jobs: Sequence[Job], n_workers: int | None, ray: str | None) -> tuple[str, ...]:
    """Does the runs and writes each as it ends; returns the ids of those that failed."""
    failed: list[str] = []
    started, n_ended, at_a_time = time.time(), 0, min(worker_count(n_workers), len(jobs))
    with progress_bar("runs", len(jobs), None, label_width=4, has_estimate=False) as bar:

        def ended(job: Job, result: Tables | Failure) -> None:
            nonlocal n_ended
            tables = failure(job, result.error) if isinstance(result, Failure) else result
            store.write_run(job.id, tables)
            error = tables["runs"]["failed"][0].as_py()
            if error:
                failed.append(job.id)
                console.print(f"failed: {job.id}: {error}", markup=False, highlight=False, soft_wrap=True)
            n_ended += 1
            bar.note(_estimate(time.time() - started, n_ended, len(jobs), at_a_time))
            bar.advance(1)

        run_jobs(execute_quietly, jobs, ended, n_workers=n_workers, ray=ray, has_fresh_workers=True, preload=_PRELOADED)
    return tuple(failed)


def _estimate(elapsed: float, n_ended: int, total: int, at_a_time: int) -> str:
    """What stands beside the bar: seconds a run of one worker, and the time left at the pace so far."""
    each = elapsed / n_ended
    return f"{each * at_a_time:.1f} s a run, {_clock(each * (total - n_ended))} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
