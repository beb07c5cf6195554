"""Export to and import from Minari's data sets of offline reinforcement learning (the extra `minari`).

An episode is a trajectory. Its observation is that of the schema (features, then requirements), its action the log
of the multiplier over what a unit of the task's objective is worth (`Task.unit_worth`), its reward the task's, and it
terminates at its last tick: a delivery period ends by itself, so nothing is truncated. Minari wants the observation
behind the last step, too, which no log has: the last one is repeated, and as the episode has terminated no learner
looks at it.

Files are Minari's Arrow format: numbers and JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from auction_env.control.actions import log_multiplier
from auction_env.data.dataset import DTYPES, TEXT_COLUMNS, VECTORS, Array, TrajectoryData
from auction_env.data.manifest import DataSetError, json_values
from auction_env.data.schema import OBSERVATION_COLUMNS, SCHEMA_VERSION
from auction_env.files import own_directory, staged_directory
from auction_env.tasks import Task

Float = NDArray[np.float64]

DATASET_ID = "auction/trajectories-v0"
_COLUMNS, _NOTES = "columns", "vamo_bidding"
_EPISODES_AT_ONCE = 1000


def export_minari(directory: str | os.PathLike[str], data: TrajectoryData, *, force: bool = False) -> None:
    """Writes a Minari data set, whole or not at all; `minari.MinariDataset(directory / "data")` opens it.

    The columns that Minari has no place for go into the infos, so that `import_minari` gives the same data back.

    Args:
        directory: Where; made if absent.
        data: The trajectories.
        force: Whether a Minari data set that is there already is replaced.

    Raises:
        FileExistsError: The directory is there and `force` is False, or it is not of a Minari data set.
        ModuleNotFoundError: Minari is not installed.
        ValueError: There are no trajectories.
    """
    minari, storage_class = _minari()
    target = own_directory(directory, "a Minari data set", {"data"}.__contains__, force=force)
    if not data.n_episodes:
        raise ValueError("`data` must hold at least one trajectory, found none")
    with staged_directory(target) as stage:
        storage = storage_class.new(
            stage / "data",
            observation_space=_box(len(OBSERVATION_COLUMNS)),
            action_space=_box(1),
            env_spec=None,
            data_format="arrow",
        )
        episodes = _episodes(data)
        for first in range(0, data.n_episodes, _EPISODES_AT_ONCE):
            count = min(_EPISODES_AT_ONCE, data.n_episodes - first)
            storage.update_episodes([next(episodes) for _ in range(count)])
        notes = {
            "schema_version": SCHEMA_VERSION,
            "observation": OBSERVATION_COLUMNS,
            "columns": VECTORS,
            "texts": {name: data.texts(name) for name in TEXT_COLUMNS},
            "metadata": json_values("metadata", data.metadata),
            "sha256": _digest([data[name] for name in VECTORS], data.observation),
        }
        storage.update_metadata(
            {"dataset_id": DATASET_ID, "minari_version": minari.__version__, _NOTES: json.dumps(notes)}
        )


def import_minari(directory: str | os.PathLike[str]) -> TrajectoryData:
    """Reads what `export_minari` wrote.

    Raises:
        FileNotFoundError: There is no Minari data set.
        DataSetError: It is not of `export_minari`, of another schema version, or its files are damaged or missing.
        ModuleNotFoundError: Minari is not installed.
    """
    minari, _ = _minari()
    path = Path(directory) / "data"
    if not path.is_dir():
        raise FileNotFoundError(f"{directory} must hold a Minari data set, in its folder `data`")
    damaged = f"{directory}: truncated or damaged: must be what `export_minari` wrote"
    try:
        dataset = minari.MinariDataset(path)
        notes = json.loads(dataset.storage.metadata.get(_NOTES, "{}"))
    except (OSError, ValueError, KeyError) as error:
        raise DataSetError(f"{damaged}: {error}") from error
    found = (notes.get("schema_version"), notes.get("columns"), notes.get("observation"))
    if found != (SCHEMA_VERSION, list(VECTORS), list(OBSERVATION_COLUMNS)):
        raise DataSetError(
            f"{directory}: must be written by `export_minari` with schema version {SCHEMA_VERSION}, found {found[0]}"
        )
    try:
        episodes = [(episode.infos[_COLUMNS], episode.observations) for episode in dataset.iterate_episodes()]
    except (OSError, ValueError, KeyError) as error:
        raise DataSetError(f"{damaged}: {error}") from error
    table = np.concatenate([np.asarray(rows)[:-1] for rows, _ in episodes])
    observation = np.concatenate([np.asarray(rows)[:-1] for _, rows in episodes]).astype(np.float64)
    if _digest(table.T, observation) != notes.get("sha256"):
        raise DataSetError(f"{directory}: changed: a file is missing or holds other numbers; export it again")
    arrays: dict[str, Array] = {name: table[:, k].astype(DTYPES[name]) for k, name in enumerate(VECTORS)}
    arrays["observation"] = observation
    texts = {name: tuple(values) for name, values in notes["texts"].items()}
    tasks = tuple(map(Task.from_json, texts.pop("task")))
    return TrajectoryData.from_arrays(arrays, tasks, notes["metadata"], texts)


def _digest(columns: Iterable[Array], observation: Float) -> str:
    """SHA-256 of the numbers of a data set, as Minari stores them."""
    found = hashlib.sha256()
    for values in (*columns, observation):
        found.update(np.ascontiguousarray(values, np.float64).tobytes())
    return found.hexdigest()


def _minari() -> tuple[Any, Any]:
    try:
        import minari
        from minari.dataset.minari_storage import MinariStorage
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("Minari data sets need minari: install the extra `minari`") from error
    return minari, MinariStorage


def _box(n: int) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(-np.inf, np.inf, (n,), np.float64)


def _actions_and_rewards(data: TrajectoryData) -> tuple[Float, Float]:
    """(n,) log of the multiplier over the worth of a unit of the objective, and what the objective earned."""
    rewards = np.empty(len(data))
    for code, task in enumerate(data.tasks):
        rows = data.task == code
        rewards[rows] = task.reward(data)[rows]
    return log_multiplier(data.action, data.base), rewards


def _episodes(data: TrajectoryData) -> Iterator[Any]:
    from minari.data_collector import EpisodeBuffer

    table = np.stack([getattr(data, name).astype(np.float64) for name in VECTORS], axis=1)
    actions, rewards = _actions_and_rewards(data)
    for index in range(data.n_episodes):
        rows = np.arange(data.episode_starts[index], data.episode_starts[index + 1])
        behind = np.append(rows, rows[-1])  # the last one twice: Minari has an observation more than steps
        is_last = np.zeros(len(rows), bool)
        is_last[-1] = True
        yield EpisodeBuffer(
            id=index,
            observations=data.observation[behind],
            actions=actions[rows, None],
            rewards=rewards[rows].tolist(),
            terminations=is_last.tolist(),
            truncations=np.zeros(len(rows), bool).tolist(),
            infos={_COLUMNS: table[behind]},
        )
