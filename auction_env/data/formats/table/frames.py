"""Tables of every kind as Arrow tables: data frames through Arrow's C stream, mappings, CSV and Parquet files."""

from __future__ import annotations

import contextlib
import gzip
import os
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.interchange
import pyarrow.parquet as pq

from auction_env.data.formats.table.problems import TableError, TableProblem

CSV_ENDINGS, PARQUET_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz"), (".parquet", ".pq")
_PARQUET_MAGIC, _GZIP_MAGIC = b"PAR1", b"\x1f\x8b"
_NO_UTF8 = "must be text in UTF-8: convert it (iconv -f CODING -t UTF-8)"


def is_path(frame: Any) -> bool:
    """Whether this names a file."""
    return isinstance(frame, str | os.PathLike)


def column_names(frame: Any) -> list[str]:
    """The columns of a table; of a file without reading its rows."""
    if not is_path(frame):
        return list(to_arrow(frame).column_names)
    path = Path(frame)
    _check_ending(path)
    with _reading(path):
        if path.name.endswith(PARQUET_ENDINGS):
            return list(pq.read_schema(path).names)
        with pyarrow.csv.open_csv(path, parse_options=_csv_options(path)) as reader:
            return list(reader.schema.names)


def to_arrow(frame: Any, columns: Collection[str] | None = None) -> pa.Table:
    """The table, or some of its columns.

    Args:
        frame: A path that ends in `.csv`, `.tsv` (both also `.gz`) or `.parquet`; a table of pyarrow, polars, pandas or
            whatever else has Arrow's C stream (`__arrow_c_stream__`) or the interchange protocol (`__dataframe__`);
            a mapping of names to columns.
        columns: Those wanted; all by default.

    Raises:
        FileNotFoundError: The file is not there.
        TableError: The file is not what its name says.
        TypeError: Something else than a table.
        ValueError: A path with another ending.
    """
    if is_path(frame):
        table = _read(Path(frame), columns)
    elif isinstance(frame, pa.Table):
        table = frame
    elif hasattr(frame, "__arrow_c_stream__") or isinstance(frame, Mapping):
        table = pa.table(frame)
    elif hasattr(frame, "__dataframe__"):
        table = pa.interchange.from_dataframe(frame)
    else:
        raise TypeError(
            f"`frame` must be a path, a pandas, polars or pyarrow table or a mapping, found {type(frame).__name__}"
        )
    return table if columns is None else table.select([name for name in table.column_names if name in columns])


def _read(path: Path, columns: Collection[str] | None) -> pa.Table:
    _check_ending(path)
    wanted = None if columns is None else sorted(columns)
    with _reading(path):
        if path.name.endswith(PARQUET_ENDINGS):
            return pq.read_table(path, columns=wanted)
        convert = pyarrow.csv.ConvertOptions(include_columns=wanted)
        table = pyarrow.csv.read_csv(path, parse_options=_csv_options(path), convert_options=convert)
    wrong = [field.name for field in table.schema if pa.types.is_binary(field.type)]  # pyarrow's word for no UTF-8
    if wrong:
        raise TableError([TableProblem(str(path), None, name, _NO_UTF8) for name in wrong])
    return table


def batches(path: Path, types: Mapping[str, pa.DataType]) -> Iterator[pa.Table]:
    """Some columns of a CSV or Parquet file in blocks, as the types given; errors as of `to_arrow`."""
    _check_ending(path)
    schema = pa.schema(list(types.items()))
    with _reading(path):
        if path.name.endswith(PARQUET_ENDINGS):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=list(types)):
                    yield pa.table(batch).select(schema.names).cast(schema)
            return
        try:
            yield from _csv_batches(path, schema)
        except pa.ArrowInvalid as error:
            if "conversion error" in str(error):
                raise TableError([_wrong_cell(path, schema)]) from error
            raise


def _csv_batches(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    convert = pyarrow.csv.ConvertOptions(include_columns=schema.names, column_types=schema)
    with pyarrow.csv.open_csv(path, parse_options=_csv_options(path), convert_options=convert) as reader:
        for batch in reader:
            yield pa.table(batch)


def _wrong_cell(path: Path, schema: pa.Schema) -> TableProblem:
    """The first cell of a CSV file that its column's type does not have; reads the file once more, as bytes."""
    texts, first = pa.schema([(name, pa.binary()) for name in schema.names]), 1
    for table in _csv_batches(path, texts):
        found = [
            (row, field.name, cell)
            for field in schema
            if (place := _first_wrong(table.column(field.name), field.type)) is not None
            for row, cell in [place]
        ]
        if found:
            row, name, cell = min(found)
            try:
                rule = f"must be {_WHAT[_kind(schema.field(name).type)]}, found {cell.decode()!r}"
            except UnicodeDecodeError:
                rule = _NO_UTF8
            return TableProblem(str(path), first + row, name, rule)
        first += table.num_rows
    return TableProblem(str(path), None, "", "must hold cells of its columns' types")


_WHAT = {"integer": "an integer", "time": "a time (2026-01-31 23:59:00)", "number": "a number", "text": "a text"}


def _kind(dtype: pa.DataType) -> str:
    if pa.types.is_string(dtype):
        return "text"
    return "integer" if pa.types.is_integer(dtype) else "time" if pa.types.is_temporal(dtype) else "number"


def _first_wrong(column: pa.ChunkedArray, dtype: pa.DataType) -> tuple[int, bytes] | None:
    """The place and the content of the first cell that cannot be cast; None if all can."""
    cells = column.to_pylist()
    if _is_castable(cells, dtype):
        return None
    low, high = 0, len(cells)  # the cells before `low` are right, those before `high` are not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _is_castable(cells[low:middle], dtype) else (low, middle)
    return low, cells[low]


def _is_castable(cells: list[bytes], dtype: pa.DataType) -> bool:
    try:
        pa.array([cell or None for cell in cells], pa.binary()).cast(pa.string()).cast(dtype)
    except pa.ArrowInvalid:
        return False
    return True


def _check_ending(path: Path) -> None:
    endings = (*CSV_ENDINGS, *PARQUET_ENDINGS)
    if not path.name.endswith(endings):
        raise ValueError(f"{path} must end in one of {', '.join(endings)}, found {path.name!r}")


def _csv_options(path: Path) -> pyarrow.csv.ParseOptions:
    return pyarrow.csv.ParseOptions(delimiter="\t" if ".tsv" in path.name else ",")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Within the block, pyarrow's errors become those of the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a file, but does not exist")
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError, EOFError, OSError) as error:
        raise TableError([TableProblem(str(path), None, "", _reason(path, str(error)))]) from error


def _reason(path: Path, text: str) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    if path.name.endswith(PARQUET_ENDINGS):
        if head == _PARQUET_MAGIC:
            return f"truncated or damaged: must be a whole Parquet file; copy it again: {text}"
        return f"must be a Parquet file, found bytes {head!r} at its start: {text}"
    if path.suffix == ".gz" and head[:2] != _GZIP_MAGIC:
        return f"must be a gzip file, as its name says, found bytes {head!r} at its start"
    if any(word in text for word in ("zlib", "compressed stream", "decompress")):
        return f"truncated or damaged: must be a whole {path.suffix} file; copy it again: {text}"
    if path.suffix == ".gz":
        with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open(path) as unpacked:
            head = unpacked.read(4)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or "UTF" in text.upper():
        return f"{_NO_UTF8}: {text}"
    return f"must be a whole CSV file, every line with the header's number of cells: {text}"


def as_frames(frame: Any) -> Sequence[Any]:
    """The parts of a table: a list or tuple of tables is one table, part after part."""
    parts = frame if isinstance(frame, list | tuple) else [frame]
    if not parts:
        raise ValueError("`frame` must hold at least one table, found none")
    return parts
