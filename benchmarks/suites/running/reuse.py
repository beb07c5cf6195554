"""Takes over finished runs of other results: those of another suite that are the same but for names, or published ones.

Suites meet on the same data: a method with the same settings, seed and episodes has the same numbers in all of them,
to the last bit. And rows that were published long ago, by a machine that is gone, are a start for more seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.suites.running import identity
from benchmarks.suites.running.run import Tables
from benchmarks.suites.spec import Run, digest
from benchmarks.suites.storage.store import TABLES, Store


class _Found(NamedTuple):
    store: Store
    row: dict[str, Any]  # of its table `runs`


def take_over(store: Store, runs: Sequence[Run], sources: Iterable[Path]) -> tuple[Run, ...]:
    """Copies runs that others have finished; returns the runs that it found.

    A run is the same where everything that its numbers depend on is (`identity.config`), but for the names of the
    suite, variant and method. Runs of other defaults or of another numbers version are not. Commit, machine and times
    stay those of the run that was made. Published rows have five significant digits, and of most seeds the last record
    of the curves only.

    Args:
        store: Where they are written.
        runs: What is wanted.
        sources: Directories of results, as `vamo bench run` or `publish` wrote them; earlier ones win.

    Raises:
        FileNotFoundError: A directory that holds no results.
    """
    found: dict[str, _Found] = {}
    for path in sources:
        source = Store(path)
        source.suite()  # or an error that names the file
        for row in source.runs().to_pylist():
            if not row["failed"]:
                found.setdefault(_key(json.loads(row["config"])), _Found(source, row))
    kept: dict[Path, Tables] = {}
    taken = []
    for run in runs if found else ():
        match = found.get(_key(identity.config(run)))
        if match is None:
            continue
        path = match.store.path
        if path not in kept:
            kept[path] = {name: getattr(match.store, name)() for name in TABLES}
        tables = _renamed(run, match.row, kept[path])
        if run.n_viewed and _n_viewed(tables) < run.n_viewed:
            continue  # made where fewer of its episodes, or none, were to be looked at
        store.write_run(run.id, tables)
        taken.append(run)
    return tuple(taken)


def _key(config: dict[str, Any]) -> str:
    """Hash of a run's settings without names."""
    unnamed = {key: value for key, value in config.items() if key != "id"}
    for part in ("variant", "arm"):
        unnamed[part] = {key: value for key, value in unnamed[part].items() if key != "name"}
    return digest(unnamed)


def _n_viewed(tables: Tables) -> int:
    """Episodes of the task that has fewest of them."""
    if "episodes" not in tables:
        return 0
    counts = tables["episodes"].group_by("task").aggregate([("seed", "count_distinct")])
    return int(min(counts["seed_count_distinct"].to_pylist()))


def _renamed(run: Run, old: dict[str, Any], tables: Tables) -> Tables:
    """The tables of one finished run, under the names of `run`."""
    new = identity.columns(run)
    out: Tables = {}
    for name, table in tables.items():
        if name == "episodes" and not run.n_viewed:
            continue
        by = ("run_id",) if "run_id" in table.column_names else ("variant", "method", "train_seed")
        for column in by:
            table = table.filter(pc.equal(table[column], old[column]))
        for position, column in enumerate(table.schema):
            if column.name in new:
                renamed = pa.array([new[column.name]] * len(table), column.type)
                table = table.set_column(position, column, renamed)
        if len(table) or name == "runs":
            out[name] = table
    return out
