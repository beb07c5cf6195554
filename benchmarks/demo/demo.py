"""`vamo demo`: from nothing to a comparison, in a few minutes.

Simulates logs of a majority and a data-scarce task, trains single-task, both naive sharings and VAO on them, tunes
every method on validation episodes, plays all on fresh test episodes against live competitors, and reports.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agents import Episodes
from auction_env import TASKS, MarketParams, auctionnet_population
from auction_env.files import write_atomically
from auction_env.market.params import REFERENCE_IMPRESSIONS
from benchmarks.console import console, progress_bar
from benchmarks.demo import data as demo_data
from benchmarks.demo import experiment
from benchmarks.demo.data import FIRST_TEST_SEED, FIRST_VALIDATION_SEED, DemoSettings, TaskData
from benchmarks.demo.experiment import Arena, EpisodeSet
from benchmarks.demo.report import print_table, report_data, reproduce
from benchmarks.pages.report.report import render_png_summary, write_report
from benchmarks.suites.methods.tuning import Choice
from benchmarks.suites.storage.rows import Rows
from vamo import TrainResult, save


def run(settings: DemoSettings | None = None, *, out: Path, logs: Path | None = None) -> Rows:
    """Runs the demo and writes data, models, rows and report below `out`; returns the result rows.

    Args:
        settings: Sizes.
        out: Directory of the run.
        logs: Train on these logs instead of simulated ones: a trajectory data set, or a directory of
            AuctionNet CSV files, which is imported first.
    """
    settings = settings or DemoSettings()
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    if logs is None:
        task_data, n_impressions = demo_data.simulated(settings, out), settings.n_impressions
    else:
        task_data = demo_data.imported(settings, logs, out)
        n_impressions = _market_size(task_data)
    arena = _arena(settings, n_impressions)
    for name, log in task_data.sources.items():
        console.print(
            f"  {name}: {log.n_episodes:,} trajectories to train on, {task_data.held_out[name].n_episodes} held out"
        )
    trained = _train(settings, task_data, out)
    choices = _tune(trained, arena)
    played = _test(choices, arena)
    rows = experiment.rows_of(played, suite="demo", train_seed=settings.seed)
    print_table(rows)
    _save(out, trained, rows)
    report = report_data(settings, task_data, arena, trained, choices, played, rows, command=reproduce(out, logs))
    write_report(out / "report.html", report)
    render_png_summary(out / "summary.png", report)
    console.print(f"report: [bold]{out / 'report.html'}[/bold] ({time.perf_counter() - started:.0f} s in all)")
    return rows


def _market_size(task_data: TaskData) -> int:
    """The size at which the market's budgets are those of the log, so that features mean the same in both."""
    budgets = np.concatenate([log.budget[log.episode_starts[:-1]] for log in task_data.sources.values()])
    scale = float(budgets.mean() / np.mean(auctionnet_population().budget))
    return max(round(scale * REFERENCE_IMPRESSIONS), 1)


def _arena(settings: DemoSettings, n_impressions: int) -> Arena:
    population = auctionnet_population()
    n = population.n_advertisers
    return Arena(
        params=MarketParams(n_impressions=n_impressions),
        population=population,
        validation=EpisodeSet.draw(settings.n_validation_episodes, first_seed=FIRST_VALIDATION_SEED, n_advertisers=n),
        test=EpisodeSet.draw(settings.n_test_episodes, first_seed=FIRST_TEST_SEED, n_advertisers=n),
    )


def _train(settings: DemoSettings, task_data: TaskData, out: Path) -> dict[str, dict[str, TrainResult]]:
    overrides = (f"train.steps={settings.steps}", f"train.seed={settings.seed}")
    total = experiment.n_train_steps(len(task_data.held_out), overrides)
    with progress_bar(f"training {len(experiment.METHODS)} methods", total, "steps") as bar:
        return experiment.train_methods(task_data.sources, task_data.held_out, overrides, callback=bar.advance)


def _tune(trained: Mapping[str, Mapping[str, TrainResult]], arena: Arena) -> dict[str, dict[str, Choice]]:
    tasks = {name: TASKS[name] for name in next(iter(trained.values()))}
    n_candidates = sum(len(c) for task in tasks.values() for _, c in experiment.candidates(task, trained))
    with progress_bar("choosing on validation episodes", n_candidates * len(arena.validation), "episodes") as bar:
        return {name: experiment.tune(task, trained, arena, bar.advance) for name, task in tasks.items()}


def _test(choices: Mapping[str, Mapping[str, Choice]], arena: Arena) -> dict[str, tuple[dict[str, Episodes], Episodes]]:
    n_plays = sum(len(of_method) + 1 for of_method in choices.values())
    with progress_bar("playing test episodes", n_plays * len(arena.test), "episodes") as bar:
        return {
            name: experiment.test(
                TASKS[name], {label: choice.bidder for label, choice in of_method.items()}, arena, bar.advance
            )
            for name, of_method in choices.items()
        }


def _save(out: Path, trained: Mapping[str, Mapping[str, TrainResult]], rows: Rows) -> None:
    """Writes the models and the result rows."""
    (out / "models").mkdir(exist_ok=True)
    for label, results in trained.items():
        for target, result in results.items():
            name = f"{label}-{target}" if len(set(map(id, results.values()))) > 1 else label
            save(out / "models" / f"{name.replace(' ', '-')}.safetensors", result.bidder)
    table = io.BytesIO()
    pq.write_table(pa.table(rows), table)
    write_atomically(out / "rows.parquet", table.getvalue())
