"""What a speed figure is, and how it is timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure.

    Attributes:
        name: At most 30 characters.
        value: Measured.
        unit: Of all numbers of the row; at most 9 characters.
        reference: What it is measured against.
        bound: What limits it physically.
        reference_value: The reference's own number; None where the value is already a ratio against it.
        bound_value: The bound's number; None where there is none.
        more_is_better: False of times, memory and costs.
    """

    name: str
    value: float
    unit: str
    reference: str
    bound: str
    reference_value: float | None = None
    bound_value: float | None = None
    more_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        """How many times better than the reference; None where the value is a ratio itself."""
        return None if self.reference_value is None else self._over(self.value, self.reference_value)

    @property
    def reached(self) -> float | None:
        """The share of the bound that is reached: 1 at the bound."""
        return None if self.bound_value is None else self._over(self.value, self.bound_value)

    def _over(self, value: float, other: float) -> float | None:
        first, second = (value, other) if self.more_is_better else (other, value)
        return first / second if second else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Rows that are measured together, and kept together where a run is stopped.

    Attributes:
        what: In a word or two, for the bar: unique in its part.
        rows: Measures them; with True, fast: fewer repetitions.
        is_quick: Whether `--quick` measures them.
        has_workers: Whether processes of its own do the work, so that theirs is not other work on the machine.
    """

    what: str
    rows: Callable[[bool], Iterable[Row]]
    is_quick: bool = True
    has_workers: bool = False


def median_seconds(work: Callable[[], Any], n: int) -> float:
    """Median wall time of n runs, after one that is not counted."""
    work()
    return statistics.median(seconds_of(work) for _ in range(n))


def seconds_of(work: Callable[[], Any]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def number(value: float) -> str:
    """At most 8 characters: three digits below 1,000, whole numbers below a million, then millions."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:,.3g} M"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
