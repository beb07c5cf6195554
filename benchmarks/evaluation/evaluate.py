"""Plays bidders on the same episodes beside the hindsight reference, in processes or on a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agents.hindsight.best_constant import HindsightBidder
from agents.learning.bars import Count, counted
from agents.parallel import Failure, run_jobs, worker_count
from agents.rollouts import rollout_each
from auction_env.control.bidder import Bidder
from benchmarks.evaluation.episodes import EpisodeSet
from benchmarks.evaluation.metrics import check_metrics, welfare_columns
from benchmarks.evaluation.named import NamedBidder, check_bidders, made_for
from benchmarks.evaluation.result import WELFARE, Evaluation, save
from benchmarks.evaluation.resuming import keeping
from benchmarks.suites.storage.rows import Rows, concatenate, result_rows

SUITE = "evaluate"
"""What the column `suite` of the rows says."""

_MOST_EPISODES = 16  # of a job, which then takes a second: the bar moves, Ctrl-C waits for nobody
_IMPRESSIONS = 160_000  # of a job's episodes


class Job(NamedTuple):
    """Some episodes of one of the sets."""

    number: int
    start: int
    stop: int

    @property
    def file(self) -> str:
        """Name of the file of its rows."""
        return f"{self.number}-{self.start}-{self.stop}.parquet"


class _Work:
    """Plays the episodes of a job; sent once to every worker, which keeps the bidders that it has made."""

    def __init__(
        self,
        bidders: Mapping[str, Bidder | NamedBidder],
        sets: Sequence[EpisodeSet],
        reference: Bidder,
        metrics: Sequence[str],
    ) -> None:
        self._bidders, self._sets, self._reference, self._metrics = dict(bidders), tuple(sets), reference, metrics
        self._made: dict[int, dict[str, Bidder]] = {}

    def __call__(self, job: Job) -> Rows:
        """The rows of the episodes, of all bidders."""
        made, episodes = self.of_set(job.number), self._sets[job.number].part(job.start, job.stop)
        *played, best = rollout_each([*made.values(), self._reference], progress=False, **episodes)
        rows = result_rows(dict(zip(made, played, strict=True)), best, suite=SUITE)
        return rows | welfare_columns(made, episodes) if WELFARE in self._metrics else rows

    def of_set(self, number: int) -> dict[str, Bidder]:
        """The bidders for a set; those that are named are made for its market."""
        if number not in self._made:
            episodes = self._sets[number]
            self._made[number] = made_for(episodes.market, episodes.task, self._bidders)
        return self._made[number]


def evaluate(
    bidders: Mapping[str, Bidder | NamedBidder],
    episodes: EpisodeSet | Sequence[EpisodeSet],
    *,
    against: str | None = None,
    metrics: Sequence[str] = (),
    n_workers: int | None = 1,
    ray: str | None = None,
    out: str | Path | None = None,
    force: bool = False,
    progress: Count | bool | None = None,
) -> Evaluation:
    """Plays all bidders on the same episodes; the reference is the best constant in hindsight of the episodes' market.

    Args:
        bidders: By name in tables: bidders, or `benchmarks.evaluation.named.named_bidder` of a text.
        episodes: Of one task or several: `in_market`, `of_data`, `in_log`.
        against: Name of the bidder that the others are compared with; the first by default.
        metrics: Further tables, of `benchmarks.evaluation.result.METRICS`. The welfare plays every episode again,
            impression by impression.
        n_workers: Processes, each of one thread; None: one a core. With 1 it all happens in this process. Bidders must
            be picklable where there are more.
        ray: Address of a Ray cluster, as `agents.parallel.run_jobs` takes it.
        out: Directory that gets `rows.parquet`, `evaluation.json` and the page; None: nothing is written. Where all
            bidders are named, an evaluation that was stopped or killed goes on where it was.
        force: Whether the finished episodes of another evaluation that was stopped are dropped.
        progress: Told the number of episodes as they are finished, each by all bidders; True shows a bar, False none,
            None a bar after two seconds where somebody types.

    Raises:
        ValueError: No bidder, another `against`, tasks of one name, a bidder that cannot play a task, an unknown
            metric, or welfare where it is not defined: in logs, or with delayed conversions.
        FileExistsError: An evaluation with other arguments was stopped on the way to `out`.
        RuntimeError: A worker failed.
    """
    sets = [episodes] if isinstance(episodes, EpisodeSet) else list(episodes)
    chosen = _check(bidders, sets, against)
    check_metrics(metrics, sets)
    work = _Work(bidders, sets, HindsightBidder(), metrics)
    for number in range(len(sets)):  # before anything is played: a file that is not there, a history that is missing
        work.of_set(number)
    jobs = [job for number, of_task in enumerate(sets) for job in _jobs(number, of_task)]
    n, directory = sum(map(len, sets)), None if out is None else Path(out)
    with counted(progress, "evaluating", n) as tell, keeping(directory, bidders, sets, metrics, force=force) as kept:
        done = {job: rows for job in jobs if (rows := kept.read(job.file)) is not None}
        n_resumed = sum(job.stop - job.start for job in done)
        if tell is not None:
            tell(n_resumed)

        def ended(job: Job, result: Rows | Failure) -> None:
            if isinstance(result, Failure):
                task = sets[job.number].task.name
                raise RuntimeError(f"task {task!r}, episodes {job.start}.. failed: {result.error}")
            kept.write(job.file, result)
            done[job] = result
            if tell is not None:
                tell(job.stop - job.start)

        todo = [job for job in jobs if job not in done]
        if ray is None and worker_count(n_workers) == 1:  # with all threads
            for job in todo:
                ended(job, work(job))
        else:
            # what has been made above, and what makes competitors, may not be picklable
            playable = [replace(of_task, competitors=None) for of_task in sets]
            fresh = _Work(bidders, playable, HindsightBidder(), metrics)
            run_jobs(fresh, todo, ended, n_workers=n_workers, ray=ray, preload=_needed_modules(bidders))
        tasks = [of_task.task.name for of_task in sets]
        rows = _in_order(concatenate([done[job] for job in jobs]), list(bidders), tasks)
        played = tuple(of_task.description for of_task in sets)
        found = Evaluation(
            rows=rows, against=chosen, episodes=played, n_resumed=n_resumed, metrics=tuple(dict.fromkeys(metrics))
        )
        if directory is not None:
            save(found, directory)
    return found


def _check(bidders: Mapping[str, Bidder | NamedBidder], sets: Sequence[EpisodeSet], against: str | None) -> str:
    check_bidders(bidders)
    if not sets:
        raise ValueError("`episodes` must hold those of at least one task, found none")
    names = [of_task.task.name for of_task in sets]
    if len(set(names)) != len(names):
        raise ValueError(f"`episodes` must be of tasks of different names, found {names}")
    chosen = next(iter(bidders)) if against is None else against
    if chosen not in bidders:
        raise ValueError(f"`against` must be one of {list(bidders)}, found {against!r}")
    return chosen


def _needed_modules(bidders: Mapping[str, Bidder | NamedBidder]) -> list[str]:
    """What workers import once for all of them: torch, for trained agents, takes seconds."""
    has_file = any(isinstance(bidder, NamedBidder) and bidder.kind == "file" for bidder in bidders.values())
    return [__name__, *(["torch"] if has_file else [])]


def _jobs(number: int, episodes: EpisodeSet) -> list[Job]:
    size = int(np.clip(_IMPRESSIONS // max(episodes.market.mean_impressions, 1.0), 1, _MOST_EPISODES))
    n = len(episodes)
    return [Job(number, start, min(start + size, n)) for start in range(0, n, size)]


def _in_order(rows: Rows, methods: Sequence[str], tasks: Sequence[str]) -> Rows:
    """Rows by bidder, then by task, as they were given; the episodes of each in order."""
    turn = [np.array([names.index(name) for name in rows[column]]) for column, names in
            (("task", list(tasks)), ("method", list(methods)))]  # fmt: skip
    order = np.lexsort(turn)  # stable: the last key goes first
    return {name: column[order] for name, column in rows.items()}
