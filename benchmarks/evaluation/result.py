"""What an evaluation found: rows, and what follows from them alone: estimates, table, data frame, figure, files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from auction_env.files import write_atomically
from benchmarks.evaluation.tables import (
    difference_cells,
    feasibility_cells,
    narrow,
    regret_cells,
    score_cells,
    welfare_cells,
)
from benchmarks.pages.tables.cells import Cells
from benchmarks.statistics.bootstrap import Bootstrap
from benchmarks.statistics.summaries import Comparison, Feasibility, Summary, compare, feasibility, summarise
from benchmarks.suites.storage.rows import Rows

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

ROWS, RECORD, PAGE = "rows.parquet", "evaluation.json", "report.html"
"""Files of a directory of results."""

METRIC = "score_expected"
"""The column of the rows that is the score: of expected amounts, which have the same mean and far less noise."""

REGRET, WELFARE = "regret", "welfare"
METRICS = {
    REGRET: "score of the best constant in hindsight minus the bidder's",
    WELFARE: "what the slots are worth to all who won them, over the most that they could be worth; live markets only",
}
"""Further tables that an evaluation may have."""

EFFICIENT, REVENUE = "efficient_welfare", "revenue"
"""Columns of the rows beside `WELFARE`, where that was measured, currency."""

_WIDTH = 80


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Bidders on the same episodes.

    Attributes:
        rows: A row an episode and bidder: `benchmarks.suites.storage.rows.result_rows`.
        against: Name of the bidder that the others are compared with.
        episodes: What was played, a record a task.
        bootstrap: How intervals are computed.
        n_resumed: Episodes that an earlier call had finished.
        metrics: Names of the `METRICS` of which it shows tables, too.
    """

    rows: Rows
    against: str
    episodes: tuple[Mapping[str, Any], ...] = ()
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    n_resumed: int = 0
    metrics: tuple[str, ...] = ()

    @cached_property
    def summaries(self) -> tuple[Summary, ...]:
        """The scores of every bidder, by task and, for several, over all."""
        return summarise(self.rows, METRIC, self.bootstrap)

    @cached_property
    def regrets(self) -> tuple[Summary, ...]:
        """Summaries of the regret: the best constant in hindsight minus the score, on the same episodes.

        `share` is the regret over the mean of the reference.
        """
        regret = np.asarray(self.rows["reference"], np.float64) - np.asarray(self.rows[METRIC], np.float64)
        return summarise({**self.rows, REGRET: regret}, REGRET, self.bootstrap)

    @cached_property
    def welfare(self) -> tuple[Summary, ...]:
        """Summaries of the welfare of all advertisers; `share` is over the efficient welfare (`agents.Welfare`).

        Raises:
            ValueError: It was not measured.
        """
        return self._of_efficient(WELFARE)

    @cached_property
    def revenue(self) -> tuple[Summary, ...]:
        """Summaries of what all advertisers pay, as those of `welfare`."""
        return self._of_efficient(REVENUE)

    def _of_efficient(self, column: str) -> tuple[Summary, ...]:
        if column not in self.rows:
            raise ValueError(f"`metrics` must hold {WELFARE!r} when episodes are played, found {list(self.metrics)}")
        return summarise({**self.rows, "reference": self.rows[EFFICIENT]}, column, self.bootstrap)

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Paired differences of the others from `against`."""
        return compare(self.rows, [self.against], METRIC, self.bootstrap) if len(self.names) > 1 else ()

    @cached_property
    def feasibility(self) -> tuple[Feasibility, ...]:
        """How often every bidder kept the limits."""
        return feasibility(self.rows)

    @property
    def names(self) -> tuple[str, ...]:
        """The bidders."""
        return tuple(dict.fromkeys(str(name) for name in self.rows["method"]))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks."""
        return tuple(dict.fromkeys(str(name) for name in self.rows["task"]))

    def cells(self) -> list[Cells]:
        """The tables: scores, differences, limits, and those of the metrics asked for."""
        tables = [score_cells(self.summaries, self.tasks)]
        if self.comparisons:
            tables.append(difference_cells(self.comparisons, self.tasks, self.against))
        tables.append(feasibility_cells(self.feasibility, self.tasks))
        if REGRET in self.metrics:
            tables.append(regret_cells(self.regrets, self.tasks))
        if WELFARE in self.metrics:
            tables.append(welfare_cells(self.welfare, self.revenue, self.tasks))
        return tables

    def table(self) -> str:
        """The tables as text of at most 80 columns."""
        console = Console(width=_WIDTH, record=True, file=io.StringIO(), color_system=None)
        for cells in self.cells():
            console.print(narrow(cells).to_rich())
            console.print()
        return "\n".join(line.rstrip() for line in console.export_text().splitlines()).rstrip()

    def to_pandas(self) -> pd.DataFrame:
        """The rows; ModuleNotFoundError without pandas."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def plot(self, task: str | None = None) -> go.Figure:
        """Shares of the reference as dots with their intervals: see `benchmarks.figures.plot_shares`.

        Args:
            task: Which one; None: over all of them.

        Raises:
            ValueError: The task was not played.
            ModuleNotFoundError: plotly is not installed.
        """
        from benchmarks.figures import plot_shares  # needs extras that an evaluation can do without

        return plot_shares(self.summaries, task)

    def __repr__(self) -> str:
        n = len(self.rows["seed"]) // len(self.names)
        return f"<Evaluation of {', '.join(self.names)} on {n} episodes of {', '.join(self.tasks)}>"


def save(found: Evaluation, directory: Path) -> Path:
    """Writes rows, record and page, each whole or not at all.

    Returns:
        Where the page is; the record where plotly, which the page needs, is not installed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / ROWS, to_bytes(found.rows))
    record = {"against": found.against, "episodes": list(found.episodes), "metrics": list(found.metrics)}
    write_atomically(directory / RECORD, (json.dumps(record) + "\n").encode())
    try:
        from benchmarks.evaluation.page import write_page

        return write_page(directory / PAGE, found.summaries, found.cells(), found.episodes)
    except ModuleNotFoundError:  # plotly
        return directory / RECORD


def read(directory: str | Path) -> Evaluation:
    """What `save` wrote; FileNotFoundError where there is nothing."""
    path = Path(directory)
    if not (path / RECORD).is_file():
        raise FileNotFoundError(f"{path} must hold an evaluation, found no {RECORD}")
    record = json.loads((path / RECORD).read_text(encoding="utf-8"))
    table = pq.read_table(path / ROWS)
    return Evaluation(
        rows=from_table(table),
        against=record["against"],
        episodes=tuple(record["episodes"]),
        metrics=tuple(record["metrics"]),
    )


def from_table(table: pa.Table) -> Rows:
    """The rows that became a table; texts are NumPy's, as they were."""
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    return {name: column.astype(str) if column.dtype == object else column for name, column in columns.items()}


def to_bytes(rows: Rows) -> memoryview:
    """The rows as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(pa.table(rows), sink)
    return sink.getbuffer()
