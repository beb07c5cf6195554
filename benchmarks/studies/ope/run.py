"""`vamo bench ope`: runs the study, or goes on with a stopped one; writes rows, tables and picture."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from auction_env.files import unfinished_work, write_atomically
from benchmarks.console import console, print_table, progress_bar
from benchmarks.studies.ope.measure import first_jobs, jobs, measure
from benchmarks.studies.ope.picture import scatter
from benchmarks.studies.ope.results import qualities, quality_cells
from benchmarks.studies.ope.settings import ID, settings_of

ROWS, PICTURE = "rows.parquet", "ope.png"
_PLAN = b"ope"  # key of the rows' metadata


def run(size: str, out: Path, *, n_workers: int | None = None, force: bool = False) -> pa.Table:
    """Measures what is missing, writes rows and picture, prints the tables.

    A finished study is not run again: its tables are printed from its rows.

    Args:
        size: "full", "cpu" or "testing".
        out: Directory of the rows and the picture; unfinished work lies beside it.
        n_workers: Jobs at a time; None: one a core.
        force: Whether the rows or the unfinished work of other settings are replaced.

    Raises:
        ValueError: No such size, or rows of other settings in `out`.
        ChildProcessError: A job failed.
    """
    settings = settings_of(size)
    plan = json.dumps(settings.plan, sort_keys=True)
    rows = None if force else read_rows(out, plan)
    if rows is None:
        out.parent.mkdir(parents=True, exist_ok=True)
        n_jobs = len(first_jobs()) + len(jobs())
        with unfinished_work(out, settings.plan, force=force) as folder:
            with progress_bar(f"{ID}/{size}", n_jobs, "jobs") as bar:
                rows = measure(settings, folder, n_workers=n_workers, progress=bar.advance)
            buffer = io.BytesIO()
            pq.write_table(rows.replace_schema_metadata({_PLAN: plan.encode()}), buffer, compression="zstd")
            out.mkdir(exist_ok=True)
            write_atomically(out / ROWS, buffer.getvalue())
            write_atomically(out / PICTURE, scatter(rows))
    for cells in quality_cells(qualities(rows)):
        print_table(cells.to_rich())
    console.print(f"rows and picture: {out}", soft_wrap=True)
    return rows


def read_rows(directory: Path, plan: str | None = None) -> pa.Table | None:
    """The rows of a finished study; None where there are none.

    Raises:
        ValueError: They are of other settings than `plan`.
    """
    path = directory / ROWS
    if not path.is_file():
        return None
    rows = pq.read_table(path)
    found = (rows.schema.metadata or {}).get(_PLAN, b"").decode()
    if plan is not None and found != plan:
        raise ValueError(f"{path} must hold rows of these settings, found others: take another `--out`, or --force")
    return rows
