"""What a speed figure is, and how it is timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure: `reference` says what it is measured against, `bound` what limits it physically."""

    name: str
    value: float
    unit: str
    reference: str
    bound: str


def median_seconds(work: Callable[[], Any], n: int) -> float:
    """Median wall time of n runs, after one that is not counted."""
    work()
    return statistics.median(seconds_of(work) for _ in range(n))


def seconds_of(work: Callable[[], Any]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
