"""Logs of single bids, of which won ones alone tell a price: summed up, while they are read, to a table of ticks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from auction_env.data.formats.sources import Source, import_plan
from auction_env.data.formats.table.cells import Int, clock
from auction_env.data.formats.table.frames import batches, column_names
from auction_env.data.formats.table.kept import kept_table
from auction_env.data.formats.table.problems import TableError, TableProblem
from auction_env.data.formats.table.sums import added, all_added, sums_schema
from auction_env.data.formats.table.trajectories import TableSummary, import_table
from auction_env.data.staging import open_stage
from auction_env.names import check_name, nearest
from auction_env.tasks import Task, get_task

DIGITS: Final = "yyyyMMddHHmmssSSS"
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
_AMOUNTS = ("clicks", "conversions", "value")


def import_bids(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    task: str | Task,
    ticks: int = 48,
    mapping: Mapping[str, str] | None = None,
    constants: Mapping[str, float] | None = None,
    price_unit: float = 1.0,
    time_unit: TimeUnit = "timestamp",
    force: bool = False,
    progress: Progress | None = None,
) -> TableSummary:
    """Sums logs of single bids up (`sum_bids`) and writes them as a trajectory data set.

    An import that was killed goes on, when it is called again with the same arguments and files, behind the last file
    that was summed up. The data set has the same bytes as that of an uninterrupted import.

    Args:
        paths: The logs.
        out: Directory of the data set.
        task: What the campaigns were for.
        ticks: Ticks of a day.
        mapping: As of `sum_bids`.
        constants: Columns that are the same for all ticks, such as `budget`; as of `from_table`.
        price_unit, time_unit: As of `sum_bids`.
        force: Whether a data set at `out`, or unfinished work with other arguments, is replaced.
        progress: Told after every block.

    Raises:
        FileExistsError: `out` holds files (see `auction_env.data.write`), or unfinished work with other arguments.
        FileNotFoundError, TableError, ValueError: As of `sum_bids` and `from_table`; nothing is left at `out`.
    """
    chosen, files = get_task(task), _files(paths)
    given = {"ticks": ticks, "mapping": dict(mapping or {}), "constants": dict(constants or {})}
    units = {"price_unit": price_unit, "time_unit": time_unit}
    plan = import_plan([Source.of(path) for path in files]) | given | units | {"task": chosen.to_json()}
    with open_stage(out, plan, force=force, hopeless=(ValueError,)) as stage:
        table = sum_bids(
            files, ticks=ticks, mapping=mapping, price_unit=price_unit, time_unit=time_unit, keep=stage.path,
            progress=progress,
        )  # fmt: skip
        return import_table(
            table, out, task=chosen, ticks=ticks, constants=constants, force=force,
            metadata={"source": "bids", "files": [str(path) for path in files]},
        )  # fmt: skip


def sum_bids(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    ticks: int = 48,
    mapping: Mapping[str, str] | None = None,
    price_unit: float = 1.0,
    time_unit: TimeUnit = "timestamp",
    keep: Path | None = None,
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
        keep: A directory for the sums of each file, from which a later call with the same arguments goes on.
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
    files = _files(paths)
    names = _names(files, mapping or {})

    amounts = [name for name in _AMOUNTS if name in names]

    def of_file(path: Path) -> pa.Table:
        blocks = _blocks(path, names, time_unit, progress)
        return added_sums((tick_sums(block, ticks, price_unit) for block in blocks), amounts)

    parts = (
        kept_table(None if keep is None else keep / f"sums-{number:05d}.arrow", partial(of_file, path))
        for number, path in enumerate(files)
    )
    return mean_bids(added_sums(parts, amounts), files[0])


def mean_bids(sums: pa.Table, source: Path) -> pa.Table:
    """The table of summed ticks that `from_table` reads; TableError, naming the source, where there are none."""
    if not sums.num_rows:
        raise TableError([TableProblem(str(source), None, "", "must have rows, found none")])
    mean = pc.divide(sums.column("bid"), sums.column("volume"))
    table = sums.set_column(sums.column_names.index("bid"), "bid", mean)
    names = table.column("campaign")
    if pc.all(pc.match_substring_regex(names, r"^\d{1,9}$")).as_py():  # numbers stay numbers
        table = table.set_column(0, "campaign", names.cast(pa.int64()))
    return table


def _files(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise ValueError("`paths` must name at least one log, found none")
    files = [Path(path) for path in given]
    seen = set[Path]()
    for path in files:
        if path.resolve() in seen:
            raise ValueError(f"`paths` must name a log once, found {path} twice")
        seen.add(path.resolve())
    return files


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


def _blocks(
    path: Path, names: Mapping[str, str], time_unit: TimeUnit, progress: Progress | None
) -> Iterator[dict[str, Any]]:
    """The columns of a log, block by block, checked."""
    kind = pa.timestamp("ms") if time_unit == "timestamp" else pa.int64()
    types = {"campaign": pa.string(), "time": kind}
    wanted = {theirs: types.get(name, pa.float64()) for name, theirs in names.items()}
    first = 1
    for table in batches(path, wanted):
        block = {name: table.column(theirs) for name, theirs in names.items()}
        problems = [
            problem for name, column in block.items() for problem in _wrong(path, names[name], name, column, first)
        ]
        times: Int = pc.fill_null(block["time"].cast(pa.int64()), 0).to_numpy()
        if time_unit == DIGITS and not problems:
            rule = "must be a time as yyyyMMddHHmmssSSS, found"
            problems = [
                TableProblem(str(path), first + row, names["time"], f"{rule} {times[row]}")
                for row in wrong_digits(times)
            ]
        if problems:
            raise TableError(sorted(problems, key=lambda problem: problem.row or 0))
        first += table.num_rows
        yield block | {"time": seconds_of(times, time_unit)}
        if progress is not None:
            progress(table.num_rows)


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


def wrong_digits(times: Int) -> list[int]:
    """The places of numbers that are no times as yyyyMMddHHmmssSSS."""
    year, month, day, hour, minute, second = _digits(times)
    is_date = (year >= 1970) & (year < 10_000) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    is_time = (hour < 24) & (minute < 60) & (second < 60)
    return np.flatnonzero(~(is_date & is_time)).tolist()


def _digits(times: Int) -> tuple[Int, ...]:
    """Year, month, day, hour, minute and second."""
    date, clock_time = np.divmod(times, 10**9)
    hour, minute, second = clock_time // 10**7, clock_time // 10**5 % 100, clock_time // 1000 % 100
    return date // 10_000, date // 100 % 100, date % 100, hour, minute, second


def seconds_of(times: Int, unit: TimeUnit) -> Int:
    """Seconds since 1970."""
    if unit == "s":
        return times
    if unit in ("ms", "timestamp"):
        return times // 1000
    year, month, day, hour, minute, second = _digits(times)
    months = (year - 1970) * 12 + month - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day - 1
    seconds: Int = days * 86_400 + hour * 3600 + minute * 60 + second
    return seconds


def tick_sums(block: Mapping[str, Any], ticks: int, price_unit: float) -> pa.Table:
    """A block of bids summed up by campaign and tick.

    Args:
        block: By column of `BID_COLUMNS`, Arrow arrays (n,), `time` in seconds since 1970; `price` is null where the
            bid lost.
        ticks: Ticks of a day.
        price_unit: Impressions that bids and prices are for.
    """
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
    return added([pa.table(columns)])


def added_sums(parts: Iterable[pa.Table], amounts: Sequence[str]) -> pa.Table:
    """The sums of all parts, which `tick_sums` made with these amounts; without parts a table of no rows."""
    return all_added(parts, sums_schema(pa.string(), ("bid", "volume", "impressions", "cost", *amounts)))
