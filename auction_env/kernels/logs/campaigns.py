"""Kernels that follow the campaigns of logged episodes: the money left, when they had ended, what stays the same."""

from __future__ import annotations

from numba import njit

SPENT = 1e-9  # share of the budget below which a campaign is over


@njit(cache=True, nogil=True)
def follow_campaigns(starts, tick, n_ticks, budget, cost, bid, left, done):
    """Writes the money at the start of each row, never below 0, and whether it is the last or the campaign had ended.

    A campaign has ended when its budget is spent or when it does not bid any more, up to the end of its rows.

    Args: `starts` (n_episodes + 1,) int64, the first row of each episode, then n; `tick` (n,) int32; `budget`, `cost`,
    `bid`, `left` (n,) float64; `done` (n,) bool.
    """
    for e in range(len(starts) - 1):
        money = budget[starts[e]] if starts[e] < starts[e + 1] else 0.0
        for i in range(starts[e], starts[e + 1]):
            left[i] = money
            done[i] = tick[i] == n_ticks - 1 or money <= SPENT * budget[i]
            money = max(money - cost[i], 0.0)
        for i in range(starts[e + 1] - 1, starts[e] - 1, -1):
            if bid[i] > 0.0:
                break
            done[i] = True


@njit(cache=True, nogil=True)
def repeat_episodes(starts, values, out):
    """Writes row e of `values` (n_episodes, k) into each row of episode e of `out` (n, k)."""
    for e in range(len(starts) - 1):
        for i in range(starts[e], starts[e + 1]):
            out[i] = values[e]
