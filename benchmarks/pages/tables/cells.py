"""A table as its cells, and their forms for the terminal and in Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap

from rich import box
from rich.markup import escape
from rich.table import Table

from benchmarks.statistics.bootstrap import Estimate

_LEAST_TEXT = 16  # characters of a column of text, however narrow the terminal is
_MOST_HEADING = 14  # characters of a word in the heading of a column of figures, beyond which it is broken


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """A table.

    Attributes:
        kind: What it shows, of `suite.KINDS` for the tables of a suite.
        title: Above it.
        header: Names of the columns.
        rows: Cells as text.
        notes: Below it.
        text_columns: Positions of the columns that hold text, which folds; the others hold figures, which do not.
    """

    kind: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    text_columns: frozenset[int] = frozenset({0})

    def to_rich(self) -> Table:
        """For the terminal."""
        table = Table(
            title=self.title,
            title_justify="left",
            caption="\n".join(self.notes),
            caption_justify="left",
            box=box.SIMPLE,
        )
        for position, name in enumerate(self.header):
            width = max((len(row[position]) for row in self.rows), default=1)
            if position in self.text_columns:
                table.add_column(name, overflow="fold", min_width=min(width, _LEAST_TEXT))
            else:  # figures do not fold, their heading does
                longest = max(map(len, name.split()), default=1)
                heading = wrap(name, max(width, min(longest, _MOST_HEADING)))
                width = max(width, *map(len, heading))
                table.add_column("\n".join(heading), justify="right", no_wrap=True, min_width=width)
        for row in self.rows:
            table.add_row(*(escape(cell) for cell in row))
        return table

    def to_markdown(self) -> str:
        """For the README."""
        lines = [
            "| " + " | ".join(self.header) + " |",
            "| " + " | ".join(["---", *["---:"] * (len(self.header) - 1)]) + " |",
            *("| " + " | ".join(row) + " |" for row in self.rows),
        ]
        return "\n".join([f"**{self.title}**", "", *lines, *(f"\n{note}" for note in self.notes)])


def estimate(found: Estimate, digits: int) -> str:
    """A value with its interval."""
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"
