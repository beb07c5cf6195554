"""What more processes bring: collection, evaluation and suites with several workers, and with a local Ray of four."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agents import Collection, PidBidder, collect_data_set, rollout
from agents.parallel import Failure, run_jobs
from auction_env import TASKS, Funnel, MarketParams
from benchmarks.speed.measure import Measurement, Row, seconds_of
from benchmarks.speed.usage import watching
from benchmarks.suites.catalogue import get_suite
from benchmarks.suites.running.suite import run_suite

N_RAY = 4
"""Workers of the local Ray cluster."""
N_IMPRESSIONS, N_DAYS, N_JOBS = 4_800, 480, 480
"""Of the collected log, and of what is evaluated: most of a minute of one core each."""

Work = Callable[[int, str | None], object]


class Timed(NamedTuple):
    """How long a piece of work took.

    Attributes:
        seconds: On the clock.
        processor: Seconds of all its processes.
        others: Share of the machine that other work took meanwhile.
    """

    seconds: float
    processor: float
    others: float


def speedup_rows(what: str, work: Work, quick: bool) -> Iterator[Row]:
    """Speed-ups over one worker, with a process a core and with a local Ray."""
    n_cores = len(os.sched_getaffinity(0))
    kinds: list[tuple[str, int, str | None]] = [(f"{n_cores}_processes", n_cores, None)]
    if importlib.util.find_spec("ray") is not None:
        kinds.append((f"ray_{N_RAY}", N_RAY, "local"))
    work(n_cores, None)  # not counted: it may compile
    alone = timed(work, 1, None)
    for name, n_workers, ray in kinds:
        yield speedup_row(f"{what}_{name}", alone, timed(work, n_workers, ray), n_workers, n_cores)


def timed(work: Work, n_workers: int, ray: str | None) -> Timed:
    """Does the work with so many workers of one thread, their start included."""
    with watching(has_workers=True) as used:
        seconds = seconds_of(partial(work, n_workers, ray))
    return Timed(seconds, used.seconds, used.share)


def speedup_row(name: str, alone: Timed, together: Timed, n_workers: int, n_cores: int) -> Row:
    """The speed-up of n workers; other work on the machine lowers its bound, not that of one worker."""
    free = max(n_cores * (1.0 - together.others), 1.0)
    return Row(
        name=f"{name}_speedup",
        value=alone.seconds / together.seconds,
        unit="x",
        reference=f"one worker: {alone.seconds:.1f} s, {alone.processor:.1f} s of processor time; {n_workers} of one"
        f" thread, their start included: {together.seconds:.1f} s, {together.processor:.1f} s of processor time",
        bound=f"{min(n_workers, free):.2g}x: {n_cores} cores, of which other work took {together.others:.0%}",
        bound_value=min(n_workers, free),
        more_is_better=True,
    )


def _collect(n_workers: int, ray: str | None) -> None:
    params = MarketParams(n_impressions=N_IMPRESSIONS, funnel=Funnel())
    collection = Collection(task=TASKS["MaxConversions"], n_episodes=N_DAYS, control="all", params=params)
    with tempfile.TemporaryDirectory() as folder:
        collect_data_set(collection, Path(folder, "log"), n_workers=n_workers, ray=ray)


def _evaluate(n_workers: int, ray: str | None) -> None:
    def ended(job: int, score: float | Failure) -> None:
        if isinstance(score, Failure):
            raise RuntimeError(f"an evaluation must be played to its end, found {score.error}")

    run_jobs(_play, range(N_JOBS), ended, n_workers=n_workers, ray=ray)


def _play(job: int) -> float:
    """The mean score of 48 episodes."""
    seeds, advertisers = np.arange(48) + 48 * job, np.arange(48)
    params, task = MarketParams(n_impressions=N_IMPRESSIONS), TASKS["TargetCPA"]
    played = rollout(PidBidder(), seeds=seeds, advertisers=advertisers, task=task, params=params, progress=False)
    return float(played.score().mean())


def _suite(n_workers: int, ray: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run_suite(get_suite("demo/v2", "testing"), Path(folder), n_workers=n_workers, ray=ray)


MEASUREMENTS = tuple(
    Measurement(what=what, rows=partial(speedup_rows, what, work), is_quick=False, has_workers=True)
    for what, work in (("collect", _collect), ("evaluate", _evaluate), ("suite", _suite))
)
