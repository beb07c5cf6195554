"""Result rows, checked and arranged so that entry i of every method belongs to the same episode.

A row is one evaluated episode. Episodes are paired: every method meets the same episodes of a task, named
by (seed, advertiser). A trained method meets them once per training seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Rows: TypeAlias = Mapping[str, ArrayLike] | NDArray[np.void] | pa.Table
"""Columns by name: a mapping, a structured array or an Arrow table."""

KEY_COLUMNS = ("method", "task", "train_seed", "seed", "advertiser")
UNTRAINED = -1
"""`train_seed` of a method that is not trained."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paired:
    """One metric of all methods on the same episodes. R: training seeds of a method, n: episodes of a task.

    Attributes:
        metric: Column that the values come from.
        tasks: Names in order of appearance.
        units: Per task (n, 2) int64: seed and advertiser of the episodes, sorted.
        train_seeds: Per method (R,) int64, sorted.
        values: Per method a tuple over tasks of (R, n) float64.
        reference: Per task (n,) float64: the score of the hindsight reference; NaN where the rows have none.
    """

    metric: str
    tasks: tuple[str, ...]
    units: tuple[Int, ...]
    train_seeds: dict[str, Int]
    values: dict[str, tuple[Float, ...]]
    reference: tuple[Float, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """Names in order of appearance."""
        return tuple(self.values)

    def task_indices(self, task: str | None) -> tuple[int, ...]:
        """Index of a task, or of all tasks for None; raises ValueError for an unknown name."""
        if task is None:
            return tuple(range(len(self.tasks)))
        if task not in self.tasks:
            raise ValueError(f"`task` must be None or one of {list(self.tasks)}, found {task!r}")
        return (self.tasks.index(task),)

    def of(self, method: str) -> tuple[Float, ...]:
        """Values of a method, per task (R, n); raises ValueError for an unknown name."""
        if method not in self.values:
            raise ValueError(f"`method` must be one of {list(self.methods)}, found {method!r}")
        return self.values[method]

    def n_train_seeds(self, method: str) -> int:
        """Number of training runs of a method; 0 if it is not trained."""
        return int(np.count_nonzero(self.train_seeds[method] != UNTRAINED))

    def mean_reference(self, k: int) -> float:
        """Mean reference of task k; raises ValueError unless it is positive and finite."""
        out = float(self.reference[k].mean())
        if not (np.isfinite(out) and out > 0):
            raise ValueError(f"mean `reference` of task {self.tasks[k]!r} must be positive, found {out}")
        return out

    def normalised(self) -> Paired:
        """The same episodes in units of the task's mean reference, so that tasks can be averaged or pooled.

        The means count as constants: resampling does not vary them. Raises ValueError without a reference.
        """
        scales = [self.mean_reference(k) for k in range(len(self.tasks))]
        values = {
            method: tuple(x / scale for x, scale in zip(grids, scales, strict=True))
            for method, grids in self.values.items()
        }
        reference = tuple(x / scale for x, scale in zip(self.reference, scales, strict=True))
        return replace(self, values=values, reference=reference)


def columns(rows: Rows, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """All columns as arrays (n_rows,); those of `names` must be there.

    Raises:
        ValueError: A column is missing or of another length, there are no rows, or they mix suites.
    """
    if isinstance(rows, pa.Table):
        table = {name: rows[name].to_numpy() for name in rows.column_names}
    elif isinstance(rows, np.ndarray):
        table = {name: rows[name] for name in rows.dtype.names or ()}
    else:
        table = {name: np.asarray(column) for name, column in rows.items()}
    missing = [name for name in names if name not in table]
    if missing:
        raise ValueError(f"rows must have the columns {missing}, found {list(table)}")
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns must have one length, found {lengths}")
    if not next(iter(lengths.values())):
        raise ValueError("rows must not be empty, found 0 rows")
    suites = in_order(table["suite"]) if "suite" in table else ()
    if len(suites) > 1:
        raise ValueError(f"rows must be of one suite, found {list(suites)}")
    return table


def pair(rows: Rows, metric: str = "score") -> Paired:
    """Arranges a metric by method, task, training seed and episode.

    Args:
        rows: Result rows with `KEY_COLUMNS` and the metric; `reference` is used where present.
        metric: Column to arrange.

    Raises:
        ValueError: A value is not finite, or a method has an episode twice, lacks one that another method
            has, or has another reference for it; names the episode.
    """
    table = columns(rows, (*KEY_COLUMNS, metric))
    values = np.asarray(table[metric], np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        where = _describe(*(table[name][bad[0]] for name in KEY_COLUMNS))
        raise ValueError(f"`{metric}` must be finite, found {values[bad[0]]} for {where}")
    table["reference"] = np.asarray(table.get("reference", np.full(len(values), np.nan)), np.float64)
    methods, tasks = in_order(table["method"]), in_order(table["task"])
    train_seeds = {m: np.unique(table["train_seed"][table["method"] == m]).astype(np.int64) for m in methods}
    grids: dict[str, list[Float]] = {method: [] for method in methods}
    units, reference = [], []
    for task in tasks:
        of_task = {name: column[table["task"] == task] for name, column in table.items()}
        keys = np.stack([of_task["seed"], of_task["advertiser"]], axis=1).astype(np.int64)
        episodes, unit = np.unique(keys, axis=0, return_inverse=True)
        units.append(episodes)
        reference.append(_common_reference(task, episodes, unit, of_task["reference"]))
        for method in methods:
            mine = of_task["method"] == method
            run = np.searchsorted(train_seeds[method], of_task["train_seed"][mine])
            count = np.zeros((len(train_seeds[method]), len(episodes)), np.int64)
            np.add.at(count, (run, unit[mine]), 1)
            _check_complete(method, task, train_seeds[method], episodes, count)
            grid = np.empty(count.shape)
            grid[run, unit[mine]] = of_task[metric][mine]
            grids[method].append(grid)
    return Paired(
        metric=metric,
        tasks=tasks,
        units=tuple(units),
        train_seeds=train_seeds,
        values={method: tuple(per_task) for method, per_task in grids.items()},
        reference=tuple(reference),
    )


def in_order(names: NDArray[Any]) -> tuple[str, ...]:
    """Distinct names in order of first appearance."""
    return tuple(dict.fromkeys(str(name) for name in names))


def _check_complete(method: str, task: str, train_seeds: Int, episodes: Int, count: Int) -> None:
    """Every training seed of the method must have every episode of the task once."""
    wrong = np.argwhere(count != 1)
    if len(wrong):
        run, unit = wrong[0]
        where = _describe(method, task, train_seeds[run], *episodes[unit])
        n = count[run, unit]
        raise ValueError(f"rows must be paired, one for every method and episode: found {n} for {where}")


_ROUNDING = 1e-4
"""Published rows have five digits, and others may be added to them."""


def _common_reference(task: str, episodes: Int, unit: Int, reference: Float) -> Float:
    """The reference of each episode, (n,), on which all of its rows must agree; in any order of the rows the same."""
    out = np.full(len(episodes), np.nan)
    order = np.argsort(reference, kind="stable")
    out[unit[order]] = reference[order]  # the largest
    wrong = np.flatnonzero(~np.isclose(reference, out[unit], rtol=_ROUNDING, atol=0.0, equal_nan=True))
    if len(wrong):
        row = wrong[0]
        seed, advertiser = episodes[unit[row]]
        raise ValueError(
            f"`reference` must be the same in all rows of an episode, found {reference[row]} and"
            f" {out[unit[row]]} for task {task!r}, seed {seed}, advertiser {advertiser}"
        )
    return out


def _describe(method: Any, task: Any, train_seed: Any, seed: Any, advertiser: Any) -> str:
    names = f"method {str(method)!r}, task {str(task)!r}"
    return f"{names}, train_seed {train_seed}, seed {seed}, advertiser {advertiser}"
