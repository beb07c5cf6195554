"""Numbers and names as the pages write them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from benchmarks.statistics.bootstrap import Estimate

MINUS = "\u2212"


def number(x: float, decimals: int | None = None) -> str:
    """A number with a fixed count of decimals, or about 3 significant digits; a dash where not finite."""
    if not np.isfinite(x):
        return "∞" if x == np.inf else "–"
    places = decimals_for([x]) if decimals is None else decimals
    shown = f"{abs(x):,.{places}f}"
    is_zero = not any(digit in "123456789" for digit in shown)
    return f"{MINUS}{shown}" if x < 0 and not is_zero else shown


def decimals_for(numbers: Iterable[float]) -> int:
    """Decimals that show the largest of the numbers with 3 significant digits, from 0 to 3."""
    sizes = [abs(x) for x in numbers if np.isfinite(x) and x]
    return int(np.clip(2 - np.floor(np.log10(max(sizes))), 0, 3)) if sizes else 2


def percent(x: float) -> str:
    """A share in per cent with one decimal."""
    return f"{number(100 * x, 1)} %" if np.isfinite(x) else "–"


def interval(estimate: Estimate, decimals: int | None = None) -> str:
    """Both ends, with the decimals of the larger."""
    places = decimals_for([estimate.low, estimate.high]) if decimals is None else decimals
    return f"{number(estimate.low, places)} to {number(estimate.high, places)}"


def p_text(p: float) -> str:
    """A p value with 3 decimals."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def ranges(numbers: Iterable[int]) -> str:
    """Whole numbers with runs of three and more shortened: `0 to 9, 12, 15`."""
    runs: list[list[int]] = []
    for x in sorted(set(numbers)):
        if runs and x == runs[-1][-1] + 1:
            runs[-1].append(x)
        else:
            runs.append([x])
    parts = [f"{r[0]} to {r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in runs]
    return ", ".join(parts)
