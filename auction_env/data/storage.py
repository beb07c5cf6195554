"""Trajectory data sets on disk: Parquet shards and a manifest.

A data set is a directory with `manifest.json` and the shards that it names. It is built in a hidden
directory beside its place and renamed into it when complete, so that a reader never meets half of one.
Loading reads numbers and JSON and never runs code from a file.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import auction_env
from auction_env.data.dataset import Array, TrajectoryData
from auction_env.data.schema import (
    COLUMN_NAMES,
    COLUMNS,
    OBSERVATION_COLUMNS,
    SCHEMA_VERSION,
    arrow_schema,
)
from auction_env.files import staged_directory
from auction_env.tasks import Task

logger = logging.getLogger(__name__)

_DISTRIBUTION = "vamo-bidding"
MANIFEST = "manifest.json"
ROWS_PER_SHARD = 131_072  # about 40 MB in memory
_SHARD_NAME = re.compile(r"shard-\d{5,}\.parquet")
_Path = str | os.PathLike[str]


class DataSetError(ValueError):
    """A directory that is not a sound trajectory data set; names the file, the rule and the value."""


class _Shard(NamedTuple):
    file: str  # name within the directory
    n_rows: int
    n_bytes: int
    sha256: str


def write(
    directory: _Path,
    data: TrajectoryData | Iterable[TrajectoryData],
    *,
    metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    rows_per_shard: int = ROWS_PER_SHARD,
) -> None:
    """Writes a data set.

    Args:
        directory: Where; made if absent.
        data: The trajectories, whole or in parts of whole episodes. Parts are written as they come, so
            that an iterator needs no more memory than a shard and a part.
        metadata: JSON values to note in the manifest; default: the metadata of `data` if it is whole.
        overwrite: Whether a data set that is there already is replaced.
        rows_per_shard: Upper limit of the rows of a file.

    Raises:
        FileExistsError: The directory holds files and `overwrite` is False, or it holds files that are
            not of a data set (those are never deleted).
        ValueError: There are no rows, an episode appears in two parts, or `metadata` is not JSON.
    """
    if rows_per_shard < 1:
        raise ValueError(f"`rows_per_shard` must be positive, found {rows_per_shard}")
    target = check_target(directory, overwrite=overwrite)
    if isinstance(data, TrajectoryData):
        metadata = data.metadata if metadata is None else metadata
        data = (data,)
    noted = _checked_metadata(metadata or {})
    with staged_directory(target) as stage:
        shards, n_episodes = _write_shards(stage, data, rows_per_shard)
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "code_version": code_version(),
            "n_rows": sum(shard.n_rows for shard in shards),
            "n_episodes": n_episodes,
            "metadata": noted,
            "shards": [shard._asdict() for shard in shards],
        }
        with (stage / MANIFEST).open("w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=2, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
    logger.info("wrote %d rows of %d episodes to %s", manifest["n_rows"], n_episodes, target)


def load(directory: _Path) -> TrajectoryData:
    """Reads a data set and checks it against its manifest.

    Raises:
        FileNotFoundError: The directory has no manifest.
        DataSetError: The manifest is not understood, was written by a newer schema version, a shard is
            missing, truncated, changed or of another schema, or two rows share (period, advertiser, tick).
    """
    path = Path(directory)
    if not (path / MANIFEST).is_file():
        raise FileNotFoundError(f"{path} must be a trajectory data set: it has no {MANIFEST}")
    metadata, shards = _read_manifest(path / MANIFEST)
    n = sum(shard.n_rows for shard in shards)
    arrays: dict[str, Array] = {
        column.name: np.empty(n, np.int32 if column.dtype == "str" else column.dtype)
        for column in COLUMNS
        if column.name not in OBSERVATION_COLUMNS
    }
    arrays["observation"] = np.empty((n, len(OBSERVATION_COLUMNS)))
    codes: dict[str, int] = {}
    start = 0
    for shard in shards:
        _fill(arrays, start, _read_shard(path, shard), codes)
        start += shard.n_rows
    try:
        return TrajectoryData.from_arrays(arrays, tuple(map(Task.from_json, codes)), metadata)
    except (TypeError, ValueError) as error:  # a TypeError comes from a task's JSON
        raise DataSetError(f"{path}: {error}") from error


def code_version() -> str:
    """Version of the installed distribution; the package's own where it runs without being installed."""
    try:
        return importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return auction_env.__version__


def check_target(directory: _Path, *, overwrite: bool) -> Path:
    """The absolute path of a directory that `write` may fill; raises FileExistsError where it may not."""
    target = Path(directory).resolve()
    if not target.exists():
        return target
    if not target.is_dir():
        raise FileExistsError(f"{target} must be a directory, found a file")
    names = sorted(entry.name for entry in target.iterdir())
    if names and not overwrite:
        raise FileExistsError(f"{target} must be empty unless `overwrite` is set, found {names[0]!r}")
    foreign = [name for name in names if name != MANIFEST and not _SHARD_NAME.fullmatch(name)]
    if foreign:
        raise FileExistsError(f"{target} must hold nothing but a data set, found {foreign[0]!r}")
    return target


def _checked_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    try:
        noted: dict[str, Any] = json.loads(json.dumps(dict(metadata), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"`metadata` must hold JSON values, found {metadata!r}: {error}") from error
    return noted


def _write_shards(stage: Path, parts: Iterable[TrajectoryData], rows_per_shard: int) -> tuple[list[_Shard], int]:
    """Writes the parts as they come; returns the shards and the number of episodes."""
    shards: list[_Shard] = []
    seen: set[tuple[int, int]] = set()
    pending: list[pa.Table] = []
    n_pending = 0
    for part in parts:
        _note_episodes(seen, part)
        pending.append(_to_table(part))
        n_pending += len(part)
        if n_pending >= rows_per_shard:
            rest = pa.concat_tables(pending)
            while len(rest) >= rows_per_shard:
                shards.append(_write_shard(stage, len(shards), rest.slice(0, rows_per_shard)))
                rest = rest.slice(rows_per_shard)
            pending, n_pending = [rest], len(rest)
    if n_pending:
        shards.append(_write_shard(stage, len(shards), pa.concat_tables(pending)))
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


def _to_table(data: TrajectoryData) -> pa.Table:
    texts = pa.array([task.to_json() for task in data.tasks], pa.string())
    columns = {name: data[name] for name in COLUMN_NAMES}
    columns["task"] = pa.DictionaryArray.from_arrays(data.task, texts).cast(pa.string())
    return pa.table(columns, schema=arrow_schema())


def _write_shard(stage: Path, index: int, table: pa.Table) -> _Shard:
    path = stage / f"shard-{index:05d}.parquet"
    pq.write_table(table, path, compression="zstd")
    raw = path.read_bytes()
    return _Shard(path.name, len(table), len(raw), hashlib.sha256(raw).hexdigest())


def _read_manifest(path: Path) -> tuple[dict[str, Any], list[_Shard]]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataSetError(f"{path}: must be JSON: {error}") from error
    version = record.get("schema_version") if isinstance(record, dict) else None
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise DataSetError(
            f"{path}: `schema_version` must be an integer from 1 to {SCHEMA_VERSION}, which this version of "
            f"the package reads, found {version!r}"
        )
    try:
        shards = [_Shard(**shard) for shard in record["shards"]]
        total, metadata = record["n_rows"], record["metadata"]
    except (KeyError, TypeError) as error:
        raise DataSetError(f"{path}: must hold `shards`, `n_rows` and `metadata`: {error!r}") from error
    if not isinstance(metadata, dict):
        raise DataSetError(f"{path}: `metadata` must be an object, found {metadata!r}")
    for shard in shards:
        if not (isinstance(shard.file, str) and _SHARD_NAME.fullmatch(shard.file)):
            raise DataSetError(f"{path}: `file` must look like 'shard-00000.parquet', found {shard.file!r}")
        for name in ("n_rows", "n_bytes"):
            value = getattr(shard, name)
            if type(value) is not int or value < 1:
                raise DataSetError(f"{path}: `{name}` of {shard.file} must be positive, found {value!r}")
    if total != sum(shard.n_rows for shard in shards):
        raise DataSetError(f"{path}: `n_rows` must be the sum over the shards, found {total!r}")
    return metadata, shards


def _read_shard(directory: Path, shard: _Shard) -> pa.Table:
    path = directory / shard.file
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise DataSetError(f"{path}: must exist, as {MANIFEST} names it") from error
    if len(raw) != shard.n_bytes:
        what = "truncated" if len(raw) < shard.n_bytes else "changed"
        raise DataSetError(f"{path}: {what}: must have {shard.n_bytes} bytes, found {len(raw)}")
    digest = hashlib.sha256(raw).hexdigest()
    if digest != shard.sha256:
        raise DataSetError(f"{path}: changed: SHA-256 must be {shard.sha256}, found {digest}")
    try:
        table = pq.ParquetFile(pa.BufferReader(raw), read_dictionary=["task"]).read()
    except (pa.ArrowException, OSError) as error:
        raise DataSetError(f"{path}: must be a Parquet file: {error}") from error
    if table.num_rows != shard.n_rows:
        raise DataSetError(f"{path}: must have {shard.n_rows} rows, found {table.num_rows}")
    if tuple(table.column_names) != COLUMN_NAMES:
        raise DataSetError(f"{path}: columns must be {list(COLUMN_NAMES)}, found {table.column_names}")
    for column in COLUMNS:
        found = table.schema.field(column.name).type
        plain = found.value_type if pa.types.is_dictionary(found) else found
        if plain != column.arrow_type or table.column(column.name).null_count:
            raise DataSetError(
                f"{path}: `{column.name}` must be {column.arrow_type} without nulls, found {found} "
                f"with {table.column(column.name).null_count} nulls"
            )
    return table


def _fill(arrays: dict[str, Array], start: int, table: pa.Table, codes: dict[str, int]) -> None:
    """Copies a shard's rows into the arrays from `start` on, giving new tasks the next codes."""
    rows = slice(start, start + table.num_rows)
    for index, name in enumerate(OBSERVATION_COLUMNS):
        arrays["observation"][rows, index] = table.column(name).to_numpy()
    for name, array in arrays.items():
        if name not in ("observation", "task"):
            array[rows] = table.column(name).to_numpy()
    tasks = table.column("task").unify_dictionaries().combine_chunks()
    texts = tasks.dictionary.to_pylist()
    recoded = np.array([codes.setdefault(text, len(codes)) for text in texts], np.int32)
    arrays["task"][rows] = recoded[tasks.indices.to_numpy()]
