"""The 16 state features of one advertiser from its running sums: the formula behind `observation.StateFeatures`.

The running sums are one array `running` (n, 1 + WINDOW, N_STATISTICS) float64: of each advertiser over all past ticks,
then the last ones; the columns are bid, least winning cost, value, conversions, win rate and volume. They are passed
as an array and an index, because slices cost as much as the work.
"""

from __future__ import annotations

import numpy as np
from numba import njit

WINDOW = 3  # ticks of the "last 3" features
N_STATISTICS = 6
_VOLUME = N_STATISTICS - 1


@njit(cache=True, inline="always")
def write_features(running, e, n_past, time_left, budget_left, value_now, volume_now, out):
    """Writes the features of advertiser e, which has `n_past` past ticks, into `out` (>= 16,)."""
    n_all = max(n_past, 1)
    n_recent = min(n_all, WINDOW)
    out[0] = time_left
    out[1] = budget_left
    for column in range(N_STATISTICS):
        total = 0.0
        for k in range(1, 1 + WINDOW):
            total += running[e, k, column]
        if column == 0:
            out[2], out[3] = running[e, 0, column] / n_all, total / n_recent
        elif column < _VOLUME:
            out[3 + column], out[7 + column] = running[e, 0, column] / n_all, total / n_recent
        else:
            out[14], out[15] = total, running[e, 0, column]
    out[12] = value_now
    out[13] = volume_now


@njit(cache=True, inline="always")
def add_tick(running, e, bid, least_winning_cost, value, conversions, win_rate, volume):
    """Adds a tick's means and its volume to the running sums of advertiser e."""
    for k in range(1, WINDOW):
        for column in range(N_STATISTICS):
            running[e, k, column] = running[e, k + 1, column]
    running[e, WINDOW, 0] = bid
    running[e, WINDOW, 1] = least_winning_cost
    running[e, WINDOW, 2] = value
    running[e, WINDOW, 3] = conversions
    running[e, WINDOW, 4] = win_rate
    running[e, WINDOW, _VOLUME] = volume
    for column in range(N_STATISTICS):
        running[e, 0, column] += running[e, WINDOW, column]


@njit(cache=True)
def write_all(running, n_past, time_left, budget_left, value_now, volume_now, out):
    """`write_features` of all n advertisers; `n_past`, `budget_left`, `value_now`, `volume_now` (n,), `out` (n, 16)."""
    for e in range(running.shape[0]):
        write_features(running, e, n_past[e], time_left, budget_left[e], value_now[e], volume_now[e], out[e])


@njit(cache=True)
def add_ticks(running, n_past, mask, outcome):
    """`add_tick` of the advertisers in `mask` (n,); `outcome` (n, N_STATISTICS): the five means, then the volume."""
    for e in range(running.shape[0]):
        if mask[e]:
            add_tick(
                running, e, outcome[e, 0], outcome[e, 1], outcome[e, 2], outcome[e, 3], outcome[e, 4], outcome[e, 5]
            )
            n_past[e] += 1


@njit(cache=True, nogil=True)
def write_episodes(starts, tick, n_ticks, budget_left, value, volume, outcomes, out):
    """`write_features` of logged rows, episode after episode; what is NaN makes NaN of the features that need it.

    Args: `starts` (n_episodes + 1,) int64, the first row of each episode, then n; `tick` (n,) int32; `budget_left` (n,)
    as a share; `value`, `volume` (n,) of the tick; `outcomes` (5, n) the tick's means in the order of `add_tick`; `out`
    (n, >= 16).
    """
    running = np.zeros((1, 1 + WINDOW, N_STATISTICS))
    for e in range(len(starts) - 1):
        running[:] = 0.0
        for i in range(starts[e], starts[e + 1]):
            write_features(
                running, 0, i - starts[e], (n_ticks - tick[i]) / n_ticks, budget_left[i], value[i], volume[i], out[i]
            )
            add_tick(
                running, 0, outcomes[0, i], outcomes[1, i], outcomes[2, i], outcomes[3, i], outcomes[4, i], volume[i]
            )
