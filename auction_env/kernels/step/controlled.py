"""What controlled advertisers get of a tick and see at its start; their running sums are those of `features`.

Number i is advertiser `advertiser[i]` of market `market[i]`, (n,) int64 each.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from auction_env.kernels.features import add_tick, write_features
from auction_env.kernels.outcomes import (
    ADD_TO_CARTS,
    CLICKS,
    CONVERSIONS,
    COST,
    EXPECTED_ADD_TO_CARTS,
    EXPECTED_CLICKS,
    EXPECTED_CONVERSIONS,
    EXPECTED_GMV,
    EXPOSURES,
    GMV,
    WINS,
)

# rows of what `record_tick` writes, in the order of `control.advertisers.ControlledTick`
N_COLUMNS = 20


@njit(cache=True)
def clip_actions(action):
    """Clips actions to [-1, 1], in place; returns the first row with one that is not finite, -1 if all are.

    Args:
        action: (n, n_actions) float64, changed.
    """
    bad = -1
    for i in range(action.shape[0] - 1, -1, -1):
        for k in range(action.shape[1]):
            if not np.isfinite(action[i, k]):
                bad = i
            action[i, k] = min(max(action[i, k], -1.0), 1.0)
    return bad


@njit(cache=True)
def observe_tick(
    market, advertiser, budget, budget_left, predicted_mean, n_impressions, tick, n_ticks, running, n_past, out
):  # fmt: skip
    """Writes the features of each controlled advertiser at the start of a tick: `features.write_features`.

    Args:
        market, advertiser, running, n_past: As of `record_tick`.
        budget: (n,) float64 currency.
        budget_left: (n_markets, n_advertisers) float64, at the start of the tick.
        predicted_mean, n_impressions: As of `record_tick`.
        tick: Index of the tick; n_ticks after the last one, when nothing is left to predict.
        n_ticks: Of the episode.
        out: (n, >= 16), written.
    """
    for i in range(market.shape[0]):
        e, j = market[i], advertiser[i]
        write_features(
            running, i, n_past[i], (n_ticks - tick) / n_ticks, budget_left[e, j] / budget[i],
            predicted_mean[e, j, 0] if tick < n_ticks else 0.0,
            n_impressions[e] if tick < n_ticks else np.int64(0), out[i],
        )  # fmt: skip


@njit(cache=True)
def record_tick(
    market, advertiser, multiplier, n_impressions, predicted_mean, bid, totals, least_winning_cost, budget_left,
    running, n_past, out,
):  # fmt: skip
    """Writes what a tick brought to each controlled advertiser, and adds it to its running sums.

    Args:
        market, advertiser: See the module's docstring.
        multiplier: (n_markets, n_advertisers) float64.
        n_impressions: (n_markets,) int64 of the tick.
        predicted_mean: (n_markets, n_advertisers, 4) float64, at the start of the tick.
        bid: (n_markets, n_advertisers) float64 sums.
        totals: (n_markets, n_advertisers, N_TOTALS) float64.
        least_winning_cost: (n_markets,) float64 means.
        budget_left: (n_markets, n_advertisers) float64, after the tick.
        running: See `features`; updated.
        n_past: (n,) int64 ticks, updated.
        out: (N_COLUMNS, n) float64, written.
    """
    for i in range(market.shape[0]):
        e, j = market[i], advertiser[i]
        n = float(n_impressions[e])
        of = totals[e, j]
        out[0, i] = multiplier[e, j]
        out[1, i] = of[COST]
        out[2, i] = of[WINS]
        out[3, i] = of[EXPOSURES]
        out[4, i] = of[CONVERSIONS]
        out[5, i] = of[EXPECTED_CONVERSIONS]
        out[6, i] = least_winning_cost[e]
        out[7, i] = n
        out[8, i] = budget_left[e, j]
        out[9, i] = of[CLICKS]
        out[10, i] = of[EXPECTED_CLICKS]
        out[11, i] = of[ADD_TO_CARTS]
        out[12, i] = of[EXPECTED_ADD_TO_CARTS]
        out[13, i] = of[GMV]
        out[14, i] = of[EXPECTED_GMV]
        out[15, i] = bid[e, j]
        for k in range(predicted_mean.shape[2]):
            out[16 + k, i] = predicted_mean[e, j, k] * n
        share = 1.0 / max(n, 1.0)
        add_tick(
            running, i, bid[e, j] * share, least_winning_cost[e], predicted_mean[e, j, 0], of[CONVERSIONS] * share,
            of[WINS] * share, n,
        )  # fmt: skip
        n_past[i] += 1


@njit(cache=True)
def sum_ticks(columns, rows, out):
    """Sums over the ticks, one after the other, so that they do not depend on what else is added up.

    Args:
        columns: (n_columns, n_ticks, n) float64.
        rows: (n_rows,) int64: of which columns.
        out: (n_rows, n) float64, written.
    """
    out[:] = 0.0
    for k in range(rows.shape[0]):
        for t in range(columns.shape[1]):
            for i in range(columns.shape[2]):
                out[k, i] += columns[rows[k], t, i]
