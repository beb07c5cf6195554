"""A data set as one plain NumPy file: named arrays that any program reads, without pickles."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from auction_env.data.dataset import TEXT_COLUMNS, VECTORS, TrajectoryData
from auction_env.data.manifest import DataSetError, json_values
from auction_env.data.schema import OBSERVATION_COLUMNS, SCHEMA_VERSION
from auction_env.files import already_there, write_atomically
from auction_env.tasks import Task

_NOTES = "metadata"


def export_numpy(path: str | os.PathLike[str], data: TrajectoryData, *, force: bool = False) -> None:
    """Writes a `.npz` file, whole or not at all.

    It holds every column by name (`observation` as a matrix, text columns as codes), `episode_starts`,
    `observation_names`, the texts that the codes stand for as `<column>_texts` (tasks as JSON), `schema_version` and
    `metadata` as JSON.

    Args:
        path: The file; must end in `.npz`.
        data: The trajectories.
        force: Whether a file that is there already is replaced.

    Raises:
        FileExistsError: The file is there and `force` is False.
        ValueError: The path has another ending.
    """
    target = Path(path)
    if target.suffix != ".npz":
        raise ValueError(f"`path` must end in .npz, found {target.name!r}")
    if target.exists() and not force:
        raise already_there(target, "a file", "must not exist")
    arrays: dict[str, Any] = {name: getattr(data, name) for name in (*VECTORS, "observation", "episode_starts")}
    arrays |= {f"{name}_texts": np.array(data.texts(name), np.str_) for name in TEXT_COLUMNS}
    arrays["observation_names"] = np.array(OBSERVATION_COLUMNS)
    arrays["schema_version"] = np.array(SCHEMA_VERSION)
    arrays[_NOTES] = np.array(json.dumps(json_values("metadata", data.metadata)))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, buffer.getbuffer())


def import_numpy(path: str | os.PathLike[str]) -> TrajectoryData:
    """Reads a file of `export_numpy`.

    Raises:
        FileNotFoundError: The file does not exist.
        DataSetError: It is not such a file, is of another schema version, or its arrays break a rule.
    """
    raw = Path(path).read_bytes()
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as file:
            arrays = dict(file)
        version, names = int(arrays["schema_version"]), tuple(arrays["observation_names"].tolist())
        if version != SCHEMA_VERSION or names != OBSERVATION_COLUMNS:
            raise ValueError(f"`schema_version` must be {SCHEMA_VERSION}, with its observation, found {version}")
        texts = {name: tuple(arrays[f"{name}_texts"].tolist()) for name in TEXT_COLUMNS}
        return TrajectoryData(
            **{name: arrays[name] for name in (*VECTORS, "observation")},
            tasks=tuple(map(Task.from_json, texts.pop("task"))),
            metadata=json.loads(str(arrays[_NOTES])),
            labels=texts,
        )
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataSetError(f"{path}: must be a file of `export_numpy`: {error}") from error
