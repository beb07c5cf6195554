"""The pacing law, one pass over all bidders: arrays in, arrays written."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy")
def control_budget(share, last_cost, p, i, d, bound, left, sum_error, last_error, control):
    """The budget controller's output after a tick; every array is (n,) float64.

    Args:
        share: Planned share of the budget left that the tick was to spend.
        last_cost: What it spent.
        p, i, d: Gains.
        bound: The control stays within +-bound.
        left: Budget left before the tick, updated.
        sum_error, last_error: Of the ticks before, updated.
        control: Written.
    """
    for k in range(left.shape[0]):
        planned = left[k] * share[k]
        error = 0.0
        if planned > 0:
            error = min(max((planned - last_cost[k]) / planned, -1.0), 1.0)
        left[k] -= last_cost[k]
        sum_error[k] += error
        output = p * error + i * sum_error[k] + d * (error - last_error[k])
        last_error[k] = error
        control[k] = min(max(output, -bound), bound)


@njit(cache=True, error_model="numpy")
def guard_cpa(limit, last_cost, last_expected_conversions, p, i, bound, spent, gained, sum_error, guard):
    """The CPA guard's output after a tick; every array is (n,) float64.

    Args:
        limit: Limit on the CPA.
        last_cost, last_expected_conversions: Cost and predicted conversions of the tick.
        p, i: Gains.
        bound: The guard stays within +-bound.
        spent, gained, sum_error: Of the ticks before, updated.
        guard: Written.
    """
    for k in range(limit.shape[0]):
        spent[k] += last_cost[k]
        gained[k] += last_expected_conversions[k]
        error = 0.0
        if gained[k] > 0:
            error = min(max(1.0 - spent[k] / (gained[k] * limit[k]), -1.0), 1.0)
        sum_error[k] += error
        output = p * error + i * sum_error[k]
        guard[k] = min(max(output, -bound), bound)


# rows of a pacer: what is left, sum of the errors and last error of the budget; what is spent and gained, sum of the
# errors of the CPA; logarithms of the multiplier over its base and of its bound over the limit; the same without
# logarithm; base and limit
N_ROWS = 12
LOG_RATIO, RATIO, SCALE = 6, 8, 10  # the first of two rows each


@njit(cache=True)
def pace(share, last_cost, last_expected_conversions, gains, pacer):
    """What both controllers make of a tick; see `control_budget` and `guard_cpa`.

    Args:
        share: (n,) or (1,) float64.
        last_cost, last_expected_conversions: (n,) float64.
        gains: (6,) float64: p, i, d of the budget, p and i of the CPA, and the bound of both controls.
        pacer: (N_ROWS, n) float64, the first 8 rows are updated.
    """
    n = pacer.shape[1]
    of_all = share if share.shape[0] == n else np.full(n, share[0])
    control_budget(
        of_all, last_cost, gains[0], gains[1], gains[2], gains[5], pacer[0], pacer[1], pacer[2], pacer[LOG_RATIO]
    )
    guard_cpa(
        pacer[SCALE + 1], last_cost, last_expected_conversions, gains[3], gains[4], gains[5], pacer[3], pacer[4],
        pacer[5], pacer[LOG_RATIO + 1],
    )  # fmt: skip


@njit(cache=True)
def scale_and_cap(pacer, out):
    """Multipliers from their ratios to base and limit: the first ratio x base, at most the second x the limit.

    Args:
        pacer: (N_ROWS, n) float64.
        out: (n,) float64, written.
    """
    for k in range(out.shape[0]):
        out[k] = min(pacer[RATIO, k] * pacer[SCALE, k], pacer[RATIO + 1, k] * pacer[SCALE + 1, k])
