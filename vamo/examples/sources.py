"""Data sets as sources: one task each, divided into training and validation sets, and known by a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from auction_env.control.observation import FEATURE_NAMES
from auction_env.data import TrajectoryData
from auction_env.data.splits import deal
from auction_env.tasks import OUTCOMES, QUANTITIES, Task


def by_task(data: TrajectoryData) -> dict[str, TrajectoryData]:
    """The data set's episodes by the name of the task they were logged for, in the order of `data.tasks`."""
    code_of = data.task[data.episode_starts[:-1]]
    return {data.tasks[code].name: data.select(np.flatnonzero(code_of == code)) for code in np.unique(code_of)}


def split(
    sources: Mapping[str, TrajectoryData], share: float = 0.1, *, seed: int = 0
) -> tuple[dict[str, TrajectoryData], dict[str, TrajectoryData]]:
    """Training and validation sets: `share` of every source's episodes, at least one, held out at random.

    For data in memory; a data set on disk is split once and for all by `auction_env.data.write_splits`, which deals
    in the same way.

    Raises:
        ValueError: `share` not in (0, 1), or a source with fewer than two episodes.
    """
    if not 0 < share < 1:
        raise ValueError(f"`share` must be in (0, 1), found {share}")
    train, validation = {}, {}
    for index, (name, data) in enumerate(sources.items()):
        if data.n_episodes < 2:
            raise ValueError(f"source {name!r} must have at least 2 episodes, found {data.n_episodes}")
        n_held_out = min(max(round(share * data.n_episodes), 1), data.n_episodes - 1)
        part = deal(data.n_episodes, [n_held_out], [seed, index])
        train[name], validation[name] = (data.select(np.flatnonzero(part == code)) for code in (0, 1))
    return train, validation


def n_ticks_of(logs: Mapping[str, TrajectoryData]) -> int:
    """The ticks of an episode, which the logs share; ticks without a row count too, by the feature `time_left`.

    Raises:
        ValueError: Logs of episodes of different lengths; names two of them.
    """
    found = {name: _n_ticks(log) for name, log in logs.items() if len(log)}
    first = next(iter(found), "")
    for name, n in found.items():
        if n != found[first]:
            raise ValueError(
                f"all logs must have one number of ticks, found {found[first]} in {first!r}, {n} in {name!r}"
            )
    return found[first]


def _n_ticks(log: TrajectoryData) -> int:
    later = log.tick > 0
    passed = 1.0 - log.features[later, FEATURE_NAMES.index("time_left")]  # tick / n_ticks
    named = log.tick[later] / np.maximum(passed, 1e-9)
    return int(max(log.tick.max() + 1, np.rint(np.median(named)) if len(named) else 0))


def task_of(name: str, data: TrajectoryData) -> Task:
    """The one task of a source; raises ValueError where it has none or several."""
    codes = np.unique(data.task)
    if len(codes) != 1:
        found = [data.tasks[code].name for code in codes]
        raise ValueError(f"source {name!r} must hold episodes of exactly one task, found {found}")
    return data.tasks[int(codes[0])]


def data_hash(*data_sets: Mapping[str, TrajectoryData]) -> str:
    """SHA-256 over names and columns: equal for equal data in equal order."""
    digest = hashlib.sha256()
    columns = ("episode_starts", "tick", "category", "budget", "cpa_target", "observation", "action")
    targets = ("cpc_target", "cart_cost_target", "roas_target")
    offered = tuple(quantity.offered for quantity in QUANTITIES.values())
    for data_set in data_sets:
        for name, data in data_set.items():
            digest.update(f"{name} {task_of(name, data).to_json()} {len(data)}\n".encode())
            for column in (*columns, *targets, *OUTCOMES, *offered):
                digest.update(np.ascontiguousarray(getattr(data, column)).tobytes())
    return digest.hexdigest()
