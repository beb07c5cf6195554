"""Logs, plays and estimates: one row an estimate, beside what the policy scores in truth.

Work is cut into jobs, each a file of rows; a stopped study goes on with the jobs that are missing.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agents import Bidder, FixedBidder, NoisyBidder, PidBidder, RandomMultiplierBidder, collect, rollout
from agents.labels.off_policy.estimate import METHODS, OfflineEvaluation
from agents.parallel import Failure, run_jobs
from agents.rollouts import to_trajectories
from auction_env import auctionnet_population, data
from auction_env.data import TrajectoryData
from auction_env.files import write_atomically
from auction_env.tasks import TASKS
from benchmarks.studies.ope.policies import POLICIES, train
from benchmarks.studies.ope.settings import (
    JOINT,
    JOINT_SEED,
    LATER,
    LATER_DAYS,
    LATER_SEED,
    POOL_SEED,
    SAME,
    SCENARIOS,
    TASK,
    TRAIN_DAYS,
    OpeSettings,
    Scenario,
)

Int = NDArray[np.int64]

REPEATED = ("direct", "doubly_robust")
"""Methods that estimate from every log that is drawn."""

_TRAINED, _LOGS = "policies", "logs"
_LOGGING: dict[str, Callable[[], Bidder]] = {
    "random": lambda: NoisyBidder(RandomMultiplierBidder(), level_sd=0.0, tick_sd=0.2),
    "noisy": lambda: NoisyBidder(PidBidder()),
    "deterministic": PidBidder,
    "constant": lambda: FixedBidder(1.0),
}


class Job(NamedTuple):
    """A part of the study.

    Attributes:
        kind: "train", "log", "truth" or "estimate".
        what: A log, or where a policy is played; empty for "train".
        policy: Of "truth" and "estimate".
    """

    kind: str
    what: str = ""
    policy: str = ""

    @property
    def file(self) -> str:
        """Name of its rows."""
        return "-".join(self).replace(" ", "_") + ".parquet"


def first_jobs() -> list[Job]:
    """What the others need."""
    return [Job("train"), *(Job("log", name) for name in _logs())]


def jobs() -> list[Job]:
    """What makes rows."""
    truths = [Job("truth", where, policy) for where in (SAME, LATER, JOINT) for policy in POLICIES]
    return truths + [Job("estimate", log, policy) for log in _logs() for policy in POLICIES]


def _logs() -> dict[str, Scenario]:
    """The distinct logs by name: scenarios that differ in where the policy is played share one."""
    return {_log_of(scenario): scenario for scenario in SCENARIOS}


def _log_of(scenario: Scenario) -> str:
    return f"{scenario.logs} early" if scenario.is_early else scenario.logs


def measure(
    settings: OpeSettings,
    folder: Path,
    *,
    n_workers: int | None = 1,
    progress: Callable[[float], None] = lambda n: None,
) -> pa.Table:
    """Does what is missing in the folder; returns the rows of all estimates.

    Args:
        settings: Sizes.
        folder: Of finished parts.
        n_workers: Jobs at a time.
        progress: Called with 1 for each job, finished ones included.

    Raises:
        ChildProcessError: A job failed in a worker.
    """

    def ended(job: Job, result: int | Failure) -> None:
        if isinstance(result, Failure):
            raise ChildProcessError(f"{job.kind} {job.what} {job.policy} failed: {result.error}")
        progress(1)

    for part in (first_jobs(), jobs()):
        missing = [job for job in part if not (folder / job.file).is_file()]
        progress(len(part) - len(missing))
        run_jobs(partial(_work, settings, folder), missing, ended, n_workers=n_workers)
    return _joined(folder)


def _work(settings: OpeSettings, folder: Path, job: Job) -> int:
    """Does a job and writes its file; the number of its rows."""
    rows: list[dict[str, object]] = []
    if job.kind == "train":
        train(settings, folder / _TRAINED)
    elif job.kind == "log":
        _log(settings, _logs()[job.what], folder / _LOGS / job.what)
    elif job.kind == "truth":
        rows = [_truth(settings, job, POLICIES[job.policy](settings, folder / _TRAINED))]
    else:
        bidder = POLICIES[job.policy](settings, folder / _TRAINED)
        rows = _estimates(settings, job, bidder, data.load(folder / _LOGS / job.what))
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    write_atomically(folder / job.file, buffer.getvalue())
    return len(rows)


def _pool(settings: OpeSettings, first_seed: int, days: Sequence[int]) -> tuple[Int, Int, Int | None]:
    """Seeds, advertisers and days of as many episodes as the pool has; advertisers take turns, and then days."""
    number = np.arange(settings.n_pool)
    n = auctionnet_population().n_advertisers
    of_day = np.asarray(days, np.int64)[(number + number // n) % len(days)] if days else None
    return first_seed + number, number % n, of_day


def _log(settings: OpeSettings, scenario: Scenario, path: Path) -> None:
    seeds, advertisers, days = _pool(settings, POOL_SEED, TRAIN_DAYS if scenario.is_early else ())
    params = settings.params(has_drift=scenario.is_early)
    bidder = _LOGGING[scenario.logs]()
    played = rollout(
        bidder, seeds=seeds, advertisers=advertisers, days=days, task=TASKS[TASK], params=params, progress=False
    )
    data.write(path, to_trajectories(played, period=np.arange(settings.n_pool), policy=scenario.logs), force=True)


def _truth(settings: OpeSettings, job: Job, bidder: Bidder) -> dict[str, object]:
    task = TASKS[TASK]
    if job.what == JOINT:
        seeds = JOINT_SEED + np.arange(settings.n_joint)
        logs = list(collect(bidder, seeds=seeds, task=task, params=settings.params(), progress=False))
        targets = [log.targets.at(log.episode_starts[:-1]) for log in logs]
        parts = zip(logs, targets, strict=True)
        scores = np.concatenate([task.score(log.totals(), of_log, expected=True) for log, of_log in parts])
    else:
        first, days = (LATER_SEED, LATER_DAYS) if job.what == LATER else (POOL_SEED, ())
        seeds, advertisers, of_day = _pool(settings, first, days)
        params = settings.params(has_drift=job.what == LATER)
        played = rollout(
            bidder, seeds=seeds, advertisers=advertisers, days=of_day, task=task, params=params, progress=False
        )
        scores = played.score(expected=True)
    return {"truth": job.what, "policy": job.policy, "live": float(scores.mean()), "n_live": len(scores)}


def _estimates(settings: OpeSettings, job: Job, bidder: Bidder, pool: TrajectoryData) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for n in settings.n_logs:
        for draw in range(settings.n_draws):
            log = OfflineEvaluation(pool.select(drawn(pool, n, draw)))
            for method in METHODS:
                if draw and method not in REPEATED:
                    continue
                found = log.estimate(bidder, method=method, seed=draw)
                rows.append(
                    {
                        "log": job.what, "policy": job.policy, "n_logs": n, "draw": draw, "method": method,
                        "estimate": found.score, "low": found.low, "high": found.high,
                        "effective_n": found.effective_n, "logged": found.logged_score,
                    }
                )  # fmt: skip
    return rows


def drawn(pool: TrajectoryData, n: int, draw: int) -> Int:
    """The episodes of a log of n: whole rounds of the advertisers, then some of them; the same for all policies."""
    rng = np.random.default_rng([n, draw])
    advertiser = pool.advertiser[pool.episode_starts[:-1]]
    of_each = [rng.permutation(np.flatnonzero(advertiser == one)) for one in np.unique(advertiser)]
    rounds = -(-n // len(of_each))
    order = np.concatenate([[own[turn] for own in map(of_each.__getitem__, rng.permutation(len(of_each)))]
                            for turn in range(rounds)])  # fmt: skip
    return np.sort(order[:n]).astype(np.int64)


def _joined(folder: Path) -> pa.Table:
    """A row an estimate and scenario, with what the policy scores in truth."""
    done = [(job, pq.read_table(folder / job.file).to_pylist()) for job in jobs()]
    live = {(row["truth"], row["policy"]): row for job, rows in done if job.kind == "truth" for row in rows}
    found = []
    for scenario in SCENARIOS:
        for job, rows in done:
            if job.kind == "estimate" and job.what == _log_of(scenario):
                for row in rows:
                    truth = live[scenario.truth, row["policy"]]
                    own = {"scenario": scenario.name, "live": truth["live"], "n_live": truth["n_live"]}
                    found.append({**own, **{key: value for key, value in row.items() if key != "log"}})
    return pa.Table.from_pylist(found)
