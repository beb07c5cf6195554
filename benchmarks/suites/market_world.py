"""The world of registered tasks in the standard market, with or without drifting days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents import collect
from agents.logging_policies import make_policy, parse_shares
from auction_env import TASKS, MarketParams, Population, auctionnet_population, data
from auction_env.data import TrajectoryData
from auction_env.data.manifest import MANIFEST
from auction_env.funnel import Funnel
from auction_env.params import TrafficParams
from auction_env.population import FIXED, PID, PID_CPA, WALK
from benchmarks.suites.spec import Condition, MarketData, Seeds, Suite
from benchmarks.suites.worlds import Games, Logs, World

Int = NDArray[np.int64]

TRAIN, VALIDATION = "train", "validation"
_APART = 2**20  # market seeds between the logs of two parts


def make(setting: MarketData, suite: Suite, logs: Path) -> World:
    """Collects the logs where they are not there yet."""
    counts = {TRAIN: dict(zip(setting.tasks, setting.n_train, strict=True))}
    counts[VALIDATION] = dict.fromkeys(setting.tasks, setting.n_validation)
    for turn, (part, of_task) in enumerate(counts.items()):
        for position, (task, n) in enumerate(of_task.items()):
            first = setting.log_seed + (2 * position + turn) * _APART
            _collect(setting, task, n, first, setting.train_days if part == TRAIN else setting.validation_days,
                     logs / part / task)  # fmt: skip

    def load() -> tuple[Logs, Logs]:
        parts = {part: {name: data.load(logs / part / name) for name in setting.tasks} for part in counts}
        return parts[TRAIN], parts[VALIDATION]

    targets = {
        name: _games(setting, name, suite.validation, Condition(days=setting.validation_days)) for name in setting.tasks
    }
    tests, target_of = {}, {}
    for condition in setting.conditions:
        for name in setting.tasks:
            label = f"{name}, {condition.name}" if condition.name else name
            tests[label], target_of[label] = _games(setting, name, suite.test, condition), name
    return World(
        targets=targets,
        tests=tests,
        target_of=target_of,
        load=load,
        n_train=counts[TRAIN],
        n_validation=counts[VALIDATION],
    )


def _params(setting: MarketData) -> MarketParams:
    traffic = TrafficParams(n_days=setting.n_days, drift=setting.drift)
    return MarketParams(n_impressions=setting.n_impressions, funnel=Funnel(), traffic=traffic)


def _games(setting: MarketData, task: str, seeds: Seeds, condition: Condition) -> Games:
    population = auctionnet_population()
    drawn, advertisers = seeds.draw(np.arange(population.n_advertisers))
    return Games(
        task=TASKS[task],
        params=_params(setting),
        population=mixed_population() if condition.competitors == "mixed" else population,
        seeds=drawn,
        advertisers=advertisers,
        days=_days(condition.days, len(drawn)),
        competitors=condition.competitors,
    )


def mixed_population() -> Population:
    """The same advertisers with other scripts: half still guard their costs, the others pace, walk or stand still."""
    base = auctionnet_population()
    turns = (PID_CPA, PID, PID_CPA, WALK, PID_CPA, FIXED)
    return replace(base, behaviour=tuple(turns[j % len(turns)] for j in range(base.n_advertisers)))


def _days(days: tuple[int, ...], n: int) -> Int | None:
    return np.asarray(days, np.int64)[np.arange(n) % len(days)] if days else None


def _collect(setting: MarketData, task: str, n: int, first_seed: int, days: tuple[int, ...], path: Path) -> None:
    """Logs n trajectories, the same number of every day as far as it goes; nothing where that has been done."""
    if (path / MANIFEST).is_file():
        return
    population, params = auctionnet_population(), _params(setting)
    n_episodes = max(-(-n // population.n_advertisers), len(days))
    policy = make_policy(parse_shares(setting.policy), TASKS[task], params, population)
    episodes = collect(
        policy,
        seeds=first_seed + np.arange(n_episodes),
        task=TASKS[task],
        params=params,
        population=population,
        days=_days(days, n_episodes),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    data.write(path, _first(episodes, _shares(n, n_episodes)), metadata={"policy": setting.policy})


def _shares(n: int, n_episodes: int) -> list[int]:
    """How many trajectories of each market episode are kept: n in all."""
    return [n // n_episodes + (position < n % n_episodes) for position in range(n_episodes)]


def _first(episodes: Iterator[TrajectoryData], counts: list[int]) -> Iterator[TrajectoryData]:
    """The kept trajectories of each episode, of advertisers spread over the market."""
    for log, n in zip(episodes, counts, strict=True):
        if n:
            yield log.select(np.arange(n) * log.n_episodes // n)
