"""The manifest of a trajectory data set: versions, parameters, statistics, splits, and the shards with checksums."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from auction_env.data.schema import COLUMN_NAMES, COLUMNS, SCHEMA_VERSION
from auction_env.data.statistics import Statistics, merge_statistics, table_statistics
from auction_env.files import write_atomically
from auction_env.version import __version__

_DISTRIBUTION = "vamo-bidding"
MANIFEST = "manifest.json"
SHARD_NAME = re.compile(r"shard-\d{5,}\.parquet")
ROWS_PER_GROUP = 32_768  # of a Parquet file: what a filter can skip
_FEW_VALUED = [column.name for column in COLUMNS if column.dtype != "float64"]
"""Columns for which a dictionary is worth its time: that of measured numbers would be as long as the column."""


class DataSetError(ValueError):
    """A directory that is not a sound trajectory data set; names the file, the rule and the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A shard as the manifest describes it.

    Attributes:
        file: Name within the directory.
        n_rows, n_bytes, sha256: Of the file.
        columns: Statistics by column; empty in a data set of version 1.
    """

    file: str
    n_rows: int
    n_bytes: int
    sha256: str
    columns: dict[str, Statistics] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the manifest says.

    Attributes:
        schema_version, code_version: Of the writer.
        n_episodes: Number of distinct (period, advertiser).
        metadata: What the writer noted about the data: JSON values.
        parameters: What the data was made with (market, population, seeds, policies): JSON values.
        shards: The files with the rows.
        splits: The split of the episodes (`auction_env.data.splits`); None if there is none.
    """

    shards: tuple[Shard, ...]
    n_episodes: int
    metadata: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, Any] | None = None
    schema_version: int = SCHEMA_VERSION
    code_version: str = ""

    @property
    def n_rows(self) -> int:
        return sum(shard.n_rows for shard in self.shards)

    @property
    def columns(self) -> dict[str, Statistics]:
        """Statistics of the whole data set by column; empty in a data set of version 1."""
        if not all(shard.columns for shard in self.shards):
            return {}
        return merge_statistics([(shard.n_rows, shard.columns) for shard in self.shards])

    @property
    def digest(self) -> str:
        """SHA-256 over the schema's columns and the shards: equal for equal rows in equal files."""
        text = json.dumps([COLUMN_NAMES, self.schema_version, [shard.sha256 for shard in self.shards]])
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        record = {
            "schema_version": self.schema_version,
            "code_version": self.code_version or code_version(),
            "n_rows": self.n_rows,
            "n_episodes": self.n_episodes,
            "metadata": self.metadata,
            "parameters": self.parameters,
            "splits": self.splits,
            "columns": self.columns,
            "shards": [dataclasses.asdict(shard) for shard in self.shards],
        }
        return json.dumps(record, indent=1, allow_nan=False) + "\n"


def code_version() -> str:
    """Version of the installed distribution; the package's own where it runs without being installed."""
    try:
        return importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return __version__


def json_values(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as JSON gives them back; ValueError, naming the argument, if JSON cannot hold them."""
    try:
        noted: dict[str, Any] = json.loads(json.dumps(dict(values), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must hold JSON values, found {values!r}: {error}") from error
    return noted


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Puts the manifest in its place, whole."""
    write_atomically(directory / MANIFEST, manifest.to_json().encode())


def read_manifest(directory: str | os.PathLike[str]) -> Manifest:
    """The manifest of a data set.

    Raises:
        FileNotFoundError: The directory has no manifest.
        DataSetError: The manifest is not understood or was written by a newer version of the schema.
    """
    path = Path(directory) / MANIFEST
    if not path.is_file():
        inside = sorted(str(found.parent) for found in path.parent.glob(f"*/{MANIFEST}"))
        hint = f"; data sets in it: {', '.join(inside)}" if inside else ""
        raise FileNotFoundError(f"{path.parent} must be a trajectory data set: it has no {MANIFEST}{hint}")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataSetError(f"{path}: must be JSON: {error}") from error
    version = record.get("schema_version") if isinstance(record, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:
        raise DataSetError(
            f"{path}: `schema_version` must be {SCHEMA_VERSION}, which this version of the package reads, "
            f"found {version!r}"
        )
    try:
        manifest = Manifest(
            shards=tuple(Shard(**shard) for shard in record["shards"]),
            n_episodes=record["n_episodes"],
            metadata=record["metadata"],
            parameters=record["parameters"],
            splits=record["splits"],
            schema_version=version,
            code_version=str(record.get("code_version", "")),
        )
    except (KeyError, TypeError) as error:
        rule = "must hold `shards`, `n_rows`, `metadata`, `parameters` and `splits`"
        raise DataSetError(f"{path}: {rule}: {error!r}") from error
    _check(path, manifest, record.get("n_rows"))
    return manifest


def _check(path: Path, manifest: Manifest, n_rows: object) -> None:
    for name in ("metadata", "parameters"):
        if not isinstance(getattr(manifest, name), dict):
            raise DataSetError(f"{path}: `{name}` must be an object, found {getattr(manifest, name)!r}")
    for shard in manifest.shards:
        if not (isinstance(shard.file, str) and SHARD_NAME.fullmatch(shard.file)):
            raise DataSetError(f"{path}: `file` must look like 'shard-00000.parquet', found {shard.file!r}")
        for name in ("n_rows", "n_bytes"):
            value = getattr(shard, name)
            if type(value) is not int or value < 1:
                raise DataSetError(f"{path}: `{name}` of {shard.file} must be positive, found {value!r}")
        if set(shard.columns) != set(COLUMN_NAMES):
            missing, foreign = (
                sorted(set(COLUMN_NAMES) - set(shard.columns)),
                sorted(set(shard.columns) - {*COLUMN_NAMES}),
            )
            rule = f"`columns` of {shard.file} must be those of the schema"
            raise DataSetError(f"{path}: {rule}, missing: {missing}, not of the schema: {foreign}")
    names = [shard.file for shard in manifest.shards]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataSetError(f"{path}: `shards` must name a file once, found {twice} twice")
    if not manifest.shards or n_rows != manifest.n_rows:
        raise DataSetError(f"{path}: `n_rows` must be the sum over the shards, found {n_rows!r}")


def write_shard(directory: Path, index: int, table: pa.Table) -> Shard:
    """Writes a shard under its final name, whole; returns its entry in the manifest."""
    path = directory / f"shard-{index:05d}.parquet"
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=_FEW_VALUED, row_group_size=ROWS_PER_GROUP)
    raw = sink.getvalue().to_pybytes()
    write_atomically(path, raw)
    return Shard(
        file=path.name,
        n_rows=table.num_rows,
        n_bytes=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        columns=table_statistics(table),
    )


def read_shard(
    directory: Path,
    shard: Shard,
    *,
    columns: Sequence[str] = COLUMN_NAMES,
    filters: Any = None,
) -> pa.Table:
    """The rows of a shard, after its bytes and its schema were checked.

    Args:
        directory: Of the data set.
        shard: Its entry.
        columns: The columns wanted.
        filters: Arrow expression that the rows must meet; row groups that cannot meet it are not decoded.

    Raises:
        DataSetError: The file is missing, truncated, changed or of another schema.
    """
    path = directory / shard.file
    raw = _verified_bytes(path, shard)
    try:
        file = pq.ParquetFile(pa.BufferReader(raw))
        _check_schema(path, shard, file)
        table = _read_rows(raw, file, columns, filters)
    except (pa.ArrowException, OSError) as error:
        raise DataSetError(f"{path}: must be a Parquet file: {error}") from error
    for name in columns:
        if table.column(name).null_count:
            raise DataSetError(f"{path}: `{name}` must not hold nulls, found {table.column(name).null_count}")
    return table.select(list(columns))


def _read_rows(raw: pa.Buffer, file: pq.ParquetFile, columns: Sequence[str], filters: Any) -> pa.Table:
    if filters is None:
        return file.read(columns=list(columns))
    if file.num_row_groups == 1 and set(columns) == set(COLUMN_NAMES):
        # the scanner of data sets skips row groups and columns; where there are none to skip, decoding all is sooner
        return file.read().filter(filters)
    return pq.read_table(pa.BufferReader(raw), columns=list(columns), filters=filters)


def read_buffer(path: Path) -> pa.Buffer:
    """The bytes of a file, owned by Arrow.

    Arrow decodes on threads of its own, which may drop what they read from last, after the result is there. To drop
    bytes of Python's they need the interpreter, and abort the process if it is shutting down by then.

    Raises:
        OSError: It cannot be read.
    """
    with pa.OSFile(str(path)) as file:
        return file.read_buffer()


def _verified_bytes(path: Path, shard: Shard) -> pa.Buffer:
    try:
        raw = read_buffer(path)
    except FileNotFoundError as error:
        raise DataSetError(f"{path}: must exist, as {MANIFEST} names it") from error
    if len(raw) != shard.n_bytes:
        what = "truncated" if len(raw) < shard.n_bytes else "changed"
        raise DataSetError(f"{path}: {what}: must have {shard.n_bytes} bytes, found {len(raw)}")
    digest = hashlib.sha256(raw).hexdigest()
    if digest != shard.sha256:
        raise DataSetError(f"{path}: changed: SHA-256 must be {shard.sha256}, found {digest}")
    return raw


def _check_schema(path: Path, shard: Shard, file: pq.ParquetFile) -> None:
    if file.metadata.num_rows != shard.n_rows:
        raise DataSetError(f"{path}: must have {shard.n_rows} rows, found {file.metadata.num_rows}")
    schema = file.schema_arrow
    if tuple(schema.names) != COLUMN_NAMES:
        raise DataSetError(f"{path}: columns must be {list(COLUMN_NAMES)}, found {schema.names}")
    for column in COLUMNS:
        if schema.field(column.name).type != column.arrow_type:
            raise DataSetError(
                f"{path}: `{column.name}` must be {column.arrow_type}, found {schema.field(column.name).type}"
            )
