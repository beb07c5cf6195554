"""The demo's results: a table on the terminal and the data of its report."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rich.table import Table

from agents import Episodes
from benchmarks.console import console
from benchmarks.demo.data import DemoSettings, TaskData
from benchmarks.demo.experiment import Arena
from benchmarks.pages.report.data import Episode, EpisodeTrace, ReportData, TrainingHistory
from benchmarks.statistics.summaries import feasibility, summarise
from benchmarks.suites.methods.tuning import Choice
from benchmarks.suites.storage.rows import Rows
from vamo import TrainResult

METRIC = "score_expected"
HINDSIGHT = "hindsight constant"


def print_table(rows: Rows) -> None:
    """Scores by task with intervals, and the share of the hindsight reference."""
    summaries = {(s.method, s.task): s for s in summarise(rows, METRIC)}
    feasible = {(f.method, f.task): f for f in feasibility(rows) if f.constraint is None}
    methods = list(dict.fromkeys(str(name) for name in rows["method"]))
    tasks = list(dict.fromkeys(str(name) for name in rows["task"]))
    for task in tasks:
        table = Table(title=f"{task}: expected conversions per test episode", title_justify="left")
        table.add_column("method", no_wrap=True)
        for heading in ("mean", "95 % interval", "of hindsight", "feasible"):
            table.add_column(heading, justify="right", no_wrap=True)
        for method in methods:
            mean, share = summaries[method, task].mean, summaries[method, task].share
            table.add_row(
                method,
                f"{mean.value:.2f}",
                f"{mean.low:.2f} .. {mean.high:.2f}",
                f"{share.value:.0%}",
                f"{feasible[method, task].feasible.value:.0%}",
            )
        reference = np.mean(rows["reference"][rows["task"] == task])
        table.add_section()
        table.add_row(HINDSIGHT, f"{reference:.2f}", "", "100%", "")
        console.print(table)
    n = [len(np.unique(rows["seed"][rows["task"] == task])) for task in tasks]
    console.print(f"{n[0]} test episodes a task, the same for all methods; one training seed: a demo, not a finding.")


def report_data(
    settings: DemoSettings,
    task_data: TaskData,
    arena: Arena,
    trained: Mapping[str, Mapping[str, TrainResult]],
    choices: Mapping[str, Mapping[str, Choice]],
    played: Mapping[str, tuple[dict[str, Episodes], Episodes]],
    rows: Rows,
    command: str,
) -> ReportData:
    """Everything that the page shows."""
    return ReportData(
        title="A majority and a data-scarce task",
        intro=_intro(task_data, arena),
        machine=f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}",
        command=command,
        rows=rows,
        baselines=("PID (tuned)", "single-task"),
        parameters=_parameters(settings, task_data, arena, choices),
        versions={name: version(name) for name in ("vamo-bidding", "torch", "numpy", "numba", "gymnasium")},
        episodes=tuple(_episode(task, *played[task]) for task in played),
        histories={label: _history(results) for label, results in trained.items()},
        metric=METRIC,
        score_unit="expected conversions",
        tick_hours=24 / arena.params.n_ticks,
    )


def _intro(task_data: TaskData, arena: Arena) -> tuple[str, ...]:
    sizes = {name: log.n_episodes for name, log in task_data.sources.items()}
    logs = " and ".join(f"{n:,} trajectories of {name}" for name, n in sizes.items())
    return (
        f"Agents were trained on {logs} ({task_data.origin}), chosen on {len(arena.validation)} simulated validation"
        f" episodes, and played {len(arena.test)} test episodes a task, each against 47 live competitors in a market of"
        f" {arena.params.n_impressions:,} impressions.",
        "The score is the task's objective times min(1, limit / realised)² for every constraint, with predicted in"
        " place of sampled conversions. The reference is the best constant multiplier in hindsight, by episode.",
    )


def _parameters(
    settings: DemoSettings,
    task_data: TaskData,
    arena: Arena,
    choices: Mapping[str, Mapping[str, Choice]],
) -> dict[str, str]:
    out = {name: f"{value:,}" for name, value in asdict(settings).items()}
    out["n_impressions"] = f"{arena.params.n_impressions:,}"
    out |= {f"trajectories of {name}": f"{log.n_episodes:,}" for name, log in task_data.sources.items()}
    for task, of_method in choices.items():
        for label, choice in of_method.items():
            out[f"choice of {label} on {task}"] = (
                f"candidate {choice.position + 1} of {len(choice.scores)},"
                f" first in {choice.stability:.0%} of bootstrap resamples"
            )
    return out


def _episode(task: str, episodes: Mapping[str, Episodes], reference: Episodes) -> Episode:
    """The test episode whose reference score is the median: neither a lucky nor an idle day."""
    score = reference.score(expected=True)
    which = int(np.argsort(score)[len(score) // 2])
    traces = {label: _trace(played, which) for label, played in episodes.items()}
    traces[HINDSIGHT] = _trace(reference, which)
    return Episode(
        title=f"{task}: market seed {reference.seed[which]}, advertiser {reference.advertiser[which]}", traces=traces
    )


def _trace(episodes: Episodes, which: int) -> EpisodeTrace:
    ticks = {name: values[:, which] for name, values in episodes.ticks._asdict().items()}
    n = ticks["n_impressions"]
    seen = n > 0
    return EpisodeTrace(
        budget=float(episodes.budget[which]),
        cost=np.cumsum(ticks["cost"]),
        multiplier=ticks["multiplier"],
        impressions=n,
        least_winning_cost=np.where(seen, ticks["least_winning_cost"], np.nan),
        conversions=np.cumsum(ticks["conversions"]),
        win_rate=np.divide(ticks["wins"], n, out=np.full(len(n), np.nan), where=seen),
    )


def _history(results: Mapping[str, TrainResult]) -> TrainingHistory:
    """One history a method; the single-task method's models, one a target, are put side by side."""
    runs = list({id(result): result for result in results.values()}.values())
    first = runs[0]
    steps = np.array([record.step for record in first.history], np.float64)
    losses = np.concatenate([[[*r.validation_loss] for r in run.history] for run in runs], axis=1)
    shared = len(runs) == 1
    aligned = shared and all(record.alignment is not None for record in first.history)
    return TrainingHistory(
        targets=tuple(name for run in runs for name in run.targets),
        sources=first.sources,
        step=steps,
        validation_loss=losses,
        weights=np.array([record.weights for record in first.history]) if shared else None,
        alignments=np.array([record.alignment for record in first.history]) if aligned else None,
    )


def reproduce(out: Path, logs: Path | None) -> str:
    """The command that makes the same run."""
    return "make demo" + (f" LOGS={logs}" if logs else "")
