"""`speed/v1`: every speed figure of the project in one table, with machine and commit."""

from __future__ import annotations

from pathlib import Path

from benchmarks.speed import figures as speed
from benchmarks.suites.catalogue import SPEED
from benchmarks.suites.running import machine
from benchmarks.suites.spec import Size
from benchmarks.suites.storage.store import Store, SuiteRecord

FIGURES = "speed.json"


def run(out: Path, size: Size, command: str) -> list[speed.Row]:
    """Measures all figures, prints the table, writes `speed.json` and `suite.json`; sizes below full are quick."""
    full_id = SPEED if size == "full" else f"{SPEED}/{size}"
    out.mkdir(parents=True, exist_ok=True)
    rows = speed.run(quick=size != "full", json_path=out / FIGURES)
    record = SuiteRecord(
        id=full_id,
        version=1,
        size=size,
        title="Speed",
        question="How fast is each part, against which reference, and how far from its physical bound?",
        tasks={},
        variants=[],
        methods=[],
        commit=machine.commit(),
        command=command,
        versions=machine.versions() | {"machine": machine.describe()},
    )
    Store(out).write_suite(record)
    return rows
