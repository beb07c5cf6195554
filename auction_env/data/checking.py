"""Checks a data set to the last row and says what is wrong where."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from auction_env.data import mapped
from auction_env.data.dataset import VECTORS, is_sorted
from auction_env.data.manifest import MANIFEST, DataSetError, Manifest, Shard, read_manifest, read_shard
from auction_env.data.missing import MISSING, missing_columns
from auction_env.data.schema import COLUMNS, EPISODE_CONSTANTS, MAY_BE_MISSING, SORT_KEY
from auction_env.data.splits import SPLITS, read_splits
from auction_env.data.statistics import table_statistics
from auction_env.data.storage import is_of_data_set, load
from auction_env.tasks import Task

Array = NDArray[Any]
Progress = Callable[[int, int], None]

_RELATIVE = 1e-6  # tolerance of money, relative to the budget: costs are sums of 32-bit prices
_KEPT = tuple(dict.fromkeys((*SORT_KEY, *EPISODE_CONSTANTS, "budget_left", "cost")))


class Problem(NamedTuple):
    """Something wrong with a data set."""

    place: str  # a file, and the row or the episode where there is one
    message: str  # the rule and what was found

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def check(directory: str | os.PathLike[str], *, progress: Progress | None = None) -> list[Problem]:
    """Everything that is wrong with a data set; an empty list if it is sound.

    Checked are the manifest, files that it does not name, checksums, schema and statistics of the shards, that the
    numbers are finite, that rows are unique and belong together, budgets, the split, and mapped columns. Each rule
    is reported once a file, with the first place at which it is broken and how often.

    Args:
        directory: The data set.
        progress: Told the number of shards checked and their number.

    Raises:
        FileNotFoundError: The directory has no manifest.
    """
    path = Path(directory)
    try:
        manifest = read_manifest(path)
    except DataSetError as error:
        return [Problem(MANIFEST, str(error).removeprefix(f"{path / MANIFEST}: "))]
    problems = [
        Problem(entry.name, "must be of the data set, which its name does not say")
        for entry in sorted(path.iterdir())
        if not is_of_data_set(entry.name)
    ]
    missing = missing_columns(manifest.metadata)
    for name in set(missing) - set(MAY_BE_MISSING):
        problems.append(Problem(MANIFEST, f"`{MISSING}` must name columns that a log may lack, found {name!r}"))
    kept: dict[str, list[Array]] = {name: [] for name in _KEPT}
    for index, shard in enumerate(manifest.shards, start=1):
        try:
            table = read_shard(path, shard)
        except DataSetError as error:
            problems.append(Problem(shard.file, str(error).removeprefix(f"{path / shard.file}: ")))
            continue
        finally:
            if progress is not None:
                progress(index, len(manifest.shards))
        problems += [Problem(shard.file, message) for message in _check_table(shard, table, missing)]
        for name, parts in kept.items():
            parts.append(table.column(name).to_numpy())
    if not kept["tick"]:
        return problems
    is_whole = len(kept["tick"]) == len(manifest.shards)
    problems += _check_rows({name: np.concatenate(parts) for name, parts in kept.items()}, path, manifest, is_whole)
    if not problems:
        problems += _check_mapped(path)
    return problems


def _check_table(shard: Shard, table: pa.Table, missing: tuple[str, ...]) -> Iterator[str]:
    for column in COLUMNS:
        if column.dtype != "float64":
            continue
        values = table.column(column.name).to_numpy()
        bad = np.isinf(values) if column.name in missing else ~np.isfinite(values)
        if bad.any():
            row = int(np.argmax(bad))
            where = ", ".join(f"{name} {table.column(name)[row].as_py()}" for name in SORT_KEY)
            yield f"`{column.name}` must be finite, found {values[row]} at ({where}) and {int(bad.sum())} times in all"
    for text in table.column("task").unique().to_pylist():
        try:
            Task.from_json(text)
        except (TypeError, ValueError, KeyError) as error:
            yield f"`task` must be the JSON of a task: {error}"
    found = table_statistics(table)
    for name, stated in shard.columns.items():
        if not _agree(stated, found[name]):
            yield f"the statistics of `{name}` must be {found[name]}, as the rows give them, found {stated}"


def _agree(stated: Any, found: dict[str, Any]) -> bool:
    """Whether the statistics are the same; the mean up to the rounding of sums in another order."""
    if not isinstance(stated, dict) or set(stated) != set(found):
        return False
    return all(
        math.isclose(stated[name], value, rel_tol=1e-9, abs_tol=1e-12)
        if name == "mean" and isinstance(value, float) and isinstance(stated[name], float)
        else stated[name] == value
        for name, value in found.items()
    )


def _check_rows(rows: dict[str, Array], path: Path, manifest: Manifest, is_whole: bool) -> Iterator[Problem]:
    """The rules that rows must keep together; without all shards, those that a missing row does not break."""
    order = np.arange(len(rows["tick"]))
    if not is_sorted(rows["period"], rows["advertiser"], rows["tick"]).all():
        order = np.lexsort((rows["tick"], rows["advertiser"], rows["period"]))
    rows = {name: values[order] for name, values in rows.items()}
    same = (rows["period"][1:] == rows["period"][:-1]) & (rows["advertiser"][1:] == rows["advertiser"][:-1])
    twice = same & (rows["tick"][1:] == rows["tick"][:-1])
    yield from _report(rows, twice, "(period, advertiser, tick) must be unique, found two rows")
    for name in EPISODE_CONSTANTS:
        values = rows[name]
        changed = same & (values[1:] != values[:-1])
        if values.dtype.kind == "f":
            changed &= ~(np.isnan(values[1:]) & np.isnan(values[:-1]))
        yield from _report(rows, changed, f"`{name}` must be the same in all ticks of an episode, found another", 1)
    if not twice.any():
        yield from _check_budgets(rows, same)
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    if is_whole:
        if len(starts) != manifest.n_episodes:
            yield Problem(MANIFEST, f"`n_episodes` must be {len(starts)}, found {manifest.n_episodes}")
        yield from _check_splits(path, manifest, rows["period"][starts], rows["advertiser"][starts])


def _check_budgets(rows: dict[str, Array], same: Array) -> Iterator[Problem]:
    budget, left, cost = rows["budget"], rows["budget_left"], rows["cost"]
    slack = _RELATIVE * np.abs(budget)
    yield from _report(rows, budget <= 0, "`budget` must be positive, found {budget}", 0)
    yield from _report(rows, cost < 0, "`cost` must not be negative, found {cost}", 0)
    yield from _report(rows, left > budget + slack, "`budget_left` must be at most the budget, found {budget_left}", 0)
    rises = same & (left[1:] > left[:-1] + slack[1:])
    yield from _report(rows, rises, "`budget_left` must not rise, found {budget_left}", 1)
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    over = np.zeros(len(cost), bool)
    over[starts] = np.add.reduceat(cost, starts) > budget[starts] + slack[starts]
    yield from _report(rows, over, "the costs of an episode must be at most its budget {budget}, found more", 0)
    # an imported log's budget may hold costs that its rows lack: only a simulated one adds up
    is_simulated = rows["seed"] >= 0
    yield from _report(
        rows, is_simulated & (cost > left + slack), "`cost` must be at most the budget left, found {cost}", 0
    )
    is_next = same & (rows["tick"][1:] == rows["tick"][:-1] + 1) & is_simulated[1:]
    wrong = is_next & (np.abs(left[:-1] - cost[:-1] - left[1:]) > slack[1:])
    yield from _report(
        rows, wrong, "`budget_left` must be that of the tick before less its cost, found {budget_left}", 1
    )


def _report(rows: dict[str, Array], is_wrong: Array, message: str, shift: int = 1) -> Iterator[Problem]:
    """A problem if anything is wrong; `shift` is 1 where `is_wrong` is about rows from the second on."""
    if is_wrong.any():
        row = int(np.argmax(is_wrong)) + shift
        place = "(" + ", ".join(f"{name} {rows[name][row]}" for name in SORT_KEY) + ")"
        n = int(is_wrong.sum())
        text = message.format(**{name: values[row] for name, values in rows.items()})
        yield Problem(place, text + (f"; {n} rows in all" if n > 1 else ""))


def _check_splits(path: Path, manifest: Manifest, period: Array, advertiser: Array) -> Iterator[Problem]:
    """Every episode must be in exactly one part; `period` and `advertiser` are of the episodes, sorted."""
    if manifest.splits is None:
        return
    try:
        split = read_splits(path, manifest)
    except DataSetError as error:
        yield Problem(MANIFEST, str(error))
        return
    name = manifest.splits["file"]
    dealt = list(zip(split.period.tolist(), split.advertiser.tolist(), strict=True))
    if len(set(dealt)) < len(dealt):
        first = next(key for key, other in zip(sorted(dealt), sorted(dealt)[1:], strict=False) if key == other)
        yield Problem(name, f"an episode must be in one part, found (period, advertiser) {first} twice")
    there = set(zip(period.tolist(), advertiser.tolist(), strict=True))
    for first in sorted(there.symmetric_difference(dealt))[:1]:
        yield Problem(
            name, f"must hold the episodes of the data set, found (period, advertiser) {first} in one of them"
        )
    if len(split.code) and not 0 <= split.code.min() <= split.code.max() < len(SPLITS):
        yield Problem(name, f"`code` must be one of 0..{len(SPLITS) - 1}, found {split.code.max()}")


def _check_mapped(path: Path) -> Iterator[Problem]:
    """Mapped columns, where there are some, must be what the shards hold."""
    caches = [entry for entry in path.iterdir() if mapped.is_cache(entry.name)]
    if not caches:
        return
    try:
        left, right = load(path), load(path, mmap=True)
    except DataSetError as error:
        yield Problem(caches[0].name, str(error))
        return
    for name in (*VECTORS, "observation"):
        if not np.array_equal(getattr(left, name), getattr(right, name), equal_nan=True):
            yield Problem(caches[0].name, f"`{name}` must be what the shards hold, found other values")
