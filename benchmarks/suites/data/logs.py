"""The data of a variant from logs in a directory: two tasks share the logs, both are played in the standard market."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from auction_env import TASKS, MarketParams, auctionnet_population, data
from auction_env.data import TrajectoryData
from auction_env.data.manifest import MANIFEST
from auction_env.market.params import REFERENCE_IMPRESSIONS
from benchmarks.suites.data.episodes import TaskEpisodes
from benchmarks.suites.data.variant import Logs, VariantData
from benchmarks.suites.spec import LogsData, Seeds, Suite

MIN_LOGGED = 12
"""Trajectories of a log: two to train on and two to validate on for the data-scarce task, as many for the other."""


def describe(directory: Path, *, n_scarce: int, n_validation: int) -> LogsData:
    """The two tasks that a log can be shared out to: TargetCPA gets most trajectories, MaxConversions few.

    Args:
        directory: A trajectory data set whose trajectories were made under CPA limits.
        n_scarce: Trajectories of the data-scarce task to train on; fewer where the log is small.
        n_validation: Held-out trajectories of each task; fewer where the log is small.

    Raises:
        ValueError: The log has fewer than `MIN_LOGGED` trajectories.
        DataSetError: The directory holds no data set.
    """
    log = data.load(directory)
    if log.n_episodes < MIN_LOGGED:
        raise ValueError(f"{directory} must hold at least {MIN_LOGGED} trajectories, found {log.n_episodes}")
    most = log.n_episodes // 6  # a third for the data-scarce task at most, half of it held out
    return LogsData(
        directory=str(directory.resolve()),
        digest=_digest(directory),
        tasks=("TargetCPA", "MaxConversions"),
        n_scarce=min(n_scarce, most),
        n_validation=min(n_validation, most),
        n_impressions=_market_size(log),
        seed=0,
    )


def _market_size(log: TrajectoryData) -> int:
    """The impressions at which the market's budgets are those of the log: observations then mean the same in both."""
    scale = float(log.budget[log.episode_starts[:-1]].mean() / np.mean(auctionnet_population().budget))
    return max(round(scale * REFERENCE_IMPRESSIONS), 1)


def _digest(directory: Path) -> str:
    return hashlib.sha256((directory / MANIFEST).read_bytes()).hexdigest()[:16]


def make(setting: LogsData, suite: Suite) -> VariantData:
    """The variant's data; nothing is written.

    Raises:
        ValueError: The directory holds other logs than those that were described.
    """
    directory = Path(setting.directory)
    found = _digest(directory)
    if found != setting.digest:
        raise ValueError(f"{directory} must hold the logs with digest {setting.digest}, found {found}: they changed")
    n_logged = data.read_manifest(directory).n_episodes
    many, few = setting.tasks
    n_many = n_logged - setting.n_scarce - 2 * setting.n_validation
    return VariantData(
        targets={name: _episodes(setting, name, suite.validation) for name in setting.tasks},
        tests={name: _episodes(setting, name, suite.test) for name in setting.tasks},
        target_of={name: name for name in setting.tasks},
        load_logs=lambda: _shared_out(setting, data.load(directory)),
        n_train={many: n_many, few: setting.n_scarce},
        n_validation=dict.fromkeys(setting.tasks, setting.n_validation),
    )


def _shared_out(setting: LogsData, log: TrajectoryData) -> tuple[Logs, Logs]:
    """Training and validation trajectories by task, drawn at random: no trajectory is in two parts."""
    many, few = setting.tasks
    order = np.random.default_rng(setting.seed).permutation(log.n_episodes)
    ends = np.cumsum([setting.n_validation, setting.n_validation, setting.n_scarce])
    held_many, held_few, train_few, train_many = (np.sort(part) for part in np.split(order, ends))

    def part(episodes: np.ndarray, task: str) -> TrajectoryData:
        return log.select(episodes).with_task(TASKS[task])

    train = {many: part(train_many, many), few: part(train_few, few)}
    return train, {many: part(held_many, many), few: part(held_few, few)}


def _episodes(setting: LogsData, task: str, seeds: Seeds) -> TaskEpisodes:
    population = auctionnet_population()
    drawn, advertisers = seeds.draw(np.arange(population.n_advertisers))
    return TaskEpisodes(
        task=TASKS[task],
        params=MarketParams(n_impressions=setting.n_impressions),
        population=population,
        seeds=drawn,
        advertisers=advertisers,
    )
