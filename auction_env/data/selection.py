"""Which rows of a data set are wanted: checked against what exists, and pushed down to the Parquet reader."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from auction_env.data.manifest import Manifest, Shard, read_shard
from auction_env.data.splits import Assignment, read_splits
from auction_env.tasks import Task

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

_MOST_LISTED = 20  # of what exists, in an error


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows by task, advertiser, period and split; None: all.

    Attributes:
        wanted: Column -> the values wanted; the tasks as JSON.
        assignment, split: The split of the episodes and the part of it that is wanted.
    """

    wanted: dict[str, tuple[Any, ...]]
    assignment: Assignment | None = None
    split: str | None = None

    @property
    def is_all(self) -> bool:
        return not self.wanted and self.split is None

    @property
    def expression(self) -> Any:
        """The Arrow expression of `wanted`; None if all rows are."""
        out = None
        for name, values in self.wanted.items():
            term = pc.field(name).isin(list(values))
            out = term if out is None else out & term
        return out

    def may_be_in(self, shard: Shard) -> bool:
        """Whether the shard may hold such rows, as far as its statistics tell."""
        for name, values in self.wanted.items():
            statistics = shard.columns.get(name, {})
            if "values" in statistics:
                if set(values).isdisjoint(statistics["values"]):
                    return False
            elif "min" in statistics and not any(statistics["min"] <= v <= statistics["max"] for v in values):
                return False
        return True

    def mask(self, columns: dict[str, NDArray[Any]]) -> Bool:
        """(n,) which rows are wanted, given their period, advertiser and the columns of `wanted`."""
        out = np.ones(len(columns["period"]), bool)
        for name, values in self.wanted.items():
            out &= np.isin(columns[name], np.asarray(values))
        if self.split is not None and self.assignment is not None:
            out &= self.assignment.mask(self.split, columns["period"], columns["advertiser"])
        return out


def select(
    directory: Path,
    manifest: Manifest,
    *,
    tasks: str | Task | Iterable[str | Task] | None = None,
    advertisers: int | Iterable[int] | None = None,
    periods: int | Iterable[int] | None = None,
    split: str | None = None,
) -> Selection:
    """Checks a selection.

    Raises:
        ValueError: A task, an advertiser, a period or a split that the data set does not have; names what exists.
    """
    wanted: dict[str, tuple[Any, ...]] = {}
    if tasks is not None:
        wanted["task"] = _known_tasks(_listed(tasks, (str, Task)), known_values(directory, manifest, "task"))
    for argument, column, given in (("advertisers", "advertiser", advertisers), ("periods", "period", periods)):
        if given is not None:
            numbers = tuple(int(value) for value in _listed(given, (int, np.integer)))
            exists = known_values(directory, manifest, column)
            unknown = sorted(set(numbers).difference(exists))
            if unknown or not numbers:
                raise ValueError(
                    f"`{argument}` must name some of {_shorten(exists)}, found {unknown[0] if unknown else 'none'}"
                )
            wanted[column] = numbers
    if split is None:
        return Selection(wanted)
    assignment = read_splits(directory, manifest)
    if split not in assignment.names:
        raise ValueError(f"`split` must be one of {list(assignment.names)}, found {split!r}")
    in_split = assignment.periods(split)
    if "period" in wanted:
        in_split = np.intersect1d(in_split, wanted["period"])
    return Selection({**wanted, "period": tuple(in_split.tolist())}, assignment, split)


def known_values(directory: Path, manifest: Manifest, column: str) -> list[Any]:
    """The distinct values of a text or an integer column, ascending: from the statistics or, failing that, the rows."""
    parts: list[Iterable[Any]] = []
    for shard in manifest.shards:
        statistics = shard.columns.get(column, {})
        if "values" in statistics:
            parts.append(statistics["values"])
        else:
            table = read_shard(directory, shard, columns=[column])
            parts.append(pc.unique(table.column(column)).to_pylist())
    return sorted({value for part in parts for value in part})


def _listed(given: Any, kinds: tuple[type, ...]) -> list[Any]:
    return [given] if isinstance(given, kinds) else list(given)


def _known_tasks(given: Sequence[str | Task], texts: Sequence[str]) -> tuple[str, ...]:
    known = {text: Task.from_json(text) for text in texts}
    out: list[str] = []
    for task in given:
        found = [text for text, other in known.items() if task in (other, other.name)]
        if not found:
            name = task if isinstance(task, str) else task.to_json()
            exists = sorted({other.name for other in known.values()})
            raise ValueError(f"`tasks` must name some of {_shorten(exists)}, found {name!r}")
        out += found
    if not out:
        raise ValueError("`tasks` must name at least one task, found none")
    return tuple(out)


def _shorten(values: Sequence[Any]) -> str:
    if len(values) <= _MOST_LISTED:
        return str(list(values))
    return f"{len(values)} values from {values[0]!r} to {values[-1]!r}"
