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
def clip_actions(given, out):
    """Clips actions to [-1, 1]; returns the first row with one that is not finite, -1 if all are.

    Args:
        given: (n, n_actions) float64.
        out: The same shape, written.
    """
    bad = -1
    for i in range(given.shape[0] - 1, -1, -1):
        for k in range(given.shape[1]):
            out[i, k] = min(max(given[i, k], -1.0), 1.0)
            if not np.isfinite(given[i, k]):
                bad = i
    return bad


@njit(cache=True)
def observe_tick(
    market, advertiser, budget, budget_left, predicted_mean, n_impressions, tick, n_ticks, statistics, recent,
    volume_sum, volume_recent, n_past, out,
):  # fmt: skip
    """Writes the features of each controlled advertiser at the start of a tick: `features.write_features`.

    Args:
        market, advertiser, statistics, recent, volume_sum, volume_recent, n_past: As of `record_tick`.
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
            statistics, recent, volume_sum, volume_recent, i, n_past[i], (n_ticks - tick) / n_ticks,
            budget_left[e, j] / budget[i], predicted_mean[e, j, 0] if tick < n_ticks else 0.0,
            n_impressions[e] if tick < n_ticks else np.int64(0), out[i],
        )  # fmt: skip


@njit(cache=True)
def record_tick(
    market, advertiser, multiplier, n_impressions, predicted_mean, bid, totals, least_winning_cost, budget_left,
    statistics, recent, volume_sum, volume_recent, n_past, out,
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
        statistics, recent, volume_sum, volume_recent: See `features`, where the first are `sums`; updated.
        n_past: (n,) int64 ticks, updated.
        out: (N_COLUMNS, n) float64, written.
    """
    for i in range(market.shape[0]):
        e, j = market[i], advertiser[i]
        n = float(n_impressions[e])
        of = totals[e, j]
        out[0, i] = multiplier[e, j]
        out[1, i] = n
        out[2, i] = bid[e, j]
        out[3, i] = predicted_mean[e, j, 0] * n
        out[4, i] = of[WINS]
        out[5, i] = of[EXPOSURES]
        out[6, i] = of[COST]
        out[7, i] = of[CONVERSIONS]
        out[8, i] = of[EXPECTED_CONVERSIONS]
        out[9, i] = least_winning_cost[e]
        out[10, i] = budget_left[e, j]
        out[11, i] = of[CLICKS]
        out[12, i] = of[EXPECTED_CLICKS]
        out[13, i] = of[ADD_TO_CARTS]
        out[14, i] = of[EXPECTED_ADD_TO_CARTS]
        out[15, i] = of[GMV]
        out[16, i] = of[EXPECTED_GMV]
        for k in range(1, predicted_mean.shape[2]):
            out[16 + k, i] = predicted_mean[e, j, k] * n
        share = 1.0 / max(n, 1.0)
        add_tick(
            statistics, recent, volume_sum, volume_recent, i, bid[e, j] * share, least_winning_cost[e],
            predicted_mean[e, j, 0], of[CONVERSIONS] * share, of[WINS] * share, n,
        )  # fmt: skip
        n_past[i] += 1
