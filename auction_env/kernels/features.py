"""The 16 state features of one advertiser from its running sums: the formula behind `observation.StateFeatures`.

The running sums of advertiser e are rows e of `sums` (n, 5), `recent` (n, WINDOW, 5), `volume_sum` (n,) and
`volume_recent` (n, WINDOW), float64; the five columns are bid, least winning cost, value, conversions, win rate.
Rows are passed as arrays and an index, because slices cost as much as the work.
"""

from __future__ import annotations

import numpy as np
from numba import njit

WINDOW = 3  # ticks of the "last 3" features
N_STATISTICS = 5


@njit(cache=True, inline="always")
def write_features(
    sums, recent, volume_sum, volume_recent, e, n_past, time_left, budget_left, value_now, volume_now, out
):
    """Writes the features of advertiser e, which has `n_past` past ticks, into `out` (>= 16,)."""
    n_all = max(n_past, 1)
    n_recent = min(n_all, WINDOW)
    out[0] = time_left
    out[1] = budget_left
    for column in range(N_STATISTICS):
        total = 0.0
        for k in range(WINDOW):
            total += recent[e, k, column]
        if column == 0:
            out[2], out[3] = sums[e, column] / n_all, total / n_recent
        else:
            out[3 + column], out[7 + column] = sums[e, column] / n_all, total / n_recent
    out[12] = value_now
    out[13] = volume_now
    total = 0.0
    for k in range(WINDOW):
        total += volume_recent[e, k]
    out[14] = total
    out[15] = volume_sum[e]


@njit(cache=True, inline="always")
def add_tick(sums, recent, volume_sum, volume_recent, e, bid, least_winning_cost, value, conversions, win_rate, volume):
    """Adds a tick's means and its volume to the running sums of advertiser e."""
    for k in range(WINDOW - 1):
        for column in range(N_STATISTICS):
            recent[e, k, column] = recent[e, k + 1, column]
        volume_recent[e, k] = volume_recent[e, k + 1]
    recent[e, WINDOW - 1, 0] = bid
    recent[e, WINDOW - 1, 1] = least_winning_cost
    recent[e, WINDOW - 1, 2] = value
    recent[e, WINDOW - 1, 3] = conversions
    recent[e, WINDOW - 1, 4] = win_rate
    volume_recent[e, WINDOW - 1] = volume
    volume_sum[e] += volume
    for column in range(N_STATISTICS):
        sums[e, column] += recent[e, WINDOW - 1, column]


@njit(cache=True)
def write_all(sums, recent, volume_sum, volume_recent, n_past, time_left, budget_left, value_now, volume_now, out):
    """`write_features` of all n advertisers; `n_past`, `budget_left`, `value_now`, `volume_now` (n,), `out` (n, 16)."""
    for e in range(sums.shape[0]):
        write_features(
            sums, recent, volume_sum, volume_recent, e, n_past[e], time_left, budget_left[e], value_now[e],
            volume_now[e], out[e],
        )  # fmt: skip


@njit(cache=True)
def add_ticks(sums, recent, volume_sum, volume_recent, n_past, mask, outcome):
    """`add_tick` of the advertisers in `mask` (n,); `outcome` (n, 6): the five means, then the volume."""
    for e in range(sums.shape[0]):
        if mask[e]:
            add_tick(
                sums, recent, volume_sum, volume_recent, e, outcome[e, 0], outcome[e, 1], outcome[e, 2],
                outcome[e, 3], outcome[e, 4], outcome[e, 5],
            )  # fmt: skip
            n_past[e] += 1


@njit(cache=True, nogil=True)
def write_episodes(starts, tick, n_ticks, budget_left, value, volume, outcomes, out):
    """`write_features` of logged rows, episode after episode; what is NaN makes NaN of the features that need it.

    Args: `starts` (n_episodes + 1,) int64, the first row of each episode, then n; `tick` (n,) int32; `budget_left` (n,)
    as a share; `value`, `volume` (n,) of the tick; `outcomes` (5, n) the tick's means in the order of `add_tick`; `out`
    (n, >= 16).
    """
    sums, recent = np.zeros((1, N_STATISTICS)), np.zeros((1, WINDOW, N_STATISTICS))
    volume_sum, volume_recent = np.zeros(1), np.zeros((1, WINDOW))
    for e in range(len(starts) - 1):
        sums[:], recent[:], volume_sum[:], volume_recent[:] = 0.0, 0.0, 0.0, 0.0
        for i in range(starts[e], starts[e + 1]):
            write_features(
                sums, recent, volume_sum, volume_recent, 0, i - starts[e], (n_ticks - tick[i]) / n_ticks,
                budget_left[i], value[i], volume[i], out[i],
            )  # fmt: skip
            add_tick(
                sums, recent, volume_sum, volume_recent, 0, outcomes[0, i], outcomes[1, i], outcomes[2, i],
                outcomes[3, i], outcomes[4, i], volume[i],
            )  # fmt: skip
