"""`vamo bench speed`: speed figures, each a ratio against a reference timed in the same run, with its bound.

A row holds a figure (median of several runs), its unit, what it is compared with and the physical limit it runs
against, measured in the same run: normal draws per second of the generator alone, bytes per second of a copy.
With `quick` the NumPy reference runs a tenth of the impressions and is scaled up; its row says so.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict
from pathlib import Path

from numba import get_num_threads
from rich import box
from rich.markup import escape
from rich.table import Table

from auction_env.files import write_atomically
from benchmarks.console import console, print_table
from benchmarks.speed import history
from benchmarks.speed.measure import Row, number
from benchmarks.suites.running import provenance

PARTS = {
    "market": "market",
    "env": "environment",
    "agents": "agents",
    "training": "training",
    "inference": "inference",
    "data": "data",
    "process": "processes",
    "scaling": "scaling",
}
"""Module of each part, whose function PART_rows makes its rows. They are imported when measured: some need torch."""


_COUNTED_APART = "scaling"
"""The part whose worker processes would be taken for other work on the machine."""


def all_rows(quick: bool, only: str | None = None) -> tuple[list[Row], float]:
    """The rows of all parts, or of one, and the largest share of the machine that other work took during a part.

    Raises:
        ValueError: `only` is not one of PARTS.
    """
    if only is not None and only not in PARTS:
        raise ValueError(f"`only` must be one of {sorted(PARTS)}, found {only!r}")
    rows: list[Row] = []
    others = 0.0
    for part in PARTS if only is None else (only,):
        measured = getattr(importlib.import_module(f"benchmarks.speed.{PARTS[part]}"), f"{part}_rows")
        with console.status(f"measuring: {part}"), history.watching() as watched:
            rows.extend(measured(quick))
        if part != _COUNTED_APART:
            others = max(others, watched.share)
    return rows, others


def run(
    *, quick: bool = False, only: str | None = None, json_path: Path | None = None, history_folder: Path | None = None
) -> list[Row]:
    """Measures, prints the table, writes the rows to `json_path`, and adds the run to a history."""
    rows, others = all_rows(quick, only)
    _print(rows, others)
    if json_path is not None:
        text = json.dumps([asdict(row) for row in rows], indent=1) + "\n"
        write_atomically(json_path, text.encode())
    if history_folder is not None:
        entry = history.SpeedRun(
            machine=provenance.machine(),
            date=history.now(),
            commit=provenance.commit(),
            command=" ".join(
                ["vamo bench speed", *(["--quick"] if quick else []), *([f"--only {only}"] if only else [])]
            ),
            others=round(others, 3),
            rows=tuple(rows),
        )
        console.print(f"added to {history.save(entry, history_folder)}", soft_wrap=True)
    return rows


def _print(rows: list[Row], others: float) -> None:
    """First what every figure is compared with, in words; then the numbers, in 80 columns."""
    for row in rows:
        console.print(f"[bold]{escape(row.name)}[/bold]: {escape(row.reference)}; bound {escape(row.bound)}")
    table = Table(
        title=f"{get_num_threads()} threads, {provenance.processor()}; other work took {others:.0%} of the machine",
        title_justify="left",
        caption="against: value of the reference; ratio: times better; reached: share of the bound",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=0,
    )
    table.add_column("figure", no_wrap=True)
    for name in ("value", "unit", "against", "ratio", "bound", "reached"):
        table.add_column(name, no_wrap=True, justify="left" if name == "unit" else "right")
    for row in rows:
        table.add_row(*(escape(cell) for cell in cells(row)))
    print_table(table)


def cells(row: Row) -> tuple[str, ...]:
    """The name, then value, unit, the reference's value, ratio, the bound's value and the share of it reached."""
    reference, bound = ("-" if x is None else number(x) for x in (row.reference_value, row.bound_value))
    value_ratio = row.value if row.ratio is None and row.unit == "x" else row.ratio
    ratio = "-" if value_ratio is None else f"{number(value_ratio)}x"
    reached = "-" if row.reached is None else f"{row.reached:.0%}"
    return row.name, number(row.value), row.unit, reference, ratio, bound, reached
