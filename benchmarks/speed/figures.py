"""`vamo bench speed`: speed figures, each a ratio against a reference timed in the same run, with its bound.

A row holds a figure (median of several runs), its unit, what it is compared with and the physical limit it runs
against, measured in the same run: normal draws per second of the generator alone, bytes per second of a copy.
The NumPy reference runs a tenth of the impressions and is scaled up; its row says so.
"""

from __future__ import annotations

import importlib
import json
import time
from dataclasses import asdict
from pathlib import Path

from numba import get_num_threads
from rich import box
from rich.markup import escape
from rich.table import Table

from auction_env.files import write_atomically
from benchmarks.console import console, print_table, progress_bar
from benchmarks.speed.kept import history
from benchmarks.speed.kept.unfinished import Measured, Unfinished, file_of
from benchmarks.speed.measure import Measurement, Row, number
from benchmarks.speed.usage import watching
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
"""Module of each part, with its MEASUREMENTS. They are imported when measured: some need torch."""

_ON_REQUEST = "scaling"
"""The part that takes as long as all others, and is left out where no part is named."""


def measurements(quick: bool, only: str | None = None) -> dict[str, Measurement]:
    """What a run measures, in order, by part and name.

    Raises:
        ValueError: `only` is not one of PARTS, or has nothing that `quick` measures.
    """
    if only is not None and only not in PARTS:
        raise ValueError(f"`only` must be one of {sorted(PARTS)}, found {only!r}")
    found: dict[str, Measurement] = {}
    for part in [part for part in PARTS if part != _ON_REQUEST] if only is None else [only]:
        of_part: tuple[Measurement, ...] = importlib.import_module(f"benchmarks.speed.{PARTS[part]}").MEASUREMENTS
        found |= {f"{part}: {item.what}": item for item in of_part if item.is_quick or not quick}
    if not found:
        raise ValueError(f"part {only!r} has no fast figures: measure it without --quick")
    return found


def measure(wanted: dict[str, Measurement], quick: bool, unfinished: Unfinished) -> None:
    """Measures what `unfinished` lacks, behind a bar that names it, and adds it there."""
    with progress_bar("speed figures", len(wanted), None, label_width=13, has_estimate=False) as bar:
        for name, measurement in wanted.items():
            bar.note(name)
            if name not in unfinished.measured:
                start = time.monotonic()
                with watching(has_workers=measurement.has_workers) as watched:
                    rows = tuple(measurement.rows(quick))
                unfinished.add(name, Measured(rows, watched.share, time.monotonic() - start))
            bar.advance(1)
        bar.note("")


def run(
    *,
    quick: bool = False,
    only: str | None = None,
    json_path: Path | None = None,
    history_folder: Path | None = None,
    out: Path,
) -> list[Row]:
    """Measures, prints the table, writes the rows to `json_path`, and adds the run to a history.

    A call that was stopped goes on from what it kept in `out`, with the same `quick` and `only`.
    """
    wanted = measurements(quick, only)
    unfinished = Unfinished(file_of(out, quick=quick, only=only))
    n_kept = len(wanted.keys() & unfinished.measured.keys())
    if n_kept:
        console.print(f"{n_kept} of {len(wanted)} measurements are kept from a run that was stopped", soft_wrap=True)
    measure(wanted, quick, unfinished)
    measured = [unfinished.measured[name] for name in wanted]
    rows, others = [row for entry in measured for row in entry.rows], max(entry.others for entry in measured)
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
    unfinished.remove()
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
