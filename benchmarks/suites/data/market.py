"""Variant data of registered tasks in the standard market, with or without drifting days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents import rollout, to_trajectories
from agents.logging.policies import make_policy, parse_shares
from auction_env import TASKS, MarketParams, Population, auctionnet_population, data
from auction_env.data import TrajectoryData
from auction_env.data.manifest import MANIFEST
from auction_env.market.funnel import Funnel
from auction_env.market.params import TrafficParams
from auction_env.market.population import FIXED, PID, PID_CPA, WALK
from benchmarks.suites.data.episodes import TaskEpisodes
from benchmarks.suites.data.variant import Logs, VariantData
from benchmarks.suites.spec import Condition, MarketData, Seeds, Suite

Int = NDArray[np.int64]

TRAIN, VALIDATION = "train", "validation"
_APART = 2**20  # market seeds between the logs of two parts
_ROLLED_OUT = 256  # trajectories in memory


def make(setting: MarketData, suite: Suite, logs: Path) -> VariantData:
    """Collects the logs where they are not there yet."""
    counts = {TRAIN: dict(zip(setting.tasks, setting.n_train, strict=True))}
    counts[VALIDATION] = dict.fromkeys(setting.tasks, setting.n_validation)
    for turn, (part, of_task) in enumerate(counts.items()):
        for position, (task, n) in enumerate(of_task.items()):
            first = setting.log_seed + (2 * position + turn) * _APART
            _collect(setting, task, n, first, setting.train_days if part == TRAIN else setting.validation_days,
                     logs / part / task)  # fmt: skip

    def load_logs() -> tuple[Logs, Logs]:
        parts = {part: {name: data.load(logs / part / name) for name in setting.tasks} for part in counts}
        return parts[TRAIN], parts[VALIDATION]

    targets = {
        name: _episodes(setting, name, suite.validation, Condition(days=setting.validation_days))
        for name in setting.tasks
    }
    tests, target_of = {}, {}
    for condition in setting.conditions:
        for name in setting.tasks:
            label = f"{name}, {condition.name}" if condition.name else name
            tests[label], target_of[label] = _episodes(setting, name, suite.test, condition), name
    return VariantData(
        targets=targets,
        tests=tests,
        target_of=target_of,
        load_logs=load_logs,
        n_train=counts[TRAIN],
        n_validation=counts[VALIDATION],
    )


def _params(setting: MarketData) -> MarketParams:
    traffic = TrafficParams(n_days=setting.n_days, drift=setting.drift)
    return MarketParams(n_impressions=setting.n_impressions, funnel=Funnel(), traffic=traffic)


def _episodes(setting: MarketData, task: str, seeds: Seeds, condition: Condition) -> TaskEpisodes:
    population = auctionnet_population()
    drawn, advertisers = seeds.draw(np.arange(population.n_advertisers))
    return TaskEpisodes(
        task=TASKS[task],
        params=_params(setting),
        population=mixed_population() if condition.competitors == "mixed" else population,
        seeds=drawn,
        advertisers=advertisers,
        days=_days(condition.days, len(drawn), population.n_advertisers),
        competitors=condition.competitors,
    )


def mixed_population() -> Population:
    """The same advertisers with other scripts: half still guard their costs, the others pace, walk or stand still."""
    base = auctionnet_population()
    turns = (PID_CPA, PID, PID_CPA, WALK, PID_CPA, FIXED)
    return replace(base, behaviour=tuple(turns[j % len(turns)] for j in range(base.n_advertisers)))


def _days(days: tuple[int, ...], n: int, n_advertisers: int) -> Int | None:
    """The days take turns, and begin with another one in every round of the advertisers: all meet all."""
    turn = np.arange(n) + np.arange(n) // n_advertisers
    return np.asarray(days, np.int64)[turn % len(days)] if days else None


def _collect(setting: MarketData, task: str, n: int, first_seed: int, days: tuple[int, ...], path: Path) -> None:
    """Logs n trajectories, each in a market of its own; nothing where that has been done.

    One advertiser is controlled and all others follow their scripts, as in the test episodes. With all advertisers
    controlled, the logs would show the prices of another market.
    """
    if (path / MANIFEST).is_file():
        return
    population, params = auctionnet_population(), _params(setting)
    who = np.arange(n) % population.n_advertisers
    of_day = _days(days, n, population.n_advertisers)
    policy = make_policy(parse_shares(setting.policy), TASKS[task], params, population)

    def parts() -> Iterator[TrajectoryData]:
        for start in range(0, n, _ROLLED_OUT):
            part = np.arange(start, min(start + _ROLLED_OUT, n))
            played = rollout(
                policy,
                seeds=first_seed + part,
                advertisers=who[part],
                task=TASKS[task],
                params=params,
                population=population,
                days=None if of_day is None else of_day[part],
            )
            yield to_trajectories(played, period=part, policy=setting.policy)

    path.parent.mkdir(parents=True, exist_ok=True)
    data.write(path, parts(), metadata={"policy": setting.policy})
