"""The compiled loops of the labels: sums along episodes, and response curves at many multipliers."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@njit(cache=True)
def sums_so_far(values: Float, episode_starts: Int) -> Float:
    """Sum of the episode's earlier rows, (n,): added in the order of the rows, as an acting agent does."""
    out = np.empty_like(values)
    for episode in range(len(episode_starts) - 1):
        total = 0.0
        for row in range(episode_starts[episode], episode_starts[episode + 1]):
            out[row] = total
            total += values[row]
    return out


@njit(cache=True, parallel=True)
def sums_until_broke(left: Float, starts: Int, brings: Float) -> Float:
    """Outcomes (c, n, m) from each row to its episode's end, under the budget (n,) that is left then.

    The budget ends a campaign within a tick, of which it then has a share. Sums are differences of the episode's sums
    so far, and the last tick is looked for from that of the row before, so that a row takes a few steps instead of one
    for every tick to come. All in one order: the labels are the same whatever the machine.

    Args:
        left: (n,) currency.
        starts: (e + 1,) first rows of the episodes.
        brings: (c, n, m) outcomes of each tick under m multipliers; the first of the c is the cost.
    """
    n_outcomes, _, n_multipliers = brings.shape
    out = np.empty_like(brings)
    for episode in prange(len(starts) - 1):
        first, stop = starts[episode], starts[episode + 1]
        so_far = np.empty((n_outcomes, stop - first + 1))
        for j in range(n_multipliers):
            for c in range(n_outcomes):
                so_far[c, 0] = 0.0
                for t in range(stop - first):
                    so_far[c, t + 1] = so_far[c, t] + brings[c, first + t, j]
            last = 0  # the campaign's last tick of those from `t` on; from row to row it hardly moves
            for t in range(stop - first):
                budget = left[first + t]
                is_spent_at = so_far[0, t] + budget
                last = max(last, t)
                while last < stop - first - 1 and so_far[0, last + 1] < is_spent_at:
                    last += 1
                while last > t and so_far[0, last] >= is_spent_at:
                    last -= 1
                cost, unspent = brings[0, first + last, j], max(budget - (so_far[0, last] - so_far[0, t]), 0.0)
                share = min(unspent / cost, 1.0) if cost > 0.0 else 1.0  # of the last tick
                for c in range(n_outcomes):
                    out[c, first + t, j] = so_far[c, last] - so_far[c, t] + share * brings[c, first + last, j]
    return out


@njit(cache=True, parallel=True)
def evaluate_curves(curves: Float, knots: Float, x: Float, shift: Float) -> Float:
    """Curves (c, N_KNOTS + 2) over the spline basis of `response.py` at x (n, m) + shift (n,): (c, n, m).

    A curve is a line between knots, so a value takes one multiplication instead of one for every column of the basis.
    """
    (n_curves, n_columns), (n, m) = curves.shape, x.shape
    intercept, slope = np.empty((n_columns - 1, n_curves)), np.empty((n_columns - 1, n_curves))
    for c in range(n_curves):
        intercept[0, c], slope[0, c] = curves[c, 0], curves[c, 1]
        for k in range(len(knots)):
            intercept[k + 1, c] = intercept[k, c] - curves[c, k + 2] * knots[k]
            slope[k + 1, c] = slope[k, c] + curves[c, k + 2]
    out = np.empty((n_curves, n, m))
    for i in prange(n):
        line = 0  # between which knots the value lies; neighbours in a row are mostly on one line
        for j in range(m):
            at = x[i, j] + shift[i]
            while line < len(knots) and at > knots[line]:
                line += 1
            while line > 0 and at <= knots[line - 1]:
                line -= 1
            for c in range(n_curves):
                out[c, i, j] = intercept[line, c] + slope[line, c] * at
    return out
