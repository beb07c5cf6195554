"""Speed of the importers of public and own logs of bids, each against the same sums in pandas."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from auction_env.data import import_ipinyou
from auction_env.data.formats.criteo.importing import import_criteo
from auction_env.data.formats.table.bids import sum_bids
from auction_env.tasks import Task
from benchmarks.speed.measure import Row, median_seconds, seconds_of
from benchmarks.speed.reference.pandas_logs import bids_pandas, criteo_pandas, ipinyou_pandas
from benchmarks.speed.reference.synthetic_logs import write_bids, write_criteo, write_ipinyou

CLICKS = Task(name="clicks", objective="clicks")


def logs_rows(quick: bool) -> Iterator[Row]:
    """All rows of this part."""
    n = 200_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bids, criteo = folder / "bids.csv", folder / "criteo.tsv"
        write_bids(bids, n)
        write_ipinyou(folder, n)
        write_criteo(criteo, n)
        logs = sorted(folder.glob("*.txt"))
        out = folder / "out"
        yield _row("bids", n, [bids], lambda: sum_bids(bids, time_unit="s"), lambda: bids_pandas(bids))
        given: dict[str, Any] = {"task": CLICKS, "budget_factor": 1.0, "constants": {"cpa_target": 1.0}}
        yield _row(
            "ipinyou", n, logs, lambda: import_ipinyou(logs, out, force=True, **given), lambda: ipinyou_pandas(folder)
        )
        result = folder / "criteo"
        yield _row(
            "criteo", n, [criteo], lambda: import_criteo(criteo, result, force=True), lambda: criteo_pandas(criteo)
        )


def _row(name: str, n: int, files: list[Path], work: Callable[[], Any], pandas_work: Callable[[], Any]) -> Row:
    seconds, pandas_seconds = median_seconds(work, 3), seconds_of(pandas_work)
    copy_seconds = median_seconds(lambda: [file.read_bytes() for file in files], 3)
    return Row(
        name=f"{name}_import_rows_per_s",
        value=n / seconds,
        unit="rows/s",
        reference=f"{n:,} bids or impressions, uncompressed; the same sums in pandas: {n / pandas_seconds:,.0f} rows/s",
        bound=f"{n / copy_seconds:,.0f}: reading the files from the page cache",
        reference_value=n / pandas_seconds,
        bound_value=n / copy_seconds,
        more_is_better=True,
    )
