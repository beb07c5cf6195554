"""The auctions of a tick, market by market in arrival order: one thread a market, and none waits for another.

`tick.run_tick` shares the blocks of a market among threads instead, which pays where few markets have many blocks.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from auction_env.kernels.clearing import BLOCK
from auction_env.kernels.outcomes import COST, N_TOTALS
from auction_env.kernels.rng import STREAM_CONVERSION, lane_key, tick_key
from auction_env.kernels.running.compiling import inlined
from auction_env.kernels.settle import first_blocks, rules_of, settle_block


@njit(cache=True)
def take_multipliers(given, active, most, multiplier):
    """Checks the multipliers of a tick; returns whether all are finite, not negative and at most `most`.

    Args:
        given: (n_markets, n_advertisers) float64.
        active: (n_markets, n_advertisers) bool: who still has money.
        most: The largest multiplier allowed.
        multiplier: (n_markets, n_advertisers) float32, written: 0 for those who have no money left.
    """
    is_valid = True
    for e in range(given.shape[0]):
        for j in range(given.shape[1]):
            is_valid &= (given[e, j] >= 0) & (given[e, j] <= most)
            multiplier[e, j] = np.float32(given[e, j]) if active[e, j] else np.float32(0.0)
    return is_valid


@njit(cache=True)
def close_tick(given, multiplier, n, lwc_sum, active):
    """Takes those out whose money ran out, and makes means of the sums of the least winning costs.

    Args:
        given: (n_markets, n_advertisers) float64 multipliers.
        multiplier: (n_markets, n_advertisers) float32: 0 for those whose money has run out.
        n: (n_markets,) int64 impressions.
        lwc_sum: (n_markets,) float64, changed: sum -> mean, 0 without impressions.
        active: (n_markets, n_advertisers) bool, updated.
    """
    for e in range(given.shape[0]):
        lwc_sum[e] /= max(n[e], 1)
        for j in range(given.shape[1]):
            active[e, j] &= (multiplier[e, j] > 0) | (np.float32(given[e, j]) <= 0)


@inlined
def run_market(
    e, seed, tick, volume, block, basis, value, deviation, value_sum, multiplier, numbers, exposure, weight,
    by_advertiser, funnel, value_shape, sigma, lower, upper, mean, sd, budget_left, totals, lwc_sum, bid_sum,
):  # fmt: skip
    """Runs the tick of market e, whose blocks begin at `block`; the other arguments are those of `run_markets`."""
    rules = rules_of(numbers, exposure, weight, by_advertiser, funnel, value_shape)
    n = volume[tick, e]
    n_advertisers = multiplier.shape[1]
    of_block, sums = np.empty((n_advertisers, N_TOTALS)), np.empty(n_advertisers)
    left, keys = np.empty(n_advertisers, np.float32), np.empty(n_advertisers, np.uint64)
    winner = np.empty((0, 0), np.int32)
    shared = tick_key(seed[e], tick)
    for j in range(n_advertisers):
        keys[j] = lane_key(shared, j, STREAM_CONVERSION)
        bid_sum[e, j] = 0.0
    lwc_sum[e] = 0.0
    if n == 0:
        totals[e] = 0.0
    for first in range(0, n, BLOCK):
        for j in range(n_advertisers):
            sums[j] = value_sum[block, j]
        found = of_block if first > 0 else totals[e]  # most ticks of small markets have one block
        lwc, is_broke = settle_block(
            seed[e], tick, first, min(BLOCK, n - first), basis[block], value[block],
            deviation[min(block, deviation.shape[0] - 1)], multiplier[e], left, rules, sigma[e], lower[e],
            upper[e], mean[tick, e], sd[tick, e], keys, np.bool_(True), budget_left[e], found, sums, winner,
        )  # fmt: skip
        lwc_sum[e] += lwc
        for j in range(n_advertisers):
            bid_sum[e, j] += multiplier[e, j] * sums[j]
            budget_left[e, j] -= found[j, COST]
            if is_broke:
                multiplier[e, j] = left[j]
        if first > 0:
            for j in range(n_advertisers):
                for k in range(N_TOTALS):
                    totals[e, j, k] += of_block[j, k]
        block += 1


@inlined
def run_markets(
    tick, kind, basis, value, deviation, value_sum, multiplier, seed, volume, numbers, exposure, weight, by_advertiser,
    funnel, value_shape, sigma, lower, upper, mean, sd, budget_left, totals, lwc, bid_sum,
):  # fmt: skip
    """Runs the auctions of a tick of every market with hard budgets, on one thread.

    Args:
        tick: Index of the tick.
        kind: (n_markets,) int64: markets of a kind share their blocks, which lie in the order of the kinds.
        basis, value, deviation: The fields of `settle.Tiles`.
        value_sum: (>= n_blocks, n_advertisers) float64: sums of the basis.
        multiplier: (n_markets, n_advertisers) float32: set to 0 for advertisers that run out of money.
        seed: (n_markets,) uint64.
        volume: (n_ticks, n_markets) int64 impressions.
        numbers .. value_shape: The fields of `settle.RuleArrays`.
        sigma, lower, upper: (n_markets, n_advertisers) float32: see `settle.Advertisers`.
        mean, sd: (n_ticks, n_markets, n_advertisers) float32.
        budget_left: (n_markets, n_advertisers) float64, updated.
        totals: (n_markets, n_advertisers, N_TOTALS) float64, written.
        lwc: (n_markets,) float64, written: sums of the least winning costs.
        bid_sum: (n_markets, n_advertisers) float64, written: sum of the bids submitted.
    """
    block = first_blocks(volume[tick], kind)
    for e in range(seed.shape[0]):
        run_market(
            e, seed, tick, volume, block[e], basis, value, deviation, value_sum, multiplier, numbers, exposure, weight,
            by_advertiser, funnel, value_shape, sigma, lower, upper, mean, sd, budget_left, totals, lwc, bid_sum,
        )  # fmt: skip


@njit(cache=True, parallel=True)
def run_markets_parallel(
    tick, kind, basis, value, deviation, value_sum, multiplier, seed, volume, numbers, exposure, weight, by_advertiser,
    funnel, value_shape, sigma, lower, upper, mean, sd, budget_left, totals, lwc, bid_sum,
):  # fmt: skip
    """`run_markets` on all threads."""
    block = first_blocks(volume[tick], kind)
    for index in prange(seed.shape[0]):
        e = np.int64(index)  # of another type, everything below it would be compiled again
        run_market(
            e, seed, tick, volume, block[e], basis, value, deviation, value_sum, multiplier, numbers, exposure, weight,
            by_advertiser, funnel, value_shape, sigma, lower, upper, mean, sd, budget_left, totals, lwc, bid_sum,
        )  # fmt: skip
