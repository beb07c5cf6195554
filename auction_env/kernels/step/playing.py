"""A tick in one call: what is bid, the auctions, what controlled advertisers get, the next tick's opening and pacing.

Each phase is a function of a module beside this one, which other ways to play a tick call, too.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from auction_env.kernels.features import N_STATISTICS, WINDOW
from auction_env.kernels.outcomes import COST, EXPECTED_CONVERSIONS
from auction_env.kernels.step.auctions import close_tick, run_markets, take_multipliers
from auction_env.kernels.step.controlled import N_COLUMNS, observe_tick, record_tick
from auction_env.kernels.step.opening import open_plain
from auction_env.kernels.step.pacing import N_ROWS, pace, scale_and_cap

UNPACED = (np.empty((1, 1)), np.empty(6), np.empty((N_ROWS, 0)))
"""The last arguments of `play_tick` where somebody else says what the scripted advertisers bid."""
NOBODY = (
    np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty((0, 1 + WINDOW, N_STATISTICS)),
    np.empty(0, np.int64), np.empty(0), np.empty((N_COLUMNS, 0)), np.empty((0, 16)),
)  # fmt: skip
"""Those before them where nobody is controlled."""


@njit(cache=True)
def play_tick(
    given, most, tick, is_opening, active, multiplier, kind, basis, value, deviation, value_sum, values, sums,
    predicted_mean, seed, volume, numbers, exposure, weight, by_advertiser, funnel, value_shape, sigma, lower, upper,
    mean, sd, budget_left, totals, lwc, bid_sum, market, advertiser, budget, running, n_past, own, columns, features,
    share, gains, pacer,
):  # fmt: skip
    """Plays a tick of every market on one thread; returns whether the multipliers are valid.

    If they are not, only `given` has changed.

    Args:
        given: (n_markets, n_advertisers) float64 multipliers, of which those that are paced and controlled are written.
        most, active, multiplier: As of `auctions.take_multipliers`; `active` is updated: `auctions.close_tick`.
        tick: Index of the tick.
        is_opening: Whether to draw the next tick: one of independent normal values, for which `values` has room.
        kind .. value_sum: As of `auctions.run_markets`.
        values, sums, predicted_mean: As of `opening.open_plain`, written.
        seed .. bid_sum: As of `auctions.run_markets`, but `lwc` are means.
        market .. n_past: As of `controlled.observe_tick`.
        own: (n_controlled,) float64 multipliers of the controlled advertisers.
        columns: (N_COLUMNS, n_controlled) float64, written: `controlled.record_tick`.
        features: (n_controlled, 16) float64, written where the next tick is drawn and after the last one.
        share: (n_ticks, n_paced) or (n_ticks, 1) float64: see `pacing.pace`.
        gains, pacer: As of `pacing.pace`; n_paced is 0 or n_markets x n_advertisers.
    """
    if pacer.shape[1] > 0:
        scale_and_cap(pacer, given.reshape(-1))
    for i in range(own.shape[0]):
        given[market[i], advertiser[i]] = own[i]
    if not take_multipliers(given, active, most, multiplier):
        return False
    run_markets(
        tick, kind, basis, value, deviation, value_sum, multiplier, seed, volume, numbers, exposure, weight,
        by_advertiser, funnel, value_shape, sigma, lower, upper, mean, sd, budget_left, totals, lwc, bid_sum,
    )  # fmt: skip
    close_tick(given, multiplier, volume[tick], lwc, active)
    record_tick(
        market, advertiser, given, volume[tick], predicted_mean, bid_sum, totals, lwc, budget_left, running, n_past,
        columns,
    )  # fmt: skip
    if pacer.shape[1] > 0:
        cost, expected = np.empty(pacer.shape[1]), np.empty(pacer.shape[1])
        for e in range(given.shape[0]):
            for j in range(given.shape[1]):
                cost[e * given.shape[1] + j] = totals[e, j, COST]
                expected[e * given.shape[1] + j] = totals[e, j, EXPECTED_CONVERSIONS]
        pace(share[tick], cost, expected, gains, pacer)
    following = tick + 1
    is_last = following == volume.shape[0]
    if is_opening:
        open_plain(seed, following, volume, mean, sd, values, sums, predicted_mean)
    if is_opening or is_last:
        observe_tick(
            market, advertiser, budget, budget_left, predicted_mean, volume[tick if is_last else following], following,
            volume.shape[0], running, n_past, features,
        )  # fmt: skip
    return True
