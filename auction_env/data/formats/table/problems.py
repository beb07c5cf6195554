"""What is wrong with a table: every problem with its row and its column, in one error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

MOST_SHOWN = 20


class TableProblem(NamedTuple):
    """Something wrong with a table."""

    source: str  # the file; empty for a table in memory
    row: int | None  # the first row of data is row 1; None: the table as a whole
    column: str  # as the table names it; empty for a whole row
    message: str  # the rule and what was found

    def __str__(self) -> str:
        row = "" if self.row is None else f"row {self.row}"
        place = ", ".join(part for part in (self.source, row) if part)
        said = f"`{self.column}` {self.message}" if self.column else self.message
        return f"{place}: {said}" if place else said


class TableError(ValueError):
    """A table that breaks rules.

    Attributes:
        problems: Up to `MOST_SHOWN` of each rule, in the order of the rows.
        n_problems: Number of all.
    """

    def __init__(self, problems: Sequence[TableProblem], n_problems: int | None = None) -> None:
        self.problems = tuple(problems)
        self.n_problems = len(problems) if n_problems is None else n_problems
        lines = [str(problem) for problem in self.problems[:MOST_SHOWN]]
        if self.n_problems > len(lines):
            lines.append(f"and {self.n_problems - len(lines):,} more")
        count = f"{self.n_problems:,} problems" if self.n_problems > 1 else "1 problem"
        super().__init__("\n".join([f"the table has {count}:", *lines]) if len(lines) > 1 else lines[0])


class Problems:
    """Collects problems.

    Args:
        sources: Names of the parts of the table.
        ends: (number of parts) rows up to the end of each part.
        names: By column, what the table calls it.
    """

    def __init__(self, sources: Sequence[str], ends: Sequence[int], names: dict[str, str]) -> None:
        self._sources, self._ends, self._names = sources, np.asarray(ends, np.int64), names
        self._found: list[tuple[int, TableProblem]] = []
        self._n = 0

    def add(self, column: str, rows: ArrayLike, message: str | Callable[[int], str]) -> None:
        """Notes that `column` is wrong in `rows`, indices into the whole table; `message` may depend on the row."""
        given = np.asarray(rows, np.int64).reshape(-1)
        self._n += len(given)
        for row in given[:MOST_SHOWN].tolist():
            part = int(np.searchsorted(self._ends, row, side="right"))
            first = int(self._ends[part - 1]) if part else 0
            said = message if isinstance(message, str) else message(row)
            problem = TableProblem(self._sources[part], row - first + 1, self._names.get(column, column), said)
            self._found.append((row, problem))

    def raise_any(self) -> None:
        """TableError if there are problems."""
        if self._found:
            raise TableError([problem for _, problem in sorted(self._found, key=lambda pair: pair[0])], self._n)
