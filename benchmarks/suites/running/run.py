"""Executes one run: data, method, test episodes, tables. A pure function of the run, but for times and memory."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from agents.parallel import one_line, one_thread
from benchmarks.suites.data.opening import open_variant
from benchmarks.suites.data.references import references
from benchmarks.suites.methods.fitting import Fitted, Setting
from benchmarks.suites.methods.methods import method_of
from benchmarks.suites.running import identity, provenance
from benchmarks.suites.running.recording import episodes_table, losses_table, rows_table, weights_table
from benchmarks.suites.running.timing import Timed
from benchmarks.suites.spec import Run
from benchmarks.suites.storage.store import RUNS

Tables = dict[str, pa.Table]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A run and where the data of its variant are kept; what is sent to a worker.

    Attributes:
        run: What to do.
        cache: Folder of the logs; they are made where it does not hold them.
        commit: Of the code that asked for it.
        device: Where `vamo.train` trains and its agents decide; its sums differ between devices by rounding.
    """

    run: Run
    cache: str
    commit: str
    device: str = "cpu"

    @property
    def id(self) -> str:
        return self.run.id

    def __str__(self) -> str:
        return self.id


def execute(job: Job) -> Tables:
    """The tables of a run by name; of a failed one the table `runs` alone, with the error."""
    with one_thread(has_torch=job.run.arm.method != "rule"):
        record = _blank(job)
        try:
            fitted, tables, play_seconds, decision = _run(job)
        except Exception as error:  # a run's failure is a result: the others go on
            record["failed"] = one_line(error)
            return {"runs": _runs_table(record)}
        record |= {
            "train_seconds": fitted.train_seconds,
            "tune_seconds": fitted.tune_seconds,
            "play_seconds": play_seconds,
            "step_milliseconds": 1e3 * fitted.step_seconds,
            "decision_milliseconds": 1e3 * decision,
            "peak_memory_mb": provenance.peak_memory_mb(),
            "n_steps": fitted.n_steps,
            "chosen": json.dumps(fitted.chosen, sort_keys=True),
            "validation_loss": _last_loss(fitted),
        }
        return {**tables, "runs": _runs_table(record)}


def execute_quietly(job: Job) -> Tables:
    """`execute` for a worker, where signs of trouble in a training are not those of the suite."""
    logging.getLogger("vamo").setLevel(logging.ERROR)
    return execute(job)


def failure(job: Job, error: str) -> Tables:
    """The tables of a run whose process did not live to tell."""
    return {"runs": _runs_table(_blank(job) | {"failed": error})}


def _run(job: Job) -> tuple[Fitted, Tables, float, float]:
    """Fitted method, tables, seconds of the test episodes, mean seconds of a decision."""
    run, cache = job.run, Path(job.cache)
    suite = run.suite
    method = method_of(run.arm)
    data = open_variant(run.variant, suite, cache)
    setting = Setting(
        data=data,
        settings=run.arm.settings,
        training=suite.training,
        train_seed=run.train_seed,
        n_candidates=suite.n_candidates,
        learns_from=run.arm.logs,
        device=job.device,
    )
    fitted = method.fit(setting)
    reference = references(data, cache)
    started, rows, decisions = time.perf_counter(), [], []
    for test, episodes in data.tests.items():
        timed = Timed(fitted.bidders[data.target_of[test]])
        rows.append(rows_table(run, test, episodes.play(timed), reference[test]))
        decisions += timed.seconds
    play_seconds = time.perf_counter() - started
    tables = {"rows": pa.concat_tables(rows)}
    if run.n_viewed:
        bidders = {test: fitted.bidders[data.target_of[test]] for test in data.tests}
        parts = [episodes_table(run, test, bidders[test], episodes) for test, episodes in data.tests.items()]
        tables["episodes"] = pa.concat_tables(parts)
    if fitted.curves:
        tables["losses"] = losses_table(run.id, fitted.curves)
        tables["weights"] = weights_table(run.id, fitted.curves)
    return fitted, tables, play_seconds, float(np.mean(decisions))


def _last_loss(fitted: Fitted) -> float:
    losses = [loss for curve in fitted.curves for loss in curve.records[-1].validation_loss]
    return float(np.mean(losses)) if losses else float("nan")


def _blank(job: Job) -> dict[str, Any]:
    run, nothing = job.run, float("nan")
    return {
        **identity.columns(run),
        "commit": job.commit,
        "machine": provenance.machine(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **dict.fromkeys(("train_seconds", "tune_seconds", "play_seconds", "step_milliseconds"), nothing),
        **dict.fromkeys(("decision_milliseconds", "peak_memory_mb", "validation_loss"), nothing),
        "n_steps": 0,
        "chosen": "{}",
        "failed": "",
    }


def _runs_table(record: dict[str, Any]) -> pa.Table:
    return pa.table({name: [record[name]] for name in RUNS.names}, schema=RUNS)
