"""Copies a suite's results, compact, to where they are committed; `Store` reads both forms alike."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from auction_env.files import staged_directory
from benchmarks.suites.storage.store import SUITE_FILE, TABLES, Store, encoded

DIGITS = 5
"""Significant digits of published figures: far below every interval, and half the bytes."""


def publish(directory: Path, to: Path, *, is_mixed: bool = False) -> tuple[Path, int]:
    """Writes `to`/SUITE with one file a table; returns it and its size in bytes.

    Rows and runs are whole. Of weights and losses the curves of the first training seed and, of the other seeds, the
    last record are kept. Runs that failed stay in the table of runs with their errors.

    Args:
        directory: What `vamo bench run` wrote.
        to: Where results are committed.
        is_mixed: Whether rows of several commits are published all the same. The pages name every commit.

    Raises:
        FileNotFoundError: The directory holds no results.
        ValueError: It holds no rows, rows of several numbers versions, or, unless `is_mixed`, of several commits.
    """
    store = Store(directory)
    record = store.suite()
    _check_alike(store, is_mixed)
    target = to / record.id.replace("/", "-")
    with staged_directory(target) as stage:
        (stage / SUITE_FILE).write_bytes((directory / SUITE_FILE).read_bytes())
        _write_tables(store, stage, record.train_seeds[:1])
    return target, sum(file.stat().st_size for file in target.iterdir())


def lacking(store: Store) -> list[str]:
    """Methods of the record without a finished run, and which have fewer training seeds in a variant than it says."""
    record = store.suite()
    seeds: dict[tuple[str, str], set[int]] = {}
    for run in store.runs().to_pylist():
        found = seeds.setdefault((run["method"], run["variant"]), set())
        if not run["failed"]:
            found.add(run["train_seed"])
    out = []
    for method in record.methods:
        of_method = {variant: found for (name, variant), found in seeds.items() if name == method["name"]}
        n_wanted = len(record.train_seeds) if method["is_trained"] else 1
        if not any(of_method.values()):
            out.append(f"{method['name']} (no run)")
        else:
            few = {variant: len(found) for variant, found in of_method.items() if len(found) < n_wanted}
            out += [f"{method['name']} in {variant} ({n} of {n_wanted} runs)" for variant, n in few.items()]
    return out


def _check_alike(store: Store, is_mixed: bool) -> None:
    """ValueError where runs that did not fail come from several numbers versions, or from several commits."""
    runs = [run for run in store.runs().to_pylist() if not run["failed"]]
    found: dict[str, set[int]] = {}
    for run in runs:
        for package, version in json.loads(run["config"]).get("numbers", {}).items():
            found.setdefault(package, set()).add(version)
    for package, numbers in found.items():
        if len(numbers) > 1:
            raise ValueError(
                f"rows of {store.path} must be of one numbers version of {package!r}, found {sorted(numbers)}:"
                " `vamo bench run` makes the old ones again"
            )
    commits = Counter(run["commit"] for run in runs)
    if len(commits) > 1 and not is_mixed:
        listed = ", ".join(f"{commit} ({n} runs)" for commit, n in commits.most_common())
        raise ValueError(
            f"rows of {store.path} must be of one commit, found {listed}: `vamo bench run --one-commit` makes the"
            " others again, and `--mixed` publishes them as they are"
        )


def _write_tables(store: Store, stage: Path, whole_seeds: list[int]) -> None:
    if not store.rows().num_rows:
        raise ValueError(f"{store.path} must hold rows, found none: no run has finished without an error")
    runs = store.runs()
    whole = runs.filter(pc.is_in(runs["train_seed"], pa.array(whole_seeds, pa.int64())))["run_id"]
    for name in TABLES:
        table = getattr(store, name)()
        if name in ("weights", "losses"):
            table = _thinned(table, whole)
        if table.num_rows:
            (stage / f"{name}.parquet").write_bytes(encoded(rounded(table)))


def _thinned(table: pa.Table, whole: pa.ChunkedArray) -> pa.Table:
    """All records of some runs, the last record of the others."""
    if not table.num_rows:
        return table
    last = table.group_by("run_id").aggregate([("step", "max")])
    step_of = dict(zip(last["run_id"].to_pylist(), last["step_max"].to_pylist(), strict=True))
    wanted = pa.array([step_of[run] for run in table["run_id"].to_pylist()], pa.int64())
    return table.filter(pc.or_(pc.equal(table["step"], wanted), pc.is_in(table["run_id"], whole.combine_chunks())))


def rounded(table: pa.Table) -> pa.Table:
    """The table with its floats rounded to `DIGITS` significant digits."""
    for position, column in enumerate(table.schema):
        if column.type == pa.float64():
            values = table[column.name].to_numpy()
            table = table.set_column(position, column, pa.array(round_significant(values), pa.float64()))
    return table


def round_significant(values: np.ndarray) -> np.ndarray:
    """Rounded to `DIGITS` significant digits; what is not finite, and 0, stay."""
    usual = np.isfinite(values) & (values != 0)
    scale = np.ones_like(values)
    scale[usual] = 10.0 ** (DIGITS - 1 - np.floor(np.log10(np.abs(values[usual]))))
    out = values.copy()
    out[usual] = np.rint(values[usual] * scale[usual]) / scale[usual]
    return out
