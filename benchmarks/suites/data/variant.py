"""The world of a variant: logs to learn from, tasks to tune for, test episodes; made once and shared by its runs."""

from __future__ import annotations

import copy
import fcntl
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agents import Bidder, Episodes, HindsightBidder, make, rollout
from agents.rollout import Progress
from auction_env import TASKS, MarketParams, Population, Task
from auction_env.data import TrajectoryData
from auction_env.files import write_atomically
from benchmarks.suites.spec import Data, FamilyData, LogsData, Suite, Variant, digest

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Logs = Mapping[str, TrajectoryData]

RULES = ("pid", "mpid", "dual", "mpc")
"""Agents of the registry, with their defaults, that take turns as competitors under the condition "rules"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Games:
    """Episodes of one task in one market: (n,) seeds, advertisers and, where they matter, days."""

    task: Task
    params: MarketParams
    population: Population
    seeds: Int
    advertisers: Int
    days: Int | None = None
    competitors: Literal["scripts", "mixed", "rules", "self"] = "scripts"

    def head(self, n: int) -> Games:
        """The first n episodes."""
        days = None if self.days is None else self.days[:n]
        return replace(self, seeds=self.seeds[:n], advertisers=self.advertisers[:n], days=days)

    def rivals(self, bidder: Bidder) -> dict[int, Bidder] | None:
        """Who sits for all other advertisers, by advertiser; None where all follow their scripts."""
        n = self.population.n_advertisers
        if self.competitors == "rules":
            made = [make(name) for name in RULES]
            return {j: made[j % len(made)] for j in range(n)}
        if self.competitors == "self":
            rival = copy.deepcopy(bidder)  # shared by all other seats, in which it is its own bidder
            return dict.fromkeys(range(n), rival)
        return None

    @property
    def rivals_task(self) -> Task:
        """What the other bidders pursue: copies of the tested agent its task, rules a target CPA."""
        return self.task if self.competitors == "self" else TASKS["TargetCPA"]

    def play(self, bidder: Bidder, progress: Progress | None = None) -> Episodes:
        """Plays all episodes."""
        return rollout(
            bidder,
            seeds=self.seeds,
            advertisers=self.advertisers,
            task=self.task,
            params=self.params,
            population=self.population,
            days=self.days,
            competitors=self.rivals(bidder),
            competitor_task=self.rivals_task,
            progress=progress,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the methods of a variant meet.

    Attributes:
        targets: Validation episodes to tune on, by name of the task.
        tests: Test episodes by name in the rows: a task, or a task under a condition.
        target_of: Test -> the target whose bidder plays it.
        load: Reads training and validation trajectories by task; all of them are targets of a training.
        n_train, n_validation: Trajectories by task.
    """

    targets: dict[str, Games]
    tests: dict[str, Games]
    target_of: dict[str, str]
    load: Callable[[], tuple[Logs, Logs]]
    n_train: dict[str, int]
    n_validation: dict[str, int]


def open_world(variant: Variant, suite: Suite, cache: Path) -> World:
    """The world of a variant, whose logs are made below `cache` where they are not there yet."""
    data = variant.data
    folder = cache / log_key(data)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        return _make(data, suite, folder)


def _make(data: Data, suite: Suite, folder: Path) -> World:
    # imported here: each knows this module
    from benchmarks.suites.data import family as family_world
    from benchmarks.suites.data import logs as logs_world
    from benchmarks.suites.data import market as market_world

    if isinstance(data, LogsData):
        return logs_world.make(data, suite)
    if isinstance(data, FamilyData):
        return family_world.make(data, suite, folder / "logs")
    return market_world.make(data, suite, folder / "logs")


def log_key(data: Data) -> str:
    """Name of the folder of the logs: equal for variants that share them."""
    record = asdict(data)
    kind = type(data).__name__.removesuffix("Data").lower()
    for name in {"family": ("n_validation", "n_scored"), "market": ("conditions",)}.get(kind, ()):
        del record[name]
    return f"{kind}-{digest(record)[:12]}"


def references(world: World, cache: Path) -> dict[str, Float]:
    """Expected score of the best constant multiplier in hindsight in every test episode, by test.

    The competitors are those of the scripts, also where others sit in a test's seats: the same number for every
    method, and a unit rather than a bound there.
    """
    return {name: _reference(games, cache) for name, games in world.tests.items()}


def _reference(games: Games, cache: Path) -> Float:
    games = replace(games, competitors="scripts" if games.competitors in ("rules", "self") else games.competitors)
    description = {
        "task": games.task.to_json(),
        "params": asdict(games.params),
        "population": games.population.to_json(),
        "seeds": games.seeds.tolist(),
        "advertisers": games.advertisers.tolist(),
        "days": None if games.days is None else games.days.tolist(),
    }
    folder = cache / "references"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{digest(description)[:16]}.parquet"
    with locked(folder):
        if not path.exists():
            best = HindsightBidder(games.task, params=games.params, population=games.population, expected=True)
            sink = io.BytesIO()
            pq.write_table(pa.table({"score": games.play(best).score(expected=True)}), sink)
            write_atomically(path, sink.getbuffer())
    scores: Float = pq.read_table(path)["score"].to_numpy()
    if scores.shape != games.seeds.shape:
        raise ValueError(f"{path} must hold {len(games.seeds)} scores, found {len(scores)}: delete it")
    return scores


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time, on one machine; the lock ends with the process."""
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
