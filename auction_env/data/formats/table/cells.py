"""The cells of a table's columns as arrays; notes every cell that breaks the rule of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from auction_env.data.formats.table.columns import Kind
from auction_env.data.formats.table.problems import Problems

Array = NDArray[Any]
Float = NDArray[np.float64]
Int = NDArray[np.int64]

MAX_INT32 = 2**31 - 1
_SECONDS_A_DAY = 86_400


def together(parts: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    """The columns of all parts as one; numbers of different types, as CSV files may have them, become float64."""
    types = {part.type for part in parts}
    if len(types) > 1:
        is_number = all(pa.types.is_integer(one) or pa.types.is_floating(one) or pa.types.is_null(one) for one in types)
        parts = [part.cast(pa.float64() if is_number else pa.string()) for part in parts]
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks], type=parts[0].type)


def read_cells(name: str, column: pa.ChunkedArray, kind: Kind, problems: Problems) -> Array:
    """The cells as numbers (float64; `time` as seconds since 1970), or texts of `policy`; notes what is wrong."""
    if kind == "policy":
        if pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
        texts: Array = pc.fill_null(column.cast(pa.string()), "").to_numpy(zero_copy_only=False)
        return texts
    if kind == "time":
        return _times(name, column, problems)
    if kind == "period" and pa.types.is_temporal(column.type):
        column = column.cast(pa.date32()).cast(pa.int32())
    found = _numbers(name, column, problems)
    if found is None:
        return np.zeros(len(column))
    values: Float = found
    rule, is_wrong = _rule(kind, values)
    problems.add(name, np.flatnonzero(is_wrong), lambda row: f"{rule}, found {values[row]:.15g}")
    if is_wrong.any():
        values = np.where(is_wrong, 1.0, values)
    return values


def _rule(kind: str, values: Float) -> tuple[str, NDArray[np.bool_]]:
    """The rule of a kind's cells, and which break it."""
    if kind == "amount":
        return "must be a number that is not negative", ~((values >= 0) & (values < np.inf))
    if kind == "target":
        return "must be a positive number", ~((values > 0) & (values < np.inf))
    is_signed = kind in ("period", "integer")
    low, high = (-(2.0**53), 2.0**53) if is_signed else (0.0, float(MAX_INT32))
    with np.errstate(invalid="ignore"):
        is_right = (values >= low) & (values <= high) & (values == np.floor(values))
    texts = {"period": "must be an integer or a date", "integer": "must be an integer"}
    return texts.get(kind, f"must be an integer from 0 to {MAX_INT32}"), ~is_right


def _numbers(name: str, column: pa.ChunkedArray, problems: Problems) -> Float | None:
    """The cells as float64; None where they are no numbers, which is noted."""
    if column.null_count:
        empty = np.flatnonzero(column.is_null().to_numpy())
        hint = "write 0 if there was none, or leave the column out if it was not recorded"
        problems.add(name, empty, f"must hold a number, found an empty cell: {hint}")
        column = column.drop_null() if column.null_count == len(column) else pc.fill_null(column, _filler(column.type))
        if not len(column):
            return None
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        cells = column.to_pylist()
        wrong = [row for row, cell in enumerate(cells) if not _is_number(cell)]
        problems.add(
            name, wrong, lambda row: f"must hold a number (decimal point, no separators), found {cells[row]!r}"
        )
        return None if wrong else np.array(cells, np.float64)
    try:
        return np.asarray(column.cast(pa.float64()).to_numpy())
    except pa.ArrowException:
        problems.add(name, 0, f"must hold numbers, found {column.type}")
        return None


def _filler(dtype: pa.DataType) -> Any:
    """A cell that breaks no rule, in place of an empty one that is noted already."""
    return pa.scalar("1") if pa.types.is_string(dtype) or pa.types.is_large_string(dtype) else pa.scalar(1).cast(dtype)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _times(name: str, column: pa.ChunkedArray, problems: Problems) -> Int:
    """Seconds since 1970 on the clock of the table's own time zone."""
    rule = "must hold times (2026-01-31 23:59:00, or a timestamp column)"
    if column.null_count:
        problems.add(name, np.flatnonzero(column.is_null().to_numpy()), f"{rule}, found an empty cell")
        return np.zeros(len(column), np.int64)
    if not pa.types.is_timestamp(column.type):
        problems.add(name, 0, f"{rule}, found {column.type} {column[0]}")
        return np.zeros(len(column), np.int64)
    if column.type.tz is not None:
        column = pc.local_timestamp(column)
    return np.asarray(column.cast(pa.timestamp("s"), safe=False).cast(pa.int64()).to_numpy())


def clock(seconds: Int, ticks: int) -> tuple[Int, Int]:
    """The day (since 1970-01-01) and the tick of each time."""
    day, second = np.divmod(seconds, _SECONDS_A_DAY)
    return day, second * ticks // _SECONDS_A_DAY


def read_campaigns(column: pa.ChunkedArray, problems: Problems) -> tuple[Int, tuple[str, ...]]:
    """The campaigns as numbers, and the names that they stand for in alphabetical order."""
    if pa.types.is_integer(column.type) and not column.null_count:
        numbers = np.asarray(column.cast(pa.int64()).to_numpy())
        wrong = (numbers < 0) | (numbers > MAX_INT32)
        rule = f"must be a text or an integer from 0 to {MAX_INT32}"
        problems.add("campaign", np.flatnonzero(wrong), lambda row: f"{rule}, found {numbers[row]}")
        return np.where(wrong, 0, numbers), ()
    if column.null_count:
        problems.add("campaign", np.flatnonzero(column.is_null().to_numpy()), "must be named, found an empty cell")
    texts = pc.fill_null(column.cast(pa.string()), "")
    coded = texts.combine_chunks().dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    names = coded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return rank[coded.indices.to_numpy()], tuple(names[index] for index in order)
