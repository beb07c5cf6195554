"""Trajectory data sets on disk: Parquet shards and a manifest.

A data set is a directory with `manifest.json` and the shards that it names. It is built in a hidden
directory beside its place and renamed into it when complete, so that a reader never meets half of one.
Loading reads numbers and JSON and never runs code from a file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from auction_env.data import mapped
from auction_env.data.dataset import DTYPES, TEXT_COLUMNS, VECTORS, Array, TrajectoryData
from auction_env.data.manifest import (
    MANIFEST,
    SHARD_NAME,
    DataSetError,
    Manifest,
    Shard,
    json_values,
    read_manifest,
    read_shard,
    write_manifest,
    write_shard,
)
from auction_env.data.schema import COLUMN_NAMES, OBSERVATION_COLUMNS, arrow_schema
from auction_env.data.selection import Selection, select
from auction_env.data.splits import is_splits_file
from auction_env.files import own_directory, staged_directory
from auction_env.tasks import Task

logger = logging.getLogger(__name__)

ROWS_PER_SHARD = 131_072  # about 40 MB in memory
_KEY = ("period", "advertiser")
_Path = str | os.PathLike[str]
_Tasks = str | Task | Iterable[str | Task]
_Numbers = int | Iterable[int]


def write(
    directory: _Path,
    data: TrajectoryData | Iterable[TrajectoryData],
    *,
    metadata: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    force: bool = False,
    rows_per_shard: int = ROWS_PER_SHARD,
) -> None:
    """Writes a data set.

    Args:
        directory: Where; made if absent.
        data: The trajectories, whole or in parts of whole episodes. Parts are written as they come, so
            that an iterator needs no more memory than a shard and a part.
        metadata: JSON values to note in the manifest; default: the metadata of `data` if it is whole.
        parameters: What the data was made with (market, population, seeds, policies): JSON values.
        force: Whether a data set that is there already is replaced.
        rows_per_shard: Upper limit of the rows of a file.

    Raises:
        FileExistsError: The directory holds files and `force` is False, or it holds files that are
            not of a data set (those are never deleted).
        ValueError: There are no rows, an episode appears in two parts, or `metadata` is not JSON.
    """
    if rows_per_shard < 1:
        raise ValueError(f"`rows_per_shard` must be positive, found {rows_per_shard}")
    target = check_target(directory, force=force)
    if isinstance(data, TrajectoryData):
        metadata = data.metadata if metadata is None else metadata
        data = (data,)
    noted, made_with = json_values("metadata", metadata or {}), json_values("parameters", parameters or {})
    with staged_directory(target) as stage:
        shards, n_episodes = _write_shards(stage, data, rows_per_shard)
        manifest = Manifest(shards=tuple(shards), n_episodes=n_episodes, metadata=noted, parameters=made_with)
        write_manifest(stage, manifest)
    logger.info("wrote %d rows of %d episodes to %s", manifest.n_rows, n_episodes, target)


def load(
    directory: _Path,
    *,
    tasks: _Tasks | None = None,
    advertisers: _Numbers | None = None,
    periods: _Numbers | None = None,
    split: str | None = None,
    mmap: bool = False,
) -> TrajectoryData:
    """Reads a data set, or a part of it, and checks it against its manifest.

    What is asked for is pushed down to the files: shards whose statistics rule it out are not read, row groups
    that cannot hold it are not decoded.

    Args:
        directory: The data set.
        tasks: Only episodes of these tasks, by name or as `Task`.
        advertisers, periods: Only these.
        split: Only this part of the split: "train", "validation" or "test" (`write_splits`).
        mmap: Open the columns as read-only memory-mapped files instead of reading the shards. The first such call
            writes them, uncompressed and checked, into the data set's directory; later ones open them at once,
            whatever the size. A selection that is not one run of rows is copied into memory.

    Raises:
        FileNotFoundError: The directory has no manifest.
        ValueError: A selection of something that the data set does not have; names what exists.
        DataSetError: The manifest is not understood, was written by a newer schema version, a shard is
            missing, truncated, changed or of another schema, or two rows share (period, advertiser, tick).
    """
    path, manifest = Path(directory), read_manifest(directory)
    selection = select(path, manifest, tasks=tasks, advertisers=advertisers, periods=periods, split=split)
    if mmap:
        data = mapped.open_columns(path, manifest, lambda: _read_tables(path, manifest, Selection({}), COLUMN_NAMES))
        return mapped.restrict(data, selection)
    return _data_of(path, manifest, _read_tables(path, manifest, selection, COLUMN_NAMES))


def _data_of(path: Path, manifest: Manifest, tables: Iterable[pa.Table]) -> TrajectoryData:
    """The trajectories of some rows of a data set's shards."""
    read = _read_arrays(tables)
    _check_found(path, read.n_rows)
    try:
        parsed = tuple(map(Task.from_json, read.labels["task"]))
        labels = {name: texts for name, texts in read.labels.items() if name != "task"}
        return TrajectoryData.from_arrays(read.arrays, parsed, manifest.metadata, labels)
    except (TypeError, ValueError) as error:  # a TypeError comes from a task's JSON
        raise DataSetError(f"{path}: {error}") from error


def load_parts(directory: _Path, splits: Sequence[str]) -> list[TrajectoryData]:
    """Several parts of the split, from one pass over the files; each as `load(directory, split=...)` reads it.

    Args:
        directory: The data set.
        splits: Of "train", "validation" and "test".

    Raises:
        FileNotFoundError: The directory has no manifest.
        ValueError: A part that the data set does not have; names what exists.
        DataSetError: As of `load`.
    """
    path, manifest = Path(directory), read_manifest(directory)
    selections = [select(path, manifest, split=split) for split in splits]
    wanted = [shard for shard in manifest.shards if any(selection.may_be_in(shard) for selection in selections)]
    tables = [read_shard(path, shard) for shard in wanted]
    return [_data_of(path, manifest, (_in_split(table, selection) for table in tables)) for selection in selections]


def load_columns(
    directory: _Path,
    columns: Sequence[str],
    *,
    tasks: _Tasks | None = None,
    advertisers: _Numbers | None = None,
    periods: _Numbers | None = None,
    split: str | None = None,
) -> dict[str, Array]:
    """Reads some columns of a data set, in the order of its files; no other column is decoded.

    Text columns come as arrays of objects (`task` as JSON). The other arguments and the errors are those of `load`.
    """
    path, manifest = Path(directory), read_manifest(directory)
    for name in columns:
        if name not in COLUMN_NAMES:
            raise ValueError(f"`columns` must be of the schema {list(COLUMN_NAMES)}, found {name!r}")
    selection = select(path, manifest, tasks=tasks, advertisers=advertisers, periods=periods, split=split)
    tables = list(_read_tables(path, manifest, selection, tuple(columns)))
    _check_found(path, sum(table.num_rows for table in tables))
    return {name: np.concatenate([table.column(name).to_numpy() for table in tables]) for name in columns}


def check_target(directory: _Path, *, force: bool) -> Path:
    """The absolute path of a directory that `write` may fill; raises FileExistsError where it may not."""
    return own_directory(directory, "a data set", is_of_data_set, force=force)


def is_of_data_set(name: str) -> bool:
    """Whether a file or a folder of a data set's directory belongs to it, by its name."""
    return name == MANIFEST or bool(SHARD_NAME.fullmatch(name)) or is_splits_file(name) or mapped.is_cache(name)


def to_table(data: TrajectoryData) -> pa.Table:
    """The rows as an Arrow table of the schema."""
    columns = {name: data[name] for name in COLUMN_NAMES}
    for name in TEXT_COLUMNS:
        texts = pa.array(data.texts(name), pa.string())
        columns[name] = pa.DictionaryArray.from_arrays(data[name], texts).cast(pa.string())
    return pa.table(columns, schema=arrow_schema())


class _Read(NamedTuple):
    """Rows as arrays: text columns as codes into `labels`."""

    arrays: dict[str, Array]
    labels: dict[str, tuple[str, ...]]
    n_rows: int


def _read_tables(path: Path, manifest: Manifest, selection: Selection, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The selected rows of each shard that may hold some."""
    needed = list(columns) if selection.split is None else list(dict.fromkeys((*columns, *_KEY)))
    for shard in manifest.shards:
        if not selection.may_be_in(shard):
            continue
        table = read_shard(path, shard, columns=needed, filters=selection.expression)
        yield _in_split(table, selection).select(list(columns))


def _in_split(table: pa.Table, selection: Selection) -> pa.Table:
    """The rows of the part of the split that is selected; all where none is."""
    if selection.split is None or selection.assignment is None:
        return table
    keys = [table.column(name).to_numpy() for name in _KEY]
    return table.filter(pa.array(selection.assignment.mask(selection.split, *keys)))


def _read_arrays(tables: Iterable[pa.Table]) -> _Read:
    held = [table for table in tables if table.num_rows]
    n = sum(table.num_rows for table in held)
    arrays: dict[str, Array] = {name: np.empty(n, DTYPES[name]) for name in VECTORS}
    arrays["observation"] = np.empty((n, len(OBSERVATION_COLUMNS)))
    codes: dict[str, dict[str, int]] = {name: {} for name in TEXT_COLUMNS}
    first = 0
    held.reverse()
    while held:  # let go of each shard's table once it is copied
        table = held.pop()
        mapped.fill(arrays, first, table, codes)
        first += table.num_rows
    return _Read(arrays, {name: tuple(texts) for name, texts in codes.items()}, n)


def _check_found(path: Path, n_rows: int) -> None:
    if not n_rows:
        raise ValueError(f"the selection must meet at least one episode of {path}, found none")


def _write_shards(stage: Path, parts: Iterable[TrajectoryData], rows_per_shard: int) -> tuple[list[Shard], int]:
    """Writes the parts as they come; returns the shards and the number of episodes."""
    shards: list[Shard] = []
    seen: set[tuple[int, int]] = set()
    pending: list[pa.Table] = []
    n_pending = 0
    for part in parts:
        _note_episodes(seen, part)
        pending.append(to_table(part))
        n_pending += len(part)
        if n_pending >= rows_per_shard:
            rest = pa.concat_tables(pending)
            while len(rest) >= rows_per_shard:
                shards.append(write_shard(stage, len(shards), rest.slice(0, rows_per_shard)))
                rest = rest.slice(rows_per_shard)
            pending, n_pending = [rest], len(rest)
    if n_pending:
        shards.append(write_shard(stage, len(shards), pa.concat_tables(pending)))
    if not shards:
        raise ValueError("`data` must hold at least one row, found none")
    return shards, len(seen)


def _note_episodes(seen: set[tuple[int, int]], part: TrajectoryData) -> None:
    starts = part.episode_starts[:-1]
    keys = set(zip(part.period[starts].tolist(), part.advertiser[starts].tolist(), strict=True))
    if not seen.isdisjoint(keys):
        period, advertiser = min(seen & keys)
        raise ValueError(
            f"an episode must come whole, in one part: found (period {period}, advertiser {advertiser}) twice"
        )
    seen |= keys
