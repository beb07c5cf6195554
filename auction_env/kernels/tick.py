"""One tick of many markets: draw the values, clear, expose, charge, convert, stop the exhausted.

The work is cut into items: an item is a block of up to BLOCK consecutive impressions of one market. Items are
first settled in parallel as if nobody's money ran out; a cheap pass in arrival order then commits them until
the first item in which somebody cannot pay. That item is settled again impression by impression, the exhausted
advertisers drop out, and the rest of that market's items is settled anew without them. The result is that of
a strictly sequential market, for any number of threads. Exhaustion happens at most once per advertiser and
episode, so the repeated work is bounded.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from auction_env.kernels.clearing import BLOCK, least_winning_cost, rank_bids, slot_price
from auction_env.kernels.rng import (
    STREAM_CONVERSION,
    STREAM_EXPOSURE,
    STREAM_SHARED_VALUE,
    STREAM_SIGMA,
    STREAM_TRUE_VALUE,
    STREAM_VALUE,
    bits,
    high_word,
    low_word,
    make_key,
    to_normal,
    to_uniform,
)

# columns of the totals
WINS, EXPOSURES, COST, CONVERSIONS, VALUE = range(5)
N_TOTALS = 5

MAX_SIGMA_RATIO = np.float32(0.3)  # AuctionNet caps the prediction's sigma at 0.3 of the prediction


@njit(cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def draw_row(low, high, first, n, mean, spread, out):
    """Predicted values of one advertiser: normal(mean, spread) cut to [0, 1]; returns their sum (float64)."""
    for i in range(n):
        z = to_normal(to_uniform(bits(np.uint32(first + i), low, high)))
        out[i] = min(max(mean + spread * z, np.float32(0.0)), np.float32(1.0))
    total = np.float32(0.0)
    for i in range(n):
        total += out[i]
    return np.float64(total)


@njit(cache=True, parallel=True)
def draw_values(seed, tick, item_market, item_first, item_n, mean, spread, values, value_sum):
    """Draws the predicted values of every impression of a tick.

    Args:
        seed: (n_markets,) uint64.
        tick: Index of the tick.
        item_market, item_first, item_n: (n_items,) int64: market, first impression and size of each item.
        mean, spread: (n_markets, n_advertisers) float32: of the tick's value distribution.
        values: (>= n_items, n_advertisers, BLOCK) float32, written.
        value_sum: (>= n_items, n_advertisers) float64, written.
    """
    for item in prange(item_market.shape[0]):
        market = item_market[item]
        for j in range(mean.shape[1]):
            key = make_key(seed[market], tick, j, STREAM_VALUE)
            value_sum[item, j] = draw_row(
                low_word(key),
                high_word(key),
                item_first[item],
                item_n[item],
                mean[market, j],
                spread[market, j],
                values[item, j],
            )


@njit(cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def draw_shared_row(low, high, first, n, weight, out):
    """The shared part of the values of impressions: weight x standard normal."""
    for i in range(n):
        out[i] = weight * to_normal(to_uniform(bits(np.uint32(first + i), low, high)))


@njit(cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def draw_correlated_row(low, high, first, n, mean, spread, weight, shared, out):
    """`draw_row` with the normal `shared[i]` + weight x a normal of the advertiser's own."""
    for i in range(n):
        z = shared[i] + weight * to_normal(to_uniform(bits(np.uint32(first + i), low, high)))
        out[i] = min(max(mean + spread * z, np.float32(0.0)), np.float32(1.0))
    total = np.float32(0.0)
    for i in range(n):
        total += out[i]
    return np.float64(total)


@njit(cache=True, parallel=True)
def draw_correlated_values(
    seed, tick, item_market, item_first, item_n, mean, spread, correlation, values, value_sum
):  # fmt: skip
    """`draw_values` with a part that all advertisers share: an impression is good or bad for everybody.

    Every advertiser keeps its distribution: its normal is sqrt(correlation) x shared + sqrt(1 - correlation) x own,
    and its own normal is that of `draw_values`. `correlation` is a float32 in [0, 1].
    """
    shared_weight = np.float32(np.sqrt(correlation))
    own_weight = np.float32(np.sqrt(np.float32(1.0) - correlation))
    for item in prange(item_market.shape[0]):
        market, first, n = item_market[item], item_first[item], item_n[item]
        shared = np.empty(values.shape[2], np.float32)
        key = make_key(seed[market], tick, 0, STREAM_SHARED_VALUE)
        draw_shared_row(low_word(key), high_word(key), first, n, shared_weight, shared)
        for j in range(mean.shape[1]):
            key = make_key(seed[market], tick, j, STREAM_VALUE)
            value_sum[item, j] = draw_correlated_row(
                low_word(key), high_word(key), first, n, mean[market, j], spread[market, j], own_weight, shared,
                values[item, j],
            )  # fmt: skip


@njit(cache=True)
def count_exposed(seed, tick, impression, exposure):
    """How many slots of an impression are seen, from the top: a slot is seen only if all above it are."""
    for s in range(exposure.shape[0]):
        if exposure[s] < 1.0:
            key = make_key(seed, tick, s, STREAM_EXPOSURE)
            if to_uniform(bits(np.uint32(impression), low_word(key), high_word(key))) >= exposure[s]:
                return s
    return exposure.shape[0]


@njit(cache=True)
def draw_conversion(seed, tick, impression, advertiser, value, sigma_mean, lower, upper):
    """Whether an exposed impression converts: 0 or 1.

    The true probability is truncated normal around the prediction: location `value`, scale sigma x value with
    sigma ~ |normal(sigma_mean, sigma_mean / 2)| capped, standardised bounds given as normal probabilities
    `lower` and `upper`. The uniform of the Bernoulli draw is compared with a bound on that probability first,
    which settles nearly every impression with one draw and changes no result.
    """
    key = make_key(seed, tick, advertiser, STREAM_CONVERSION)
    counter = np.uint32(impression)
    # 32 bits here: conversion probabilities near 1e-4 deserve a finer grid than 2 ** -24
    u = (np.float64(bits(counter, low_word(key), high_word(key))) + 0.5) * 2.0**-32
    if u >= value * (1.0 + 2.0 * MAX_SIGMA_RATIO):  # bounds are at most 2 standard deviations away
        return 0
    key = make_key(seed, tick, advertiser, STREAM_SIGMA)
    z = to_normal(to_uniform(bits(counter, low_word(key), high_word(key))))
    sigma = min(abs(sigma_mean * (np.float32(1.0) + np.float32(0.5) * z)), MAX_SIGMA_RATIO)
    key = make_key(seed, tick, advertiser, STREAM_TRUE_VALUE)
    v = to_uniform(bits(counter, low_word(key), high_word(key)))
    true_value = value * (np.float32(1.0) + sigma * to_normal(lower + (upper - lower) * v))
    return 1 if u < true_value else 0


@njit(cache=True)
def settle(
    seed, tick, first, start, stop, values, reserve, mechanism, exposure, sigma, lower, upper,
    top_bid, top_idx, limit, totals,
):  # fmt: skip
    """Exposes, charges and converts ranked impressions [start, stop) in arrival order.

    Stops before the first impression at which an exposed winner's cost would exceed `limit`, and returns that
    impression and advertiser; (stop, -1) when all are settled. `totals` (n_advertisers, N_TOTALS) is added to.

    Returns:
        (impression, advertiser, sum of the least winning costs of the settled impressions).
    """
    n_slots = exposure.shape[0]
    lwc_sum = 0.0
    for i in range(start, stop):
        n_exposed = count_exposed(seed, tick, first + i, exposure)
        for s in range(n_exposed):
            winner = top_idx[s, i]
            if winner < 0:
                break
            if totals[winner, COST] + slot_price(mechanism, top_bid, s, i, reserve) > limit[winner]:
                return i, winner, lwc_sum
        for s in range(n_slots):
            winner = top_idx[s, i]
            if winner < 0:
                break
            totals[winner, WINS] += 1
            if s < n_exposed:
                value = values[winner, i]
                totals[winner, EXPOSURES] += 1
                totals[winner, COST] += slot_price(mechanism, top_bid, s, i, reserve)
                totals[winner, VALUE] += value
                totals[winner, CONVERSIONS] += draw_conversion(
                    seed, tick, first + i, winner, value, sigma[winner], lower[winner], upper[winner]
                )
        lwc_sum += least_winning_cost(top_bid, i, reserve)
    return stop, -1, lwc_sum


@njit(cache=True)
def settle_in_order(
    seed, tick, first, n, values, multiplier, reserve, mechanism, exposure, sigma, lower, upper,
    budget_left, totals, value_sum,
):  # fmt: skip
    """Settles one item exactly: whoever cannot pay an impression is out from that impression on.

    `multiplier` (n_advertisers,) is set to 0 for the exhausted; `value_sum` (n_advertisers,) gets the predicted
    value of the impressions that each advertiser bid on. Returns the sum of the least winning costs.
    """
    n_slots = exposure.shape[0]
    top_bid = np.empty((n_slots + 1, BLOCK), np.float32)
    top_idx = np.empty((n_slots + 1, BLOCK), np.int32)
    carry_bid, carry_idx = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int32)
    reserves = np.full(BLOCK, reserve)
    value_sum[:] = 0
    totals[:] = 0
    start, lwc_sum = 0, 0.0
    while start < n:
        rank_bids(values, multiplier, reserves, start, n, carry_bid, carry_idx, top_bid, top_idx)
        end, broke, lwc = settle(
            seed, tick, first, start, n, values, reserve, mechanism, exposure, sigma, lower, upper,
            top_bid, top_idx, budget_left, totals,
        )  # fmt: skip
        lwc_sum += lwc
        for j in range(multiplier.shape[0]):
            if multiplier[j] > 0:
                for i in range(start, end):
                    value_sum[j] += values[j, i]
        if broke >= 0:
            multiplier[broke] = 0
        start = end
    return lwc_sum


@njit(cache=True, parallel=True)
def settle_items(
    todo, seed, tick, item_market, item_first, item_n, values, multiplier, reserve, mechanism, exposure,
    sigma, lower, upper, totals, lwc,
):  # fmt: skip
    """Settles the items `todo` as if no money ran out; writes `totals` and `lwc` of each."""
    n_advertisers = multiplier.shape[1]
    n_slots = exposure.shape[0]
    for index in prange(todo.shape[0]):
        item = todo[index]
        market, n = item_market[item], item_n[item]
        top_bid = np.empty((n_slots + 1, BLOCK), np.float32)
        top_idx = np.empty((n_slots + 1, BLOCK), np.int32)
        carry_bid, carry_idx = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int32)
        reserves = np.full(BLOCK, reserve)
        rank_bids(values[item], multiplier[market], reserves, 0, n, carry_bid, carry_idx, top_bid, top_idx)
        totals[item] = 0
        _, _, lwc[item] = settle(
            seed[market], tick, item_first[item], 0, n, values[item], reserve, mechanism, exposure,
            sigma[market], lower[market], upper[market], top_bid, top_idx,
            np.full(n_advertisers, np.inf), totals[item],
        )  # fmt: skip


@njit(cache=True)
def run_tick(
    seed, tick, market_start, item_market, item_first, item_n, values, value_sum, multiplier, reserve, mechanism,
    exposure, sigma, lower, upper, budget_left, item_totals, item_lwc, totals, lwc_sum, bid_sum,
):  # fmt: skip
    """Runs the tick of every market; see the module's docstring.

    Args:
        seed: (n_markets,) uint64.
        market_start: (n_markets + 1,) int64: the items of market e are market_start[e] .. market_start[e + 1].
        item_market, item_first, item_n: (n_items,) int64.
        values, value_sum: What `draw_values` wrote; `value_sum` is overwritten for items with an exhaustion.
        multiplier: (n_markets, n_advertisers) float32; set to 0 for advertisers that run out of money.
        reserve: float32 reserve price.
        mechanism: A value of `clearing.MECHANISMS`.
        exposure: (n_slots,) float32, probability that a slot is seen given that the one above is.
        sigma, lower, upper: (n_markets, n_advertisers) float32: see `draw_conversion`.
        budget_left: (n_markets, n_advertisers) float64, updated.
        item_totals, item_lwc: (>= n_items, n_advertisers, N_TOTALS), (>= n_items,) float64 scratch.
        totals: (n_markets, n_advertisers, N_TOTALS) float64, written.
        lwc_sum: (n_markets,) float64, written.
        bid_sum: (n_markets, n_advertisers) float64, written: sum of the bids submitted.
    """
    n_markets, n_advertisers = multiplier.shape
    totals[:] = 0
    lwc_sum[:] = 0
    bid_sum[:] = 0
    cursor = market_start[:-1].copy()
    todo = np.arange(item_market.shape[0])
    while todo.shape[0] > 0:
        settle_items(
            todo, seed, tick, item_market, item_first, item_n, values, multiplier, reserve, mechanism,
            exposure, sigma, lower, upper, item_totals, item_lwc,
        )  # fmt: skip
        n_left = 0
        for e in range(n_markets):
            while cursor[e] < market_start[e + 1]:
                item = cursor[e]
                affordable = True
                for j in range(n_advertisers):
                    if item_totals[item, j, COST] > budget_left[e, j]:
                        affordable = False
                before = multiplier[e]
                if not affordable:
                    before = multiplier[e].copy()
                    item_lwc[item] = settle_in_order(
                        seed[e], tick, item_first[item], item_n[item], values[item], multiplier[e], reserve,
                        mechanism, exposure, sigma[e], lower[e], upper[e], budget_left[e], item_totals[item],
                        value_sum[item],
                    )  # fmt: skip
                lwc_sum[e] += item_lwc[item]
                for j in range(n_advertisers):
                    bid_sum[e, j] += before[j] * value_sum[item, j]
                    budget_left[e, j] -= item_totals[item, j, COST]
                    for k in range(N_TOTALS):
                        totals[e, j, k] += item_totals[item, j, k]
                cursor[e] += 1
                if not affordable:
                    break
            n_left += market_start[e + 1] - cursor[e]
        todo = np.empty(n_left, np.int64)
        position = 0
        for e in range(n_markets):
            for item in range(cursor[e], market_start[e + 1]):
                todo[position] = item
                position += 1
