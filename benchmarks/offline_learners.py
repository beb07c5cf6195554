"""The offline learners against tuned rules, on logs of two sizes.

    python -m benchmarks.offline_learners --out runs/offline_learners

Every learner is trained with its packaged settings on the same logs ("mixed" logging policies) and plays the same fresh
episodes as the PID and the online LP, both tuned as in `benchmarks.rules`. What is there is not trained again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from agents import Bidder, Collection, Episodes, HindsightBidder, collect_data_set, record_prices, rollout
from agents.bidder import Campaigns, TickView
from agents.offline import ALGORITHMS, load, read_settings, save, train
from auction_env import MarketParams, auctionnet_population, get_task
from auction_env.data import load as load_data
from auction_env.files import write_atomically
from benchmarks.console import console
from benchmarks.rules import HISTORY_SEED, TEST_SEED, VALIDATION_SEED, share_table
from benchmarks.runner import Rows, concatenate, result_rows
from benchmarks.statistics import summarise
from benchmarks.tuning import read_spaces, tune

TASKS = ("MaxConversions", "TargetCPA")
RULES = ("pid", "online-lp")


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSettings:
    """Sizes of the comparison."""

    n_impressions: int = 4_800  # of an episode
    n_trajectories: tuple[int, ...] = (24, 1_000)  # of a log
    n_seeds: int = 3  # trainings of each learner on each log
    n_candidates: int = 9  # of each rule
    n_validation: int = 48
    n_test: int = 96
    n_history: int = 4
    steps: int | None = None  # gradient steps; None: the packaged ones


class Timed:
    """A bidder whose decisions are timed."""

    def __init__(self, bidder: Bidder) -> None:
        self.name, self._bidder = bidder.name, bidder
        self.seconds: list[float] = []

    def reset(self, campaigns: Campaigns) -> None:
        self._bidder.reset(campaigns)

    def act(self, view: TickView) -> Any:
        started = time.perf_counter()
        multipliers = self._bidder.act(view)
        self.seconds.append(time.perf_counter() - started)
        return multipliers


class Comparison:
    """One task: its market, its episodes and what was played."""

    def __init__(self, task_name: str, settings: LearnerSettings, out: Path) -> None:
        self._settings, self._out = settings, out
        self._task, self._population = get_task(task_name), auctionnet_population()
        self._params = MarketParams.for_task(self._task, n_impressions=settings.n_impressions)
        best = HindsightBidder(self._task, params=self._params, expected=True)
        self._reference = self._play(best)
        self.notes: list[dict[str, Any]] = []

    def rules(self) -> Rows:
        """Rows of the tuned rules."""
        s, n = self._settings, self._settings.n_validation
        seeds = HISTORY_SEED + np.arange(s.n_history)
        history = record_prices(self._params, self._population, seeds, task=self._task)
        played = {}
        for agent in RULES:
            bidder, _ = tune(
                agent,
                read_spaces()[agent],
                n_candidates=s.n_candidates,
                seed=0,
                task=self._task,
                params=self._params,
                fixed={"history": history} if agent == "online-lp" else None,
                seeds=VALIDATION_SEED + np.arange(n),
                advertisers=np.arange(n) % self._population.n_advertisers,
            )
            played[agent] = self._play(bidder)
        return result_rows(played, self._reference, suite="offline")

    def learner(self, algo: str, n: int, seed: int) -> Rows:
        """Rows of one training, which is taken from its checkpoint if it is there."""
        name = f"{algo}-{n}"
        path = self._out / f"{self._task.name}-{name}-{seed}.safetensors"
        note = path.with_suffix(".json")
        if not note.exists():
            changes = [] if self._settings.steps is None else [f"steps={self._settings.steps}"]
            if algo == "mopo" and self._settings.steps is not None:
                changes.append(f"model_steps={max(1, self._settings.steps // 4)}")
            started = time.process_time()
            bidder = train(algo, self._log(n), self._task, settings=read_settings(algo, None, changes), seed=seed)
            seconds = time.process_time() - started
            save(path, bidder)
            write_atomically(note, json.dumps({"method": name, "train_seconds": seconds}).encode())
        timed = Timed(load(path))
        played = self._play(timed)
        record = json.loads(note.read_text(encoding="utf-8"))
        self.notes.append({**record, "task": self._task.name, "latency_ms": 1e3 * float(np.median(timed.seconds))})
        return result_rows({name: played}, self._reference, suite="offline", train_seed=seed)

    def _log(self, n: int) -> Any:
        path = self._out / f"log-{self._task.name}-{n}"
        if not path.exists():
            n_episodes = -(-n // self._population.n_advertisers)
            collect_data_set(
                Collection(
                    task=self._task,
                    n_episodes=n_episodes,
                    n_trajectories=n,
                    params=self._params,
                    population=self._population,
                ),
                path,
            )
        return load_data(path)

    def _play(self, bidder: Bidder) -> Episodes:
        n = self._settings.n_test
        return rollout(
            bidder,
            seeds=TEST_SEED + np.arange(n),
            advertisers=np.arange(n) % self._population.n_advertisers,
            task=self._task,
            params=self._params,
        )


def run(
    out: Path,
    settings: LearnerSettings | None = None,
    tasks: Sequence[str] = TASKS,
    algos: Sequence[str] = ALGORITHMS,
) -> None:
    """Trains, plays and prints both tables."""
    settings = settings or LearnerSettings()
    out.mkdir(parents=True, exist_ok=True)
    parts, notes = [], []
    for task in tasks:
        comparison = Comparison(task, settings, out)
        parts.append(comparison.rules())
        for algo in algos:
            for n in settings.n_trajectories:
                parts += [comparison.learner(algo, n, seed) for seed in range(settings.n_seeds)]
        notes += comparison.notes
        console.print(f"{task}: done")
    console.print(share_table(summarise(concatenate(parts), metric="score_expected"), tasks))
    table = Table("learner and trajectories", "training, CPU s", "a tick's decisions, ms", title="cost")
    for method in dict.fromkeys(note["method"] for note in notes):
        own = [note for note in notes if note["method"] == method]
        means = [f"{np.mean([note[key] for note in own]):.2f}" for key in ("train_seconds", "latency_ms")]
        table.add_row(method, *means)
    console.print(table)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the comparison from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offline_learners")
    parser.add_argument("--out", type=Path, default=Path("runs/offline_learners"), metavar="DIR")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--algos", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS))
    parser.add_argument("--trajectories", nargs="+", type=int, metavar="N", help="sizes of the logs")
    parser.add_argument("--seeds", type=int, help="trainings of each learner")
    parser.add_argument("--steps", type=int, help="gradient steps; default: the packaged ones")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, nothing more")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    settings = LearnerSettings()
    if arguments.quick:
        settings = LearnerSettings(
            n_impressions=480, n_trajectories=(8,), n_seeds=1, n_candidates=2, n_validation=4, n_test=4, n_history=1,
            steps=20,
        )  # fmt: skip
    if arguments.trajectories is not None:
        settings = replace(settings, n_trajectories=tuple(arguments.trajectories))
    if arguments.seeds is not None:
        settings = replace(settings, n_seeds=arguments.seeds)
    if arguments.steps is not None:
        settings = replace(settings, steps=arguments.steps)
    run(arguments.out, settings, arguments.tasks, arguments.algos)


if __name__ == "__main__":
    main()
