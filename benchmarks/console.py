"""Progress bars and tables of the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

console = Console()

Advance = Callable[[float], None]


def print_table(table: Table) -> None:
    """Prints a table: text folds to the width of the terminal, and where figures need more, its lines wrap."""
    needed = Console(width=10_000).measure(table).minimum
    Console(width=max(console.width, needed)).print(table)


LINE_EVERY = 30.0
"""Seconds between two lines of a bar whose output is a file or a pipe, where a bar cannot be drawn over itself."""


class RateColumn(ProgressColumn):
    """Units done per second so far: `finished` keeps the last figure."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        elapsed = task.finished_time if task.finished else task.elapsed
        if not elapsed or not task.completed:
            return Text("")
        return Text(f"{task.completed / elapsed:,.0f} {self._unit}/s", style="cyan")


class Bar:
    """A progress bar on the terminal; in a file or a pipe, the same row as a line now and then."""

    def __init__(self, progress: Progress, bar: TaskID) -> None:
        self._progress, self._bar = progress, bar
        self._line_at = time.monotonic()

    def advance(self, amount: float) -> None:
        """Adds to what is done."""
        self._progress.advance(self._bar, amount)
        self._line()

    def update(self, completed: float, total: float) -> None:
        """Sets what is done and how much there is."""
        self._progress.update(self._bar, completed=completed, total=total)
        self._line()

    def note(self, text: str) -> None:
        """Sets the text at the end of the line."""
        self._progress.update(self._bar, note=text)

    def _line(self) -> None:
        console = self._progress.console
        if self._progress.disable or console.is_terminal or time.monotonic() - self._line_at < LINE_EVERY:
            return
        if not self._progress.finished:  # the last state is printed at the end of the block
            console.print(self._progress.make_tasks_table(self._progress.tasks))
        self._line_at = time.monotonic()


@contextmanager
def progress_bar(
    label: str,
    total: float | None,
    unit: str | None,
    *,
    label_width: int = 31,
    has_estimate: bool = True,
    is_shown: bool = True,
) -> Iterator[Bar]:
    """Shows a bar with count, rate, remaining time and a note while the block runs.

    Args:
        label: What is done.
        total: How much there is; None where it is not known yet.
        unit: Of the rate; None leaves the rate out.
        label_width: Characters that labels get, for bars below each other.
        has_estimate: False shows the time so far instead of the remaining one, which rests on the last few units: for
            units that come in bursts, with an estimate in the note.
        is_shown: False shows nothing.
    """
    from agents.learning.bars import DRAWN_PER_SECOND, only_bar  # its packages take a while, and --help needs no bar

    columns = (
        TextColumn(f"{{task.description:<{label_width}}}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        *([] if unit is None else [RateColumn(unit)]),
        TimeRemainingColumn(elapsed_when_finished=True, compact=True) if has_estimate else TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", style="cyan"),
    )
    drawn = Progress(
        *columns,
        console=console,
        disable=not is_shown,
        auto_refresh=console.is_terminal,
        refresh_per_second=DRAWN_PER_SECOND,
    )
    with only_bar(), drawn as progress:
        yield Bar(progress, progress.add_task(label, total=total, note=""))
