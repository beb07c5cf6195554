"""Reads a table into sorted, checked columns; reports everything that is wrong at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auction_env.data.dataset import is_sorted
from auction_env.data.formats.table.cells import clock, read_campaigns, read_cells, together
from auction_env.data.formats.table.columns import ALTERNATIVES, TABLE_COLUMNS
from auction_env.data.formats.table.frames import as_frames, column_names, is_path, to_arrow
from auction_env.data.formats.table.problems import Problems, TableError, TableProblem
from auction_env.names import check_name, nearest

Array = NDArray[Any]
Float = NDArray[np.float64]
Int = NDArray[np.int64]

_RELATIVE = 1e-6  # of the budget: what rounding may add to costs
_NOT_MORE = (("impressions", "wins"), ("impressions", "volume"), ("wins", "volume"))  # the first is at most the second


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRows:
    """The rows of a table, sorted by (period, campaign, tick) and unique; arrays of shape (n,).

    Attributes:
        period, campaign, tick: The key; `campaign` is the advertiser's number.
        starts: (n_episodes + 1,) first row of each episode, then n.
        numbers: The amounts, targets and the category, by the name of `TABLE_COLUMNS`.
        policy: The names of the policies; None without.
        campaigns: Names that `campaign` numbers; empty where the table has numbers.
        ignored: Columns that the table has and that are not used.
        sources: Files that the rows come from.
    """

    period: Int
    campaign: NDArray[np.int32]
    tick: NDArray[np.int32]
    starts: Int
    numbers: dict[str, Float]
    policy: Array | None
    campaigns: tuple[str, ...]
    ignored: tuple[str, ...]
    sources: tuple[str, ...]


def read_rows(
    frame: Any, *, ticks: int, mapping: Mapping[str, str] | None, constants: Mapping[str, float] | None
) -> TableRows:
    """Reads and checks a table; arguments and errors are those of `from_table`."""
    if ticks < 1:
        raise ValueError(f"`ticks` must be at least 1, found {ticks}")
    frames = as_frames(frame)
    sources = [str(part) if is_path(part) else "" for part in frames]
    names, ignored = _names(frames, sources, mapping or {}, constants or {})
    tables = [to_arrow(part, set(names.values())) for part in frames]
    ends = np.cumsum([table.num_rows for table in tables])
    if not ends[-1]:
        raise TableError([TableProblem(sources[0], None, "", "must have rows, found none")])
    problems = Problems(sources, ends.tolist(), names)
    columns = {name: together([table.column(theirs) for table in tables]) for name, theirs in names.items()}
    n = int(ends[-1])
    rows = {
        name: read_cells(name, column, TABLE_COLUMNS[name].kind, problems)
        for name, column in columns.items()
        if name != "campaign"
    }
    rows |= {name: np.full(n, float(value)) for name, value in (constants or {}).items()}
    campaign, campaigns = read_campaigns(columns["campaign"], problems)
    if "time" in rows:
        period, tick = clock(rows.pop("time"), ticks)
    else:
        period = rows.pop("period", np.zeros(n)).astype(np.int64)
        tick = rows.pop("tick").astype(np.int64)
        problems.add("tick", np.flatnonzero(tick >= ticks), lambda row: f"must be below {ticks}, found {tick[row]}")
    _check_relations(rows, problems)
    problems.raise_any()
    key = (period, campaign.astype(np.int32), tick.astype(np.int32))
    order = None if is_sorted(*key).all() else np.lexsort(key[::-1])
    if order is not None:
        key = (key[0][order], key[1][order], key[2][order])
        rows = {name: values[order] for name, values in rows.items()}
    is_new = (key[0][1:] != key[0][:-1]) | (key[1][1:] != key[1][:-1])
    starts = np.concatenate([[0], np.flatnonzero(is_new) + 1, [n]]).astype(np.int64)
    _check_episodes(key, starts, rows, np.arange(n) if order is None else order, campaigns, problems)
    problems.raise_any()
    return TableRows(
        period=key[0],
        campaign=key[1],
        tick=key[2],
        starts=starts,
        policy=rows.pop("policy", None),
        numbers=rows,
        campaigns=campaigns,
        ignored=ignored,
        sources=tuple(filter(None, sources)),
    )


def _names(
    frames: Sequence[Any], sources: Sequence[str], mapping: Mapping[str, str], constants: Mapping[str, float]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """By column, what the table calls it; and the table's columns that are not used."""
    for label, given in (("mapping", mapping), ("constants", constants)):
        for name in given:
            check_name(label, name, TABLE_COLUMNS, rule="must give columns of")
    for name, value in constants.items():
        if TABLE_COLUMNS[name].kind not in ("amount", "target", "category"):
            raise ValueError(f"`constants` must give numbers, not `{name}`: add it to the table as a column")
        if name in mapping:
            raise ValueError(f"`{name}` must be in one of `mapping` and `constants`, found it in both")
        if not (np.isfinite(value) and value >= 0) or (value == 0 and TABLE_COLUMNS[name].kind == "target"):
            raise ValueError(f"`{name}` of `constants` must be a positive number, found {value}")
    here = column_names(frames[0])
    problems: list[TableProblem] = []
    for part, source in zip(frames[1:], sources[1:], strict=True):
        lacks = sorted(set(here).symmetric_difference(column_names(part)))
        if lacks:
            problems.append(
                TableProblem(source, None, lacks[0], f"must be in all files or in none (as in {sources[0]})")
            )
    names = {name: name for name in TABLE_COLUMNS if name in here and name not in constants} | dict(mapping)
    for name, theirs in mapping.items():
        if theirs not in here:
            rule = f"must be a column of the table, for `{name}`: it has {here}{nearest(theirs, here)}"
            problems.append(TableProblem(sources[0], None, theirs, rule))
    if "time" in names and ("tick" in names or "period" in names):
        rule = "must not be there beside `tick` or `period`, which follow from it: leave one of them out"
        problems.append(TableProblem(sources[0], None, names["time"], rule))
    for group in ALTERNATIVES:
        if not any(name in names or name in constants for name in group):
            what = " or ".join(f"`{name}` ({TABLE_COLUMNS[name].description})" for name in group)
            near = nearest(group[0], [name for name in here if name not in names.values()])
            rule = f"must have {what}; it has {here}{near}: name your column in `mapping` (--map {group[0]}=YOURS)"
            problems.append(TableProblem(sources[0], None, "", rule))
    if problems:
        raise TableError(problems)
    return names, tuple(name for name in here if name not in names.values())


def _check_relations(rows: Mapping[str, Array], problems: Problems) -> None:
    """Rules between the cells of a row."""
    for less, more in _NOT_MORE:
        if less in rows and more in rows:
            wrong = np.flatnonzero(rows[less] > rows[more])
            message = _beside(less, more, rows)
            problems.add(less, wrong, message)


def _beside(less: str, more: str, rows: Mapping[str, Array]) -> Callable[[int], str]:
    return lambda row: f"must be at most `{more}`, {rows[more][row]:.15g}, found {rows[less][row]:.15g}"


def _check_episodes(
    key: tuple[Int, Array, Array],
    starts: Int,
    rows: Mapping[str, Array],
    order: Int,
    campaigns: Sequence[str],
    problems: Problems,
) -> None:
    """Rules of the rows of a campaign's period, which are sorted; `order` is where they stand in the table."""
    period, campaign, tick = key

    def episode(at: int) -> str:
        who = campaigns[campaign[at]] if campaigns else campaign[at]
        return f"campaign {who}, period {period[at]}"

    first = np.repeat(starts[:-1], np.diff(starts))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    twice = np.flatnonzero((tick[1:] == tick[:-1]) & (first[1:] == first[:-1])) + 1
    problems.add("tick", order[twice], lambda row: f"must be one row each, found {tick[place[row]]} of "
                 f"{episode(place[row])} again: sum the rows up")  # fmt: skip
    same = [name for name, column in TABLE_COLUMNS.items() if name in rows and _is_of_episode(column.kind)]
    for name in same:
        values = rows[name]
        changed = np.flatnonzero(values != values[first])
        problems.add(name, order[changed], _changed(values, first, place, episode))
    budget, cost = rows["budget"], rows["cost"]
    totals = np.add.reduceat(cost, starts[:-1])
    over = np.flatnonzero(totals > budget[starts[:-1]] * (1 + _RELATIVE))
    problems.add(
        "budget",
        order[starts[over]],
        lambda row: (
            f"must be at least the costs of {episode(place[row])}, "
            f"{np.add.reduceat(cost, starts[:-1])[np.searchsorted(starts, place[row])]:.15g}, "
            f"found {budget[place[row]]:.15g}"
        ),
    )


def _is_of_episode(kind: str) -> bool:
    return kind in ("target", "category", "policy")


def _changed(values: Array, first: Int, place: Int, episode: Callable[[int], str]) -> Callable[[int], str]:
    def message(row: int) -> str:
        at = int(place[row])
        return f"must be the same in all rows of {episode(at)}, found {values[at]} after {values[first[at]]}"

    return message
