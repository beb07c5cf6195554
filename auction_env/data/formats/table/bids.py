"""Logs of single bids, of which won ones alone tell a price: summed up, while they are read, to a table of ticks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from auction_env.data.formats.table.cells import Int, clock
from auction_env.data.formats.table.frames import batches, column_names
from auction_env.data.formats.table.problems import TableError, TableProblem
from auction_env.names import check_name, nearest

TimeUnit = Literal["timestamp", "s", "ms", "yyyyMMddHHmmssSSS"]
"""How a log writes times: timestamps, Unix seconds or milliseconds, or iPinYou's 17 digits."""
Progress = Callable[[int], None]
"""Called with the number of rows of each block."""

BID_COLUMNS = {
    "campaign": "who bids: a name or a number; needed",
    "time": "when; needed",
    "bid": "the bid; needed",
    "price": "what was paid for it; empty where the bid lost; needed",
    "clicks": "0 or 1, or a number; nothing: 0",
    "conversions": "the same",
    "value": "gross merchandise value of the conversions, currency; nothing: 0",
}
"""What a log of bids may have."""

NEEDED = ("campaign", "time", "bid", "price")
_KEY = ["campaign", "period", "tick"]
_AMOUNTS = ("clicks", "conversions", "value")
_ROWS_HELD = 1 << 20  # of partial sums, before they are added up


def sum_bids(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    ticks: int = 48,
    mapping: Mapping[str, str] | None = None,
    price_unit: float = 1.0,
    time_unit: TimeUnit = "timestamp",
    progress: Progress | None = None,
) -> pa.Table:
    """Sums logs of single bids up to the table that `from_table` reads: a row a campaign and tick with a bid.

    The logs are read in blocks: memory grows with the number of ticks, not with that of the bids.

    Args:
        paths: CSV or Parquet files (endings as of `from_table`), in any order of rows.
        ticks: Ticks of a day.
        mapping: By the name of `BID_COLUMNS`, what the logs call it, where that is another name.
        price_unit: Impressions that bids and prices are for: 1,000 where they are CPMs.
        time_unit: How times are written.
        progress: Told after every block.

    Returns:
        Columns campaign, period, tick, bid (mean, per impression), volume, impressions (won), cost, and those of
        clicks, conversions and value that the logs have.

    Raises:
        FileNotFoundError: A file is not there.
        TableError: A file is damaged, lacks a column, or holds a cell that breaks a rule.
        ValueError: An unknown column, unit or ending.
    """
    if ticks < 1:
        raise ValueError(f"`ticks` must be at least 1, found {ticks}")
    if not (np.isfinite(price_unit) and price_unit > 0):
        raise ValueError(f"`price_unit` must be positive, found {price_unit}")
    check_name("time_unit", time_unit, get_args(TimeUnit))
    for name in mapping or {}:
        check_name("mapping", name, BID_COLUMNS, rule="must give columns of")
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise ValueError("`paths` must name at least one log, found none")
    files, held = [Path(path) for path in given], list[pa.Table]()
    names = _names(files, mapping or {})
    for path in files:
        for block in _blocks(path, names, time_unit):
            held.append(_sums(block, ticks, price_unit))
            if sum(len(part) for part in held[1:]) > _ROWS_HELD:
                held = [_added(held)]
            if progress is not None:
                progress(len(block["time"]))
    if not held:
        raise TableError([TableProblem(str(files[0]), None, "", "must have rows, found none")])
    total = _added(held)
    mean = pc.divide(total.column("bid"), total.column("volume"))
    total = total.set_column(total.column_names.index("bid"), "bid", mean)
    names_of = total.column("campaign")
    if pc.all(pc.match_substring_regex(names_of, r"^\d{1,9}$")).as_py():  # numbers stay numbers
        total = total.set_column(0, "campaign", names_of.cast(pa.int64()))
    return total


def _names(files: Sequence[Path], mapping: Mapping[str, str]) -> dict[str, str]:
    """By column, what all the logs call it."""
    names: dict[str, str] = {}
    problems = []
    for path in files:
        here = column_names(path)
        own = {name: mapping.get(name, name) for name in BID_COLUMNS if name in mapping or name in here}
        for name in (*NEEDED, *mapping):
            theirs = mapping.get(name, name)
            if theirs not in here:
                what = f"must be a column, for `{name}` ({BID_COLUMNS[name]}): it has {here}{nearest(theirs, here)}"
                problems.append(TableProblem(str(path), None, theirs, f"{what}: --map {name}=YOURS"))
        if names and own != names:
            other = sorted({*own} ^ {*names})
            if other:
                problems.append(TableProblem(str(path), None, other[0], f"must be in all files or in none: {files[0]}"))
        names = names or own
    if problems:
        raise TableError(list(dict.fromkeys(problems)))
    return names


def _blocks(path: Path, names: Mapping[str, str], time_unit: TimeUnit) -> Iterator[dict[str, Any]]:
    """The columns of a log, block by block, checked."""
    times = pa.timestamp("ms") if time_unit == "timestamp" else pa.int64()
    types = {"campaign": pa.string(), "time": times}
    wanted = {theirs: types.get(name, pa.float64()) for name, theirs in names.items()}
    first = 1
    for table in batches(path, wanted):
        block = {name: table.column(theirs) for name, theirs in names.items()}
        problems = [
            problem for name, column in block.items() for problem in _wrong(path, names[name], name, column, first)
        ]
        if problems:
            raise TableError(sorted(problems, key=lambda problem: problem.row or 0))
        seconds = _seconds(block["time"], time_unit)
        first += table.num_rows
        yield block | {"time": seconds}


def _wrong(path: Path, theirs: str, name: str, column: pa.ChunkedArray, first: int) -> Iterator[TableProblem]:
    """The cells of a block that break their rule; `first` is the number of its first row."""
    if name in ("campaign", "time", "bid"):
        is_empty = column.is_null()
        if name == "campaign":
            is_empty = pc.or_(is_empty, pc.equal(pc.fill_null(column, ""), ""))
        for row in np.flatnonzero(is_empty.to_numpy()):
            yield TableProblem(str(path), first + int(row), theirs, "must not be empty")
    if name in ("campaign", "time"):
        return
    values = pc.fill_null(column, 0.0).to_numpy()
    for row in np.flatnonzero(~((values >= 0) & (values < np.inf))):
        hint = "; leave the price of a lost bid empty" if name == "price" else ""
        rule = f"must be a number that is not negative, found {values[row]:.15g}{hint}"
        yield TableProblem(str(path), first + int(row), theirs, rule)


def _seconds(times: pa.ChunkedArray, unit: TimeUnit) -> Int:
    """Seconds since 1970."""
    numbers: Int = times.cast(pa.int64()).to_numpy()
    if unit == "s":
        return numbers
    if unit in ("ms", "timestamp"):
        return numbers // 1000
    date, clock_time = np.divmod(numbers, 10**9)
    year, month, day = date // 10_000, date // 100 % 100, date % 100
    months = (year - 1970) * 12 + month - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day - 1
    seconds: Int = (
        days * 86_400 + clock_time // 10**7 * 3600 + clock_time // 10**5 % 100 * 60 + clock_time // 1000 % 100
    )
    return seconds


def _sums(block: Mapping[str, Any], ticks: int, price_unit: float) -> pa.Table:
    """A block's sums by campaign and tick."""
    period, tick = clock(block["time"], ticks)
    n, price = len(period), block["price"]
    columns = {
        "campaign": block["campaign"],
        "period": period,
        "tick": tick,
        "bid": pc.divide(block["bid"], price_unit),
        "volume": np.ones(n),
        "impressions": price.is_valid().cast(pa.float64()),
        "cost": pc.divide(pc.fill_null(price, 0.0), price_unit),
        **{name: pc.fill_null(block[name], 0.0) for name in _AMOUNTS if name in block},
    }
    return _added([pa.table(columns)])


def _added(parts: Sequence[pa.Table]) -> pa.Table:
    """Sums by campaign and tick, in the order of these."""
    table = pa.concat_tables(parts)
    amounts = [name for name in table.column_names if name not in _KEY]
    sums = table.group_by(_KEY, use_threads=False).aggregate([(name, "sum") for name in amounts])
    return sums.select([*_KEY, *(f"{name}_sum" for name in amounts)]).rename_columns([*_KEY, *amounts])
