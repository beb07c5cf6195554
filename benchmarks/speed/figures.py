"""`vamo bench speed`: speed figures, each a ratio against a reference timed in the same run, with its bound.

A row holds a figure (median of several runs), its unit, what it is compared with and the physical limit it runs
against, measured in the same run: normal draws per second of the generator alone, bytes per second of a copy.
With `quick` the NumPy reference runs a fifth of the impressions and is scaled up; its row says so.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict
from pathlib import Path

from numba import get_num_threads
from rich.table import Table

from auction_env.files import write_atomically
from benchmarks.console import console
from benchmarks.speed.measure import Row
from benchmarks.suites.running.provenance import processor

PARTS = {
    "market": "market",
    "env": "environment",
    "agents": "agents",
    "training": "training",
    "inference": "inference",
    "data": "data",
}
"""Module of each part, whose function PART_rows makes its rows. They are imported when measured: some need torch."""


def all_rows(quick: bool, only: str | None = None) -> list[Row]:
    """The rows of all parts, or of one.

    Raises:
        ValueError: `only` is not one of PARTS.
    """
    if only is not None and only not in PARTS:
        raise ValueError(f"`only` must be one of {sorted(PARTS)}, found {only!r}")
    rows: list[Row] = []
    for part in PARTS if only is None else (only,):
        measured = getattr(importlib.import_module(f"benchmarks.speed.{PARTS[part]}"), f"{part}_rows")
        with console.status(f"measuring: {part}"):
            rows.extend(measured(quick))
    return rows


def run(*, quick: bool = False, only: str | None = None, json_path: Path | None = None) -> list[Row]:
    """Measures, prints the table, and writes the rows to `json_path`."""
    rows = all_rows(quick, only)
    _print(rows)
    if json_path is not None:
        text = json.dumps([asdict(row) for row in rows], indent=1) + "\n"
        write_atomically(json_path, text.encode())
    return rows


def _print(rows: list[Row]) -> None:
    table = Table(title=f"{get_num_threads()} threads, {processor()}", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("reference", overflow="fold")
    table.add_column("bound", overflow="fold")
    for row in rows:
        table.add_row(row.name, _number(row.value), row.unit, row.reference, row.bound)
    console.print(table)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
