"""One tick of many markets: draw the values, clear, expose, charge, convert, stop the exhausted.

The work is cut into items: an item is a block of up to BLOCK consecutive impressions of one market. A window of
items is settled in parallel: a market's first one exactly, with the money that is left, the others as if nobody's
money ran out. A cheap pass in arrival order then commits them until the first item in which somebody cannot pay;
that one is the market's next window, so that it is settled exactly, and the exhausted advertisers drop out. The
result is that of a strictly sequential market, for any number of threads and any window. Exhaustion happens at
most once per advertiser and episode, so the repeated work is bounded.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from auction_env.kernels.clearing import BLOCK, GSP, least_winning_cost, rank_bids, slot_price, whole_vectors
from auction_env.kernels.funnel import MAX_SIGMA_RATIO, impression_amounts
from auction_env.kernels.rng import (
    STREAM_CONVERSION,
    STREAM_EXPOSURE,
    STREAM_RESERVE,
    STREAM_SHARED_VALUE,
    STREAM_SIGMA,
    STREAM_TRUE_VALUE,
    STREAM_VALUE,
    bits,
    high_word,
    lane_key,
    low_word,
    make_key,
    tick_key,
    to_normal,
    to_uniform,
)

# columns of the totals
(
    WINS, EXPOSURES, COST, CONVERSIONS, VALUE, CLICKS, CLICK_VALUE, CARTS, CART_VALUE, GMV, GMV_VALUE
) = range(11)  # fmt: skip
N_TOTALS = 11


class Rules(NamedTuple):
    """Rules of the auction as the kernels take them."""

    mechanism: int  # a value of `clearing.MECHANISMS`
    exposure: NDArray[np.float32]  # (n_slots,): probability that a slot is seen given that the one above is
    weight: NDArray[np.float32]  # (n_slots, n_slots): `clearing.price_weights`
    reserve: Any  # float32
    reserve_noise: Any  # float32, standard deviation of the log of an impression's reserve
    quality: NDArray[np.float32]  # (n_advertisers,)
    has_quality: bool  # whether any of them is not 1
    # the fields of `kernels.funnel.FunnelRules`
    has_funnel: bool
    click_rate: NDArray[np.float32]  # (n_advertisers,) mean click probability
    cart_rate: NDArray[np.float32]  # (n_advertisers,) mean add-to-cart probability
    order_value: NDArray[np.float32]  # (n_advertisers,) mean value of an order, currency
    funnel_sd: NDArray[np.float32]  # (3,)
    funnel_correlation: NDArray[np.float32]  # (3,)
    value_correlation: Any  # float32


class Advertisers(NamedTuple):
    """What outcomes depend on besides the values, (n_markets, n_advertisers) float32: see `draw_conversion`."""

    sigma: NDArray[np.float32]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    mean: NDArray[np.float32]  # of the tick's predicted values
    sd: NDArray[np.float32]


class Items(NamedTuple):
    """The blocks of a tick."""

    start: NDArray[np.int64]  # (n_markets + 1,): the items of market e are start[e] .. start[e + 1]
    market: NDArray[np.int64]  # (n_items,)
    first: NDArray[np.int64]  # (n_items,): first impression
    n: NDArray[np.int64]  # (n_items,): impressions
    tile: NDArray[np.int64]  # (n_items,): where their values lie; items of markets that are alike share a tile


class Ladder(NamedTuple):
    """What is known of an item's impressions before anybody pays: scratch of one thread."""

    top_bid: NDArray[np.float32]  # (n_slots + 1, BLOCK) scores
    top_idx: NDArray[np.int32]  # (n_slots + 1, BLOCK) their advertisers
    reserve: NDArray[np.float32]  # (BLOCK,)
    n_exposed: NDArray[np.int32]  # (BLOCK,) slots that are seen, from the top
    price: NDArray[np.float32]  # (n_slots, BLOCK) of the slots that are won


@njit(cache=True)
def new_ladder(n_slots):
    """`Ladder` of a block, not filled."""
    return Ladder(
        np.empty((n_slots + 1, BLOCK), np.float32),
        np.empty((n_slots + 1, BLOCK), np.int32),
        np.empty(BLOCK, np.float32),
        np.empty(BLOCK, np.int32),
        np.empty((n_slots, BLOCK), np.float32),
    )


@njit(cache=True)
def lay_out(n):
    """Cuts the impressions of a tick into blocks: (n_markets,) int64 impressions -> `Items`, a tile for each."""
    n_markets = n.shape[0]
    start = np.zeros(n_markets + 1, np.int64)
    for e in range(n_markets):
        start[e + 1] = start[e] + (n[e] + BLOCK - 1) // BLOCK
    n_items = start[n_markets]
    market, first, size = np.empty(n_items, np.int64), np.empty(n_items, np.int64), np.empty(n_items, np.int64)
    for e in range(n_markets):
        for item in range(start[e], start[e + 1]):
            market[item] = e
            first[item] = (item - start[e]) * BLOCK
            size[item] = min(BLOCK, n[e] - first[item])
    return Items(start, market, first, size, np.arange(n_items))


@njit(cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def draw_row(low, high, first, n, mean, sd, out):
    """Predicted values of one advertiser: normal(mean, sd) cut to [0, 1]; returns their sum (float64).

    `out` (BLOCK,) is filled somewhat beyond the n values asked for.
    """
    low = np.uint32(low + np.uint32(first))  # not first + i, which is 64 bits wide and halves the loop's speed
    for i in range(whole_vectors(n)):
        z = to_normal(to_uniform(bits(np.uint32(i), low, high)))
        out[i] = min(max(mean + sd * z, np.float32(0.0)), np.float32(1.0))
    total = np.float32(0.0)
    for i in range(n):
        total += out[i]
    return np.float64(total)


@njit(cache=True, parallel=True)
def draw_values(seed, tick, items, mean, sd, values, value_sum):
    """Draws the predicted values of every impression of a tick.

    Args:
        seed: (n_markets,) uint64.
        tick: Index of the tick.
        items: `Items`.
        mean, sd: (n_markets, n_advertisers) float32: of the tick's value distribution.
        values: (>= n_items, n_advertisers, BLOCK) float32, written.
        value_sum: (>= n_items, n_advertisers) float64, written.
    """
    for item in prange(items.market.shape[0]):
        market = items.market[item]
        shared = tick_key(seed[market], tick)
        for j in range(mean.shape[1]):
            key = lane_key(shared, j, STREAM_VALUE)
            value_sum[item, j] = draw_row(
                low_word(key),
                high_word(key),
                items.first[item],
                items.n[item],
                mean[market, j],
                sd[market, j],
                values[item, j],
            )


@njit(cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def draw_shared_row(low, high, first, n, weight, out):
    """The shared part of the values of impressions: weight x standard normal."""
    for i in range(n):
        out[i] = weight * to_normal(to_uniform(bits(np.uint32(first + i), low, high)))


@njit(cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def draw_correlated_row(low, high, first, n, mean, sd, weight, shared, out):
    """`draw_row` with the normal `shared[i]` + weight x a normal of the advertiser's own."""
    for i in range(n):
        z = shared[i] + weight * to_normal(to_uniform(bits(np.uint32(first + i), low, high)))
        out[i] = min(max(mean + sd * z, np.float32(0.0)), np.float32(1.0))
    total = np.float32(0.0)
    for i in range(n):
        total += out[i]
    return np.float64(total)


@njit(cache=True, parallel=True)
def draw_correlated_values(seed, tick, items, mean, sd, correlation, values, value_sum):
    """`draw_values` with a part that all advertisers share: an impression is good or bad for everybody.

    Every advertiser keeps its distribution: its normal is sqrt(correlation) x shared + sqrt(1 - correlation) x own,
    and its own normal is that of `draw_values`. `correlation` is a float32 in [0, 1].
    """
    shared_weight = np.float32(np.sqrt(correlation))
    own_weight = np.float32(np.sqrt(np.float32(1.0) - correlation))
    for item in prange(items.market.shape[0]):
        market, first, n = items.market[item], items.first[item], items.n[item]
        shared = np.empty(values.shape[2], np.float32)
        key = make_key(seed[market], tick, 0, STREAM_SHARED_VALUE)
        draw_shared_row(low_word(key), high_word(key), first, n, shared_weight, shared)
        for j in range(mean.shape[1]):
            key = make_key(seed[market], tick, j, STREAM_VALUE)
            value_sum[item, j] = draw_correlated_row(
                low_word(key), high_word(key), first, n, mean[market, j], sd[market, j], own_weight, shared,
                values[item, j],
            )  # fmt: skip


@njit(cache=True)
def mean_values(items, n, value_sum):
    """Mean predicted value of each market's impressions: (n_markets, n_advertisers); 0 if there are none.

    Args:
        items: `Items`.
        n: (n_markets,) int64 impressions.
        value_sum: (n_items, n_advertisers) float64.
    """
    mean = np.zeros((n.shape[0], value_sum.shape[1]))
    for e in range(n.shape[0]):
        for item in range(items.start[e], items.start[e + 1]):
            for j in range(mean.shape[1]):
                mean[e, j] += value_sum[item, j]
        for j in range(mean.shape[1]):
            mean[e, j] /= max(n[e], 1)
    return mean


@njit(cache=True)
def count_exposed(seed, tick, first, n, exposure, n_exposed):
    """How many slots of each impression are seen, from the top: a slot is seen only if all above it are."""
    n_exposed[:n] = 0
    for s in range(exposure.shape[0]):
        key = make_key(seed, tick, s, STREAM_EXPOSURE)
        low, high = np.uint32(low_word(key) + np.uint32(first)), high_word(key)
        for i in range(n):
            u = to_uniform(bits(np.uint32(i), low, high))
            n_exposed[i] += np.int32((u < exposure[s]) & (n_exposed[i] == s))


@njit(cache=True)
def draw_reserves(seed, tick, first, n, reserve, noise, out):
    """Reserve price of each impression: log-normal around `reserve`, which is its median."""
    if noise == 0:
        out[:n] = reserve
        return
    key = make_key(seed, tick, 0, STREAM_RESERVE)
    for i in range(n):
        z = to_normal(to_uniform(bits(np.uint32(first + i), low_word(key), high_word(key))))
        out[i] = reserve * np.exp(noise * z)


@njit(cache=True, inline="always")
def draw_outcome(impression, key):
    """The uniform behind all that an exposed impression leads to: float64 in (0, 1).

    32 bits here: conversion probabilities near 1e-4 deserve a finer grid than 2 ** -24. `key` is
    `make_key(seed, tick, advertiser, STREAM_CONVERSION)`.
    """
    return (np.float64(bits(np.uint32(impression), low_word(key), high_word(key))) + 0.5) * 2.0**-32


@njit(cache=True)
def draw_conversion(seed, tick, impression, advertiser, value, sigma_mean, lower, upper, u):
    """Whether an exposed impression converts: 0 or 1.

    The true probability is truncated normal around the prediction: location `value`, scale sigma x value with
    sigma ~ |normal(sigma_mean, sigma_mean / 2)| capped, standardised bounds given as normal probabilities
    `lower` and `upper`. The uniform of the Bernoulli draw is compared with a bound on that probability first,
    which settles nearly every impression with one draw and changes no result.

    Args:
        u: `draw_outcome` of the impression.
    """
    counter = np.uint32(impression)
    if u >= value * (1.0 + 2.0 * MAX_SIGMA_RATIO):  # bounds are at most 2 standard deviations away
        return 0
    key = make_key(seed, tick, advertiser, STREAM_SIGMA)
    z = to_normal(to_uniform(bits(counter, low_word(key), high_word(key))))
    sigma = min(abs(sigma_mean * (np.float32(1.0) + np.float32(0.5) * z)), MAX_SIGMA_RATIO)
    key = make_key(seed, tick, advertiser, STREAM_TRUE_VALUE)
    v = to_uniform(bits(counter, low_word(key), high_word(key)))
    true_value = value * (np.float32(1.0) + sigma * to_normal(lower + (upper - lower) * v))
    return 1 if u < true_value else 0


@njit(cache=True, error_model="numpy")
def price_slots(values, multiplier, rules, ladder, start, stop):
    """Writes the prices of the won slots of impressions [start, stop) to the ladder."""
    price, top_bid, top_idx = ladder.price, ladder.top_bid, ladder.top_idx
    for s in range(price.shape[0]):
        if rules.mechanism == GSP and not rules.has_quality:  # the usual case, vectorised
            row, below, reserve = price[s, start:stop], top_bid[s + 1, start:stop], ladder.reserve[start:stop]
            for i in range(stop - start):
                row[i] = max(below[i], reserve[i])
            continue
        for i in range(start, stop):
            winner = top_idx[s, i]
            if winner >= 0:
                bid = multiplier[winner] * values[winner, i]
                price[s, i] = slot_price(
                    rules.mechanism, rules.weight, top_bid, s, i, ladder.reserve[i], bid, rules.quality[winner]
                )


@njit(cache=True)
def add_funnel(seed, tick, impression, advertiser, rules, mean, sd, u, totals):
    """Adds clicks, add-to-carts and GMV of an exposed impression, realised and predicted; returns its value.

    One uniform decides on all three, so that every conversion is an add-to-cart and every add-to-cart a click: with
    u below their probabilities, which are in that order (`kernels.funnel`). The GMV realised is added by the caller,
    who knows of the conversion.

    Returns:
        (predicted value, value of an order).
    """
    value, click, cart, order = impression_amounts(seed, tick, impression, advertiser, mean, sd, rules)
    totals[CLICKS] += u < click
    totals[CLICK_VALUE] += click
    totals[CARTS] += u < cart
    totals[CART_VALUE] += cart
    totals[GMV_VALUE] += value * order
    return value, order


@njit(cache=True)
def settle(
    seed, tick, first, start, stop, values, rules, ladder, sigma, lower, upper, mean, sd, keys, is_exact, limit,
    totals,
):  # fmt: skip
    """Charges and converts ranked and priced impressions [start, stop) in arrival order.

    If `is_exact`, stops before the first impression at which an exposed winner's cost would exceed `limit`, and
    returns that impression and advertiser; (stop, -1) when all are settled. `totals` (n_advertisers, N_TOTALS) is
    added to.

    Returns:
        (impression, advertiser, sum of the least winning costs of the settled impressions).
    """
    n_slots = rules.exposure.shape[0]
    top_idx, price = ladder.top_idx, ladder.price
    lwc_sum = 0.0
    for i in range(start, stop):
        n_exposed = ladder.n_exposed[i]
        for s in range(n_exposed):
            winner = top_idx[s, i]
            if winner < 0:
                break
            if is_exact and totals[winner, COST] + price[s, i] > limit[winner]:
                return i, winner, lwc_sum
        for s in range(n_slots):
            winner = top_idx[s, i]
            if winner < 0:
                break
            totals[winner, WINS] += 1
            if s >= n_exposed:
                continue
            u = draw_outcome(first + i, keys[winner])
            value, order = values[winner, i], np.float32(0.0)
            if rules.has_funnel:
                value, order = add_funnel(
                    seed, tick, first + i, winner, rules, mean[winner], sd[winner], u, totals[winner]
                )
            totals[winner, EXPOSURES] += 1
            totals[winner, COST] += price[s, i]
            totals[winner, VALUE] += value
            is_converted = draw_conversion(
                seed, tick, first + i, winner, value, sigma[winner], lower[winner], upper[winner], u
            )
            totals[winner, CONVERSIONS] += is_converted
            totals[winner, GMV] += is_converted * order
        lwc_sum += least_winning_cost(ladder.top_bid, i, ladder.reserve[i])
    return stop, -1, lwc_sum


@njit(cache=True)
def settle_item(
    item, seed, tick, items, values, submitted, multiplier, rules, advertisers, keys, is_exact, limit, totals,
    value_sum, exposed,
):  # fmt: skip
    """Settles one item in arrival order: whoever cannot pay an impression is out from that impression on.

    Args:
        submitted: (n_advertisers,) float32 multipliers.
        multiplier: (n_advertisers,) float32, written: `submitted`, but 0 for the exhausted.
        is_exact: Whether to stop those whose money runs out, or to settle as if it never did.
        limit: (n_advertisers,) float64 money left.
        totals: (n_advertisers, N_TOTALS) float64, written.
        value_sum: (n_advertisers,) float64: if somebody is exhausted, overwritten by the predicted value of the
            impressions that each advertiser bid on.
        exposed: (n_slots, BLOCK) int32, written: who was seen in each slot, -1 if nobody; or without rows.

    Returns:
        (sum of the least winning costs, whether somebody was exhausted).
    """
    market, first, n, tile = items.market[item], items.first[item], items.n[item], items.tile[item]
    n_slots = rules.exposure.shape[0]
    ladder = new_ladder(n_slots)
    carry_bid, carry_idx = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int32)
    draw_reserves(seed[market], tick, first, n, rules.reserve, rules.reserve_noise, ladder.reserve)
    count_exposed(seed[market], tick, first, n, rules.exposure, ladder.n_exposed)
    totals[:] = 0
    for j in range(multiplier.shape[0]):
        multiplier[j] = submitted[j]
    start, lwc_sum, is_broke = np.int64(0), 0.0, False  # a literal 0 would compile the callees twice
    while start < n:
        rank_bids(
            values[tile], multiplier, rules.quality, ladder.reserve, start, n, carry_bid, carry_idx,
            ladder.top_bid, ladder.top_idx,
        )  # fmt: skip
        price_slots(values[tile], multiplier, rules, ladder, start, n)
        end, broke, lwc = settle(
            seed[market], tick, first, start, n, values[tile], rules, ladder, advertisers.sigma[market],
            advertisers.lower[market], advertisers.upper[market], advertisers.mean[market],
            advertisers.sd[market], keys[market], is_exact, limit, totals,
        )  # fmt: skip
        lwc_sum += lwc
        if broke >= 0 and not is_broke:
            is_broke = True
            value_sum[:] = 0
        if is_broke:
            for j in range(multiplier.shape[0]):
                if multiplier[j] > 0:
                    for i in range(start, end):
                        value_sum[j] += values[tile, j, i]
        for s in range(exposed.shape[0]):
            for i in range(start, end):
                exposed[s, i] = ladder.top_idx[s, i] if s < ladder.n_exposed[i] else -1
        if broke >= 0:
            multiplier[broke] = 0
        start = end
    return lwc_sum, is_broke


@njit(cache=True, parallel=True)
def settle_items(
    todo, cursor, seed, tick, items, values, value_sum, multiplier, rules, advertisers, keys, budget_left,
    totals, lwc, left, is_broke, exposed,
):  # fmt: skip
    """Settles the items `todo`: a market's item at its cursor exactly, the others as if no money ran out.

    Args:
        todo: (n_todo,) int64.
        cursor: (n_markets,) int64, the first open item of each market; -1: none is settled exactly.
        multiplier: (n_markets, n_advertisers) float32, read.
        totals, lwc: Written for each item.
        left: (n_items, n_advertisers) float32, written: `multiplier` after the item, 0 for the exhausted.
        is_broke: (n_items,) bool, written.
        exposed: (n_items, n_slots, BLOCK), or (n_items, 0, 0) if not needed: see `settle_item`.
    """
    for index in prange(todo.shape[0]):
        item = todo[index]
        market = items.market[item]
        lwc[item], is_broke[item] = settle_item(
            item, seed, tick, items, values, multiplier[market], left[item], rules, advertisers, keys,
            item == cursor[market], budget_left[market], totals[item], value_sum[item], exposed[item],
        )  # fmt: skip


@njit(cache=True)
def conversion_keys(seed, tick, n_advertisers):
    """The keys of the conversion draws: (n_markets, n_advertisers) uint64."""
    keys = np.empty((seed.shape[0], n_advertisers), np.uint64)
    for e in range(seed.shape[0]):
        shared = tick_key(seed[e], tick)
        for j in range(n_advertisers):
            keys[e, j] = lane_key(shared, j, STREAM_CONVERSION)
    return keys


@njit(cache=True)
def add_item(item, e, multiplier, value_sum, budget_left, item_totals, item_lwc, totals, lwc_sum, bid_sum):
    """Commits an item: adds its totals to those of market e and takes its costs off the budgets."""
    lwc_sum[e] += item_lwc[item]
    for j in range(totals.shape[1]):
        bid_sum[e, j] += multiplier[e, j] * value_sum[item, j]
        budget_left[e, j] -= item_totals[item, j, COST]
        for k in range(N_TOTALS):
            totals[e, j, k] += item_totals[item, j, k]


@njit(cache=True)
def commit_items(
    cursor, stop, value_sum, multiplier, budget_left, item_totals, item_lwc, left, is_broke, totals, lwc_sum, bid_sum
):  # fmt: skip
    """Commits each market's settled items from `cursor` to `stop`, as far as they hold.

    That is up to the first one in which somebody was exhausted, or, if it was not settled exactly, before the first
    one that somebody cannot pay. Moves `cursor`, and sets `multiplier` to 0 for the exhausted.

    Returns:
        Whether there is an item that somebody cannot pay, and whether anybody was exhausted.
    """
    is_short, any_broke = False, False
    for e in range(cursor.shape[0]):
        for item in range(cursor[e], stop[e]):
            is_affordable = True
            for j in range(totals.shape[1]):
                is_affordable &= item_totals[item, j, COST] <= budget_left[e, j]
            if not is_affordable:
                is_short = True
                break
            add_item(item, e, multiplier, value_sum, budget_left, item_totals, item_lwc, totals, lwc_sum, bid_sum)
            cursor[e] += 1
            if is_broke[item]:
                for j in range(totals.shape[1]):
                    multiplier[e, j] = left[item, j]
                any_broke = True
                break
    return is_short, any_broke


@njit(cache=True)
def list_items(cursor, stop):
    """The items cursor[e] .. stop[e] of all markets behind each other: (n,) int64."""
    todo = np.empty((stop - cursor).sum(), np.int64)
    position = 0
    for e in range(cursor.shape[0]):
        for item in range(cursor[e], stop[e]):
            todo[position] = item
            position += 1
    return todo


@njit(cache=True)
def run_tick(
    seed, tick, items, values, value_sum, multiplier, rules, advertisers, budget_left, totals, lwc_sum, bid_sum,
    first_window,
):  # fmt: skip
    """Runs the tick of every market with hard budgets; see the module's docstring.

    Args:
        seed: (n_markets,) uint64.
        tick: Index of the tick.
        items: `Items`.
        values, value_sum: What `draw_values` wrote; `value_sum` is overwritten for items with an exhaustion.
        multiplier: (n_markets, n_advertisers) float32; set to 0 for advertisers that run out of money.
        rules, advertisers: `Rules`, `Advertisers`.
        budget_left: (n_markets, n_advertisers) float64, updated.
        totals: (n_markets, n_advertisers, N_TOTALS) float64, written.
        lwc_sum: (n_markets,) float64, written.
        bid_sum: (n_markets, n_advertisers) float64, written: sum of the bids submitted.
        first_window: Items of a market to settle at once; doubled as long as nobody's money runs out.
    """
    n_items, n_advertisers = items.market.shape[0], multiplier.shape[1]
    item_totals, item_lwc = np.empty((n_items, n_advertisers, N_TOTALS)), np.empty(n_items)
    left, is_broke = np.empty((n_items, n_advertisers), np.float32), np.empty(n_items, np.bool_)
    exposed = np.empty((n_items, 0, 0), np.int32)
    totals[:] = 0
    lwc_sum[:] = 0
    bid_sum[:] = 0
    keys = conversion_keys(seed, tick, n_advertisers)
    window = first_window
    cursor = items.start[:-1].copy()
    while True:
        stop = np.minimum(cursor + window, items.start[1:])
        todo = list_items(cursor, stop)
        if todo.shape[0] == 0:
            return
        settle_items(
            todo, cursor, seed, tick, items, values, value_sum, multiplier, rules, advertisers, keys, budget_left,
            item_totals, item_lwc, left, is_broke, exposed,
        )  # fmt: skip
        is_short, any_broke = commit_items(
            cursor, stop, value_sum, multiplier, budget_left, item_totals, item_lwc, left, is_broke, totals, lwc_sum,
            bid_sum,
        )  # fmt: skip
        # what lies behind an exhaustion was settled in vain: none of it together with the item that has one,
        # and little of it after that
        window = 1 if is_short else first_window if any_broke else 2 * window
