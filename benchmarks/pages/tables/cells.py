"""A table as its cells, and their forms for the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from textwrap import wrap

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.statistics.bootstrap import Estimate

TERMINAL = 80
"""Characters of a line that every terminal has."""

_LEAST_TEXT, _LEAST_WORDS = 16, 10  # characters of the first and of another column of text, however narrow it gets
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
                least = _LEAST_TEXT if position == 0 else _LEAST_WORDS
                table.add_column(name, overflow="fold", min_width=min(width, least))
            else:  # figures do not fold, their heading does
                longest = max(map(len, name.split()), default=1)
                heading = wrap(name, max(width, min(longest, _MOST_HEADING)))
                width = max(width, *map(len, heading))
                table.add_column("\n".join(heading), justify="right", no_wrap=True, min_width=width)
        for row in self.rows:
            table.add_row(*(escape(cell) for cell in row))
        return table

    def fitting(self, width: int = TERMINAL) -> list[Cells]:
        """The table, or several with some of its columns of figures each, so that each fits into `width` characters.

        Every one has the first column; the last one has the notes. A column is never cut, and a table with several
        columns of text stays whole, because they belong together.
        """
        if self.text_columns != {0}:
            return [self]
        parts: list[list[int]] = [[]]
        for position in range(1, len(self.header)):
            if parts[-1] and not self._with([*parts[-1], position])._fits(width):
                parts.append([])
            parts[-1].append(position)
        return [*(replace(self._with(part), notes=()) for part in parts[:-1]), self._with(parts[-1])]

    def _with(self, figures: Sequence[int]) -> Cells:
        """The first column and some of the others."""
        kept = (0, *figures)
        return replace(
            self,
            header=tuple(self.header[p] for p in kept),
            rows=tuple(tuple(row[p] for p in kept) for row in self.rows),
        )

    def _fits(self, width: int) -> bool:
        return Console(width=10_000).measure(self.to_rich()).minimum <= width

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
