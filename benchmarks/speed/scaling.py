"""What more processes bring: collection, evaluation and suites with several workers, and with a local Ray of four."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from agents import Collection, PidBidder, collect_data_set, rollout
from agents.parallel import Failure, run_jobs
from auction_env import TASKS, Funnel, MarketParams
from benchmarks.speed.measure import Row, seconds_of
from benchmarks.suites.catalogue import get_suite
from benchmarks.suites.running.suite import run_suite

N_RAY = 4
"""Workers of the local Ray cluster."""
N_IMPRESSIONS, N_EPISODES = 4_800, 30 * 48
"""Of the collected log, and of what is evaluated."""


def scaling_rows(quick: bool) -> Iterator[Row]:
    """Speed-ups over one worker; none with `quick`, because starting workers would be what is measured."""
    if quick:
        return
    n_cores = len(os.sched_getaffinity(0))
    kinds: list[tuple[str, int, str | None]] = [(f"{n_cores}_processes", n_cores, None)]
    if importlib.util.find_spec("ray") is not None:
        kinds.append((f"ray_{N_RAY}", N_RAY, "local"))
    for what, work in (("collect", _collect), ("evaluate", _evaluate), ("suite", _suite)):
        alone = seconds_of(partial(work, 1, None))
        for name, n_workers, ray in kinds:
            yield scaling_row(f"{what}_{name}", work, alone, n_workers, ray, n_cores)


def scaling_row(
    name: str,
    work: Callable[[int, str | None], object],
    alone: float,
    n_workers: int,
    ray: str | None,
    n_cores: int,
) -> Row:
    """The speed-up of work with workers of one thread each, their start included."""
    speedup = alone / seconds_of(partial(work, n_workers, ray))
    return Row(
        name=f"{name}_speedup",
        value=speedup,
        unit="x",
        reference=f"one worker: {alone:.1f} s; {n_workers} workers of one thread{', on a local Ray' if ray else ''},"
        " their start included",
        bound=f"{min(n_workers, n_cores)}x: {n_cores} cores",
        bound_value=float(min(n_workers, n_cores)),
        more_is_better=True,
    )


def _collect(n_workers: int, ray: str | None) -> None:
    params = MarketParams(n_impressions=N_IMPRESSIONS, funnel=Funnel())
    collection = Collection(task=TASKS["MaxConversions"], n_episodes=N_EPISODES // 48, control="all", params=params)
    with tempfile.TemporaryDirectory() as folder:
        collect_data_set(collection, Path(folder, "log"), n_workers=n_workers, ray=ray)


def _evaluate(n_workers: int, ray: str | None) -> None:
    def ended(job: int, score: float | Failure) -> None:
        if isinstance(score, Failure):
            raise RuntimeError(f"an evaluation must be played to its end, found {score.error}")

    run_jobs(_play, range(N_EPISODES // 48), ended, n_workers=n_workers, ray=ray)


def _play(job: int) -> float:
    """The mean score of 48 episodes."""
    seeds, advertisers = np.arange(48) + 48 * job, np.arange(48)
    params, task = MarketParams(n_impressions=N_IMPRESSIONS), TASKS["TargetCPA"]
    played = rollout(PidBidder(), seeds=seeds, advertisers=advertisers, task=task, params=params, progress=False)
    return float(played.score().mean())


def _suite(n_workers: int, ray: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run_suite(get_suite("demo/v1", "testing"), Path(folder), n_workers=n_workers, ray=ray)
