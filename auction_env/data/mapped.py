"""The columns of a data set as memory-mapped files, for sets larger than memory and for opening them at once.

The files lie uncompressed in a hidden folder of the data set's directory, whose name holds the digest of the shards
that they were made from: other shards are never served from them.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib.format import open_memmap

from auction_env.data.dataset import DTYPES, TEXT_COLUMNS, VECTORS, Array, TrajectoryData, is_sorted
from auction_env.data.manifest import DataSetError, Manifest
from auction_env.data.schema import OBSERVATION_COLUMNS, SORT_KEY
from auction_env.data.selection import Selection
from auction_env.files import staged_directory
from auction_env.tasks import Task

logger = logging.getLogger(__name__)

_PREFIX = ".columns-"
_INDEX = "index.json"
_STARTS = "episode_starts"
_ROWS_AT_ONCE = 1 << 20  # of a check or a reordering: bounds the memory


def is_cache(name: str) -> bool:
    """Whether a folder of a data set's directory holds mapped columns."""
    return name.startswith(_PREFIX)


def open_columns(directory: Path, manifest: Manifest, tables: Callable[[], Iterable[pa.Table]]) -> TrajectoryData:
    """The data set on memory-mapped columns, which are made from `tables` where they are missing.

    Raises:
        DataSetError: The rows break a rule of `TrajectoryData`, or the mapped files are not what they were.
    """
    path = directory.resolve() / f"{_PREFIX}{manifest.digest[:16]}"
    if not path.is_dir():
        with staged_directory(path) as stage:
            _build(stage, directory, manifest, tables())
        for entry in path.parent.iterdir():
            if is_cache(entry.name) and entry != path:
                shutil.rmtree(entry, ignore_errors=True)
        logger.info("wrote the columns of %s to %s", directory, path)
    try:
        record = json.loads((path / _INDEX).read_text(encoding="utf-8"))
        if record["digest"] != manifest.digest:
            raise ValueError(f"`digest` must be {manifest.digest}, found {record['digest']}")
        arrays = {name: np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in record["shapes"]}
        for name, shape in record["shapes"].items():
            if list(arrays[name].shape) != shape:
                raise ValueError(f"`{name}` must have shape {shape}, found {list(arrays[name].shape)}")
        labels = {name: tuple(texts) for name, texts in record["labels"].items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataSetError(
            f"{path}: must hold the mapped columns (delete it to have them made anew): {error}"
        ) from error
    starts = np.asarray(arrays.pop(_STARTS))
    return TrajectoryData.from_verified(_fields(arrays, labels, manifest.metadata), starts)


def restrict(data: TrajectoryData, selection: Selection) -> TrajectoryData:
    """The selected episodes: views where they are one run, copies in memory elsewhere."""
    if selection.is_all:
        return data
    first = data.episode_starts[:-1]
    columns = {name: np.asarray(data[name])[first] for name in ("period", "advertiser")}
    if "task" in selection.wanted:
        columns["task"] = np.array([task.to_json() for task in data.tasks])[data.task[first]]
    chosen = np.flatnonzero(selection.mask(columns))
    if not len(chosen):
        raise ValueError("the selection must meet at least one episode, found none")
    return data.select(chosen)


def fill(arrays: dict[str, Array], first: int, table: pa.Table, codes: dict[str, dict[str, int]]) -> None:
    """Copies a table's rows into the arrays from row `first` on, giving new texts the next codes."""
    rows = slice(first, first + table.num_rows)
    for index, name in enumerate(OBSERVATION_COLUMNS):
        arrays["observation"][rows, index] = table.column(name).to_numpy()
    for name in VECTORS:
        if name not in TEXT_COLUMNS:
            arrays[name][rows] = table.column(name).to_numpy()
            continue
        coded = table.column(name).combine_chunks().dictionary_encode()
        coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
        known = codes[name]
        recoded = np.array([known.setdefault(text, len(known)) for text in coded.dictionary.to_pylist()], np.int32)
        arrays[name][rows] = recoded[coded.indices.to_numpy()]


def _build(stage: Path, directory: Path, manifest: Manifest, tables: Iterable[pa.Table]) -> None:
    n = manifest.n_rows
    arrays: dict[str, Array] = {name: open_memmap(stage / f"{name}.npy", "w+", DTYPES[name], (n,)) for name in VECTORS}
    shape = (n, len(OBSERVATION_COLUMNS))
    arrays["observation"] = open_memmap(stage / "observation.npy", "w+", np.float64, shape)
    codes: dict[str, dict[str, int]] = {name: {} for name in TEXT_COLUMNS}
    first = 0
    for table in tables:
        fill(arrays, first, table, codes)
        first += table.num_rows
    keys = [np.asarray(arrays[name]) for name in SORT_KEY]
    if not is_sorted(*keys).all():
        _reorder(stage, arrays, np.lexsort(keys[::-1]))
        keys = [np.asarray(arrays[name]) for name in SORT_KEY]
    is_new = (keys[0][1:] != keys[0][:-1]) | (keys[1][1:] != keys[1][:-1])
    starts = np.concatenate([[0], np.flatnonzero(is_new) + 1, [n]]).astype(np.int64)
    np.save(stage / f"{_STARTS}.npy", starts, allow_pickle=False)
    labels = {name: tuple(texts) for name, texts in codes.items()}
    try:
        _check(arrays, starts, _fields(arrays, labels, manifest.metadata))
    except (TypeError, ValueError) as error:  # a TypeError comes from a task's JSON
        raise DataSetError(f"{directory}: {error}") from error
    shapes = {name: array.shape for name, array in arrays.items()} | {_STARTS: starts.shape}
    for array in arrays.values():
        if isinstance(array, np.memmap):
            array.flush()
    record = {"digest": manifest.digest, "shapes": shapes, "labels": labels}
    (stage / _INDEX).write_text(json.dumps(record), encoding="utf-8")


def _reorder(stage: Path, arrays: dict[str, Array], order: Array) -> None:
    for name, array in arrays.items():
        unsorted = stage / f"{name}.unsorted.npy"
        (stage / f"{name}.npy").rename(unsorted)
        arrays[name] = open_memmap(stage / f"{name}.npy", "w+", array.dtype, array.shape)
        for first in range(0, len(order), _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            arrays[name][rows] = array[order[rows]]
        unsorted.unlink()


def _check(arrays: dict[str, Array], starts: Array, fields: dict[str, Any]) -> None:
    """Applies the rules of `TrajectoryData` to runs of whole episodes."""
    first = 0
    while first < len(starts) - 1:
        last = int(np.searchsorted(starts, starts[first] + _ROWS_AT_ONCE, side="right")) - 1
        last = min(max(last, first + 1), len(starts) - 1)
        rows = slice(int(starts[first]), int(starts[last]))
        TrajectoryData(**{**fields, **{name: array[rows] for name, array in arrays.items()}})
        first = last


def _fields(arrays: dict[str, Array], labels: dict[str, tuple[str, ...]], metadata: dict[str, Any]) -> dict[str, Any]:
    tasks = tuple(map(Task.from_json, labels["task"]))
    others = {name: texts for name, texts in labels.items() if name != "task"}
    return {**arrays, "tasks": tasks, "labels": others, "metadata": metadata}
