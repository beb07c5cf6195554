"""The compiled loops of the labels: sums along episodes, response curves, and the multiplier with the best score."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]

ONE, COST, AMOUNTS = 0, 1, 2
"""Places in an episode's quantities: the number 1, the cost, the first of the amounts that are counted."""


class TickCurves(NamedTuple):
    """What a multiplier brings in each of n ticks if there is no budget: c outcomes, the first of which is the cost.

    Outcome i of tick t under the multiplier e^z is scale[i, t] * exp(curve of curve_idx[i] at shift[t] + z).
    """

    curves: Float  # (k, N_KNOTS + 2) over the spline basis of `response.py`
    knots: Float  # (N_KNOTS,)
    shift: Float  # (n,) log of the mean bid over the least winning cost at multiplier 1
    curve_idx: Int  # (c,) the curve that each outcome follows
    scale: Float  # (c, n) in the outcome's unit


class ScoreRule(NamedTuple):
    """`Task.score` as numbers: an objective x product over r ratios of max(1, ratio) ** -beta; a loss as it is.

    The objective is quantities[objective_idx] - cost_weight * quantities[COST]. A ratio is factor *
    quantities[over_idx] / quantities[under_idx], and 0 where the numerator is 0.
    """

    objective_idx: int
    cost_weight: float  # 1 where the objective subtracts the cost, else 0
    over_idx: Int  # (r,)
    under_idx: Int  # (r,)
    factor: Float  # (r, n)
    beta: float


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


@njit(cache=True)
def _lines(curves: Float, knots: Float) -> tuple[Float, Float]:
    """Intercepts and slopes (N_KNOTS + 1, c) of the lines between knots that curves (c, N_KNOTS + 2) are made of."""
    n_curves, n_columns = curves.shape
    intercept, slope = np.empty((n_columns - 1, n_curves)), np.empty((n_columns - 1, n_curves))
    for c in range(n_curves):
        intercept[0, c], slope[0, c] = curves[c, 0], curves[c, 1]
        for k in range(len(knots)):
            intercept[k + 1, c] = intercept[k, c] - curves[c, k + 2] * knots[k]
            slope[k + 1, c] = slope[k, c] + curves[c, k + 2]
    return intercept, slope


@njit(cache=True, nogil=True)
def evaluate_rows(first: int, stop: int, curves: Float, knots: Float, x: Float, shift: Float, out: Float) -> None:
    """Writes curves (c, N_KNOTS + 2) over the spline basis of `response.py` at x (n, m) + shift (n,) to out (c, n, m).

    Rows `first` to `stop` of the n only, so that threads may share them. A curve is a line between knots, so a value
    takes one multiplication instead of one for every column of the basis.
    """
    n_curves, m = len(curves), x.shape[1]
    intercept, slope = _lines(curves, knots)
    for i in range(first, stop):
        line = 0  # between which knots the value lies; neighbours in a row are mostly on one line
        for j in range(m):
            at = x[i, j] + shift[i]
            while line < len(knots) and at > knots[line]:
                line += 1
            while line > 0 and at <= knots[line - 1]:
                line -= 1
            for c in range(n_curves):
                out[c, i, j] = intercept[line, c] + slope[line, c] * at


@njit(cache=True)
def _sum_along(first: int, ticks: TickCurves, intercept: Float, slope: Float, grid: Float, so_far: Float) -> None:
    """Fills so_far (t + 1, c, m): the outcomes of an episode's ticks, from row `first` on, added up along it.

    From a point of the grid to the next a log-linear curve is multiplied by a constant, so that an exponential is
    needed only where a line begins.
    """
    (n_lines, n_curves), (n_sums, n_outcomes, m) = slope.shape, so_far.shape
    step, share = np.exp(slope * (grid[1] - grid[0])), np.empty((n_curves, m))
    so_far[0] = 0.0
    for t in range(n_sums - 1):
        row = first + t
        line, line_before = 0, -1
        for j in range(m):
            at = ticks.shift[row] + grid[j]
            while line < n_lines - 1 and at > ticks.knots[line]:
                line += 1
            for k in range(n_curves):
                if line == line_before:
                    share[k, j] = share[k, j - 1] * step[line, k]
                else:
                    share[k, j] = np.exp(intercept[line, k] + slope[line, k] * at)
            line_before = line
        for c in range(n_outcomes):
            k, scale = ticks.curve_idx[c], ticks.scale[c, row]
            for j in range(m):
                so_far[t + 1, c, j] = so_far[t, c, j] + scale * share[k, j]


@njit(cache=True, error_model="numpy")
def score_all(quantities: Float, rule: ScoreRule, row: int, excess: Float, score: Float) -> None:
    """Writes the scores (m,) of m episodes with quantities (AMOUNTS + amounts, m) and the limits of a row.

    The rule is `ScoreRule`'s; `excess` (m,) is overwritten. Each loop over the m is free of branches, so that the
    processor does several at once.
    """
    m = len(score)
    excess[:] = 1.0
    for r in range(len(rule.over_idx)):
        over, under, factor = quantities[rule.over_idx[r]], quantities[rule.under_idx[r]], rule.factor[r, row]
        for j in range(m):
            ratio = factor * over[j] / under[j] if over[j] > 0.0 else 0.0
            excess[j] *= max(ratio, 1.0)
    amount, cost = quantities[rule.objective_idx], quantities[COST]
    if rule.beta == 2.0:  # mostly, and without a power, which takes as long as all else
        for j in range(m):
            objective = amount[j] - rule.cost_weight * cost[j]
            score[j] = min(objective, objective * (1.0 / (excess[j] * excess[j])))
    else:
        for j in range(m):
            objective = amount[j] - rule.cost_weight * cost[j]
            score[j] = min(objective, objective * excess[j] ** -rule.beta) if excess[j] > 1.0 else objective


@njit(cache=True)
def peak_of(score: Float, grid: Float) -> float:
    """Place of the highest score (m,) along an even grid, between points by a parabola through the three highest."""
    top = 0
    for j in range(1, len(grid)):
        if score[j] > score[top]:
            top = j
    top = min(max(top, 1), len(grid) - 2)
    before, here, after = score[top - 1], score[top], score[top + 1]
    bend = before - 2 * here + after
    shift = (before - after) / (2 * bend) if bend < -1e-12 else 0.0
    place: float = grid[top] + min(max(shift, -1.0), 1.0) * (grid[1] - grid[0])
    return place


@njit(cache=True)
def peaks(score: Float, grid: Float) -> Float:
    """`peak_of` each row of scores (e, m): (e,)."""
    out = np.empty(len(score))
    for e in range(len(score)):
        out[e] = peak_of(score[e], grid)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def find_best_places(
    first_episode: int, stop_episode: int, starts: Int, logged: Float, budget: Float, ticks: TickCurves,
    rule: ScoreRule, grid: Float, best: Float,
) -> None:  # fmt: skip
    """Best multiplier from each row to its episode's end, with what the log has until then: places on the grid.

    The budget ends a campaign within a tick, of which it then has a share. Sums are differences of the episode's sums
    so far, and the last tick is looked for from that of the row before, so that a row takes a few steps instead of one
    for every tick to come. All in one order: the labels are the same whatever the machine.

    Args:
        first_episode, stop_episode: Those of the e that are looked at, so that threads may share them.
        starts: (e + 1,) first rows of the episodes.
        logged: (c, n) outcomes of the log, in the order of those of `ticks`.
        budget: (n,) of the episode, currency.
        ticks: What a multiplier brings in each row.
        rule: What is maximised.
        grid: (m,) evenly spaced logs of the multipliers.
        best: (n,), written in the rows of these episodes.
    """
    n_outcomes, m = len(logged), len(grid)
    intercept, slope = _lines(ticks.curves, ticks.knots)
    for episode in range(first_episode, stop_episode):
        first, n_ticks = starts[episode], starts[episode + 1] - starts[episode]
        so_far = np.empty((n_ticks + 1, n_outcomes, m))
        _sum_along(first, ticks, intercept, slope, grid, so_far)
        past, quantities = np.zeros(n_outcomes), np.ones((COST + n_outcomes, m))
        share, excess, score = np.empty(m), np.empty(m), np.empty(m)
        last = np.zeros(m, np.int64)  # the campaign's last tick of those from `t` on; from row to row it hardly moves
        for t in range(n_ticks):
            left = max(budget[first + t] - past[0], 0.0)
            for j in range(m):
                is_spent_at, end = so_far[t, 0, j] + left, max(last[j], t)
                while end < n_ticks - 1 and so_far[end + 1, 0, j] < is_spent_at:
                    end += 1
                while end > t and so_far[end, 0, j] >= is_spent_at:
                    end -= 1
                last[j] = end
                cost = so_far[end + 1, 0, j] - so_far[end, 0, j]
                unspent = max(left - (so_far[end, 0, j] - so_far[t, 0, j]), 0.0)
                share[j] = min(unspent / cost, 1.0) if cost > 0.0 else 1.0  # of the last tick
            for c in range(n_outcomes):
                for j in range(m):
                    at_end, after = so_far[last[j], c, j], so_far[last[j] + 1, c, j]
                    quantities[COST + c, j] = past[c] + (at_end - so_far[t, c, j] + share[j] * (after - at_end))
            score_all(quantities, rule, first + t, excess, score)
            best[first + t] = peak_of(score, grid)
            for c in range(n_outcomes):
                past[c] += logged[c, first + t]
