"""Pages and tables of all published suites, for the documentation site: made from the committed rows, in processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pages.document import plotly_script
from benchmarks.pages.suite.page import render
from benchmarks.pages.tables.suite import markdown
from benchmarks.suites.storage.store import SUITE_FILE, Store, SuiteRecord

TABLES = ("registered", "families", "family-tasks", "each-family", "axis", "protocols", "scores", "comparisons")
"""Kinds of tables on a suite's page of the site; its interactive page has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A published suite, rendered.

    Attributes:
        name: Of its directory.
        record: What was run.
        machines, commits: Of its runs.
        tables: In Markdown.
        page: The interactive page, HTML.
    """

    name: str
    record: SuiteRecord
    machines: tuple[str, ...]
    commits: tuple[str, ...]
    tables: tuple[str, ...]
    page: str


def rendered(directory: Path) -> Published:
    """One suite, rendered."""
    store = Store(directory)
    runs, record = store.runs(), store.suite()
    return Published(
        name=directory.name,
        record=record,
        machines=tuple(sorted(set(runs["machine"].to_pylist()))),
        commits=tuple(sorted(set(runs["commit"].to_pylist()))) or (record.commit,),
        tables=tuple(markdown(directory, TABLES)),
        page=render(directory, plotly_script()),
    )


def render_all(results: Path, n_workers: int | None = None) -> Sequence[Published]:
    """All suites below a directory, by name; `n_workers` processes, by default one a core."""
    directories = sorted(path.parent for path in results.glob(f"*/{SUITE_FILE}"))
    if not directories:
        return ()
    n_workers = min(n_workers or len(os.sched_getaffinity(0)), len(directories))
    # not `fork`: the parent may have run compiled kernels, which GNU OpenMP does not survive
    with ProcessPoolExecutor(n_workers, mp_context=multiprocessing.get_context("forkserver")) as pool:
        return tuple(pool.map(rendered, directories))
