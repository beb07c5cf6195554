"""Reads Criteo's attribution log: what it can give a bidding platform, and nothing that it cannot."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from auction_env.data.formats.criteo.delays import ConversionDelays, DelayCounts
from auction_env.data.formats.table.cells import clock
from auction_env.data.formats.table.frames import batches, column_names
from auction_env.data.formats.table.problems import TableError, TableProblem
from auction_env.data.formats.table.sums import added, all_added, sums_schema
from auction_env.files import own_directory, staged_directory

Progress = Callable[[int], None]
"""Called with the number of rows of each block."""

COLUMNS = {
    "timestamp": pa.int64(), "campaign": pa.int64(), "conversion": pa.int64(), "conversion_timestamp": pa.int64(),
    "attribution": pa.int64(), "click": pa.int64(), "click_pos": pa.int64(), "click_nb": pa.int64(),
    "cost": pa.float64(), "cpo": pa.float64(),
}  # fmt: skip
"""The columns that are used; -1 stands for none."""
AMOUNTS = ("impressions", "clicks", "conversions", "cost", "cpo")
"""The sums of a campaign's tick: conversions are those attributed to a last click, `cpo` what is paid for them."""
TICKS, DELAYS = "ticks.parquet", "delays.json"
"""The files of a result."""

_FLAGS = ("conversion", "attribution", "click")


class CriteoSummary(NamedTuple):
    """What was read and written.

    Attributes:
        n_impressions: Rows of the log.
        n_campaigns: Their campaigns.
        n_rows: Of the sums by campaign and tick.
        delays: How late conversions come; None if none has a last click.
    """

    n_impressions: int
    n_campaigns: int
    n_rows: int
    delays: ConversionDelays | None


def import_criteo(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    ticks: int = 48,
    force: bool = False,
    progress: Progress | None = None,
) -> CriteoSummary:
    """Sums Criteo's attribution log up by campaign and tick, and fits how late conversions come after the last click.

    The result is a directory with `ticks.parquet` and `delays.json`, whole or not at all. It is no data set of
    trajectories: the log has no bids, budgets or lost auctions. Costs and `cpo` are transformed, so they have no unit.
    The log does not tell the time of day: days and ticks are counted from its first impression.

    Args:
        path: The log: `.tsv`, `.tsv.gz` or Parquet, with its header.
        out: Directory of the result.
        ticks: Ticks of a day.
        force: Whether a result at `out` is replaced.
        progress: Told after every block.

    Raises:
        FileExistsError: `out` holds files and `force` is False, or files of something else.
        FileNotFoundError: The log is not there.
        TableError: The log is damaged, lacks a column, or holds a cell that breaks a rule.
        ValueError: No tick, or another ending.
    """
    if ticks < 1:
        raise ValueError(f"`ticks` must be at least 1, found {ticks}")
    source = Path(path)
    target = own_directory(out, "a result of `import_criteo`", {TICKS, DELAYS}.__contains__, force=force)
    here = column_names(source)
    lacking = [name for name in COLUMNS if name not in here]
    if lacking:
        raise TableError([TableProblem(str(source), None, name, f"must be a column, found {here}") for name in lacking])
    counts = DelayCounts()
    sums = all_added(_sums(source, ticks, counts, progress), sums_schema(pa.int64(), AMOUNTS))
    if not sums.num_rows:
        raise TableError([TableProblem(str(source), None, "", "must have rows, found none")])
    delays = counts.delays()
    with staged_directory(target) as stage:
        pq.write_table(sums.sort_by([(name, "ascending") for name in ("period", "campaign", "tick")]), stage / TICKS)
        record = {"n_ticks": ticks, "source": str(source), "delays": None if delays is None else delays.to_json()}
        (stage / DELAYS).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    n_impressions = int(pc.sum(sums.column("impressions")).as_py())
    return CriteoSummary(n_impressions, pc.count_distinct(sums.column("campaign")).as_py(), sums.num_rows, delays)


def read_delays(directory: str | os.PathLike[str]) -> ConversionDelays:
    """The delays that `import_criteo` has written.

    Raises:
        FileNotFoundError: There is no such result.
        ValueError: The file is another, or the log had no conversion with a last click.
    """
    path = Path(directory) / DELAYS
    if not path.is_file():
        raise FileNotFoundError(f"{directory} must be a result of `import_criteo`: it has no {DELAYS}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["delays"]
        delays = None if found is None else ConversionDelays.from_json(found)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must hold what `import_criteo` writes: {error!r}") from error
    if delays is None:
        raise ValueError(f"{path} must hold delays, found none: no conversion of the log has a last click")
    return delays


def _sums(path: Path, ticks: int, counts: DelayCounts, progress: Progress | None) -> Iterator[pa.Table]:
    """The sums of each block; its delays are counted."""
    first = 1
    for table in batches(path, COLUMNS):
        cells = _checked(path, table, first)
        first += table.num_rows
        is_last_click = (
            (cells["click"] == 1) & (cells["click_pos"] == cells["click_nb"] - 1) & (cells["conversion"] == 1)
        )
        counts.add(cells["timestamp"][is_last_click], cells["conversion_timestamp"][is_last_click])
        is_attributed = is_last_click & (cells["attribution"] == 1)
        period, tick = clock(cells["timestamp"], ticks)
        columns = {
            "campaign": cells["campaign"],
            "period": period,
            "tick": tick,
            "impressions": np.ones(len(tick)),
            "clicks": cells["click"].astype(np.float64),
            "conversions": is_attributed.astype(np.float64),
            "cost": cells["cost"],
            "cpo": np.where(is_attributed, np.maximum(cells["cpo"], 0.0), 0.0),
        }
        yield added([pa.table(columns)])
        if progress is not None:
            progress(table.num_rows)


def _checked(path: Path, table: pa.Table, first: int) -> dict[str, NDArray[Any]]:
    """The columns of a block as arrays; `first` is the number of its first row."""
    problems = list[TableProblem]()

    def note(name: str, is_wrong: NDArray[np.bool_], rule: str) -> None:
        for row in np.flatnonzero(is_wrong)[:1]:
            found = table.column(name)[int(row)].as_py()
            problems.append(TableProblem(str(path), first + int(row), name, f"{rule}, found {found}"))

    for name in COLUMNS:
        if table.column(name).null_count:
            note(name, table.column(name).is_null().to_numpy(), "must not be empty (-1 stands for none)")
    if problems:
        raise TableError(problems)
    cells = {name: table.column(name).to_numpy() for name in COLUMNS}
    note("timestamp", cells["timestamp"] < 0, "must be seconds since the first impression, not negative")
    for name in _FLAGS:
        note(name, (cells[name] != 0) & (cells[name] != 1), "must be 0 or 1")
    note("cost", ~((cells["cost"] >= 0) & (cells["cost"] < np.inf)), "must be a number that is not negative")
    is_price = (cells["cpo"] >= 0) & (cells["cpo"] < np.inf)
    note("cpo", ~is_price & (cells["cpo"] != -1), "must be a number that is not negative, or -1")
    is_early = (cells["conversion"] == 1) & (cells["conversion_timestamp"] < cells["timestamp"])
    note("conversion_timestamp", is_early, "must not be before `timestamp` where `conversion` is 1")
    if problems:
        raise TableError(sorted(problems, key=lambda problem: problem.row or 0))
    return cells
