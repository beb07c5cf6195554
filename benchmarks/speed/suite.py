"""`speed/v1`: every speed figure of the project in one table, with machine and commit."""

from __future__ import annotations

from pathlib import Path

from benchmarks.speed import figures
from benchmarks.speed.measure import Row
from benchmarks.suites.catalogue import SPEED
from benchmarks.suites.running import provenance
from benchmarks.suites.spec import Size
from benchmarks.suites.storage.store import FIGURES, Store, SuiteRecord


def run(out: Path, size: Size, command: str) -> list[Row]:
    """Measures all figures, prints the table, writes `speed.json` and `suite.json`; sizes below full are quick."""
    full_id = SPEED if size == "full" else f"{SPEED}/{size}"
    out.mkdir(parents=True, exist_ok=True)
    rows = figures.run(quick=size != "full", json_path=out / FIGURES)
    record = SuiteRecord(
        id=full_id,
        version=1,
        size=size,
        title="Speed",
        question="How fast is each part, against which reference, and how far from its physical bound?",
        tasks={},
        variants=[],
        methods=[],
        commit=provenance.commit(),
        command=command,
        versions=provenance.versions() | {"machine": provenance.machine()},
    )
    Store(out).write_suite(record)
    return rows
