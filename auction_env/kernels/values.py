"""What an impression promises each advertiser before anybody bids: conversions, clicks, add-to-carts, order values.

The conversion probability (the "value" of the other kernels) is a normal draw cut to [0, 1], or, under an own
distribution, the quantile at that draw. In a market with a funnel
an impression has three more amounts: the probabilities of an add-to-cart and of a click, and the value of an order.
Each is a normal draw of its own, correlated with that of the conversion probability. All are pure functions of (seed,
tick, advertiser, impression). So they can be drawn for whole blocks, where somebody bids on them, and again for the few
winners, and an impression is the same thing whatever anybody bids on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from auction_env.kernels.clearing import whole_vectors
from auction_env.kernels.rng import (
    STREAM_CART,
    STREAM_CLICK,
    STREAM_ORDER,
    STREAM_SHARED_VALUE,
    STREAM_VALUE,
    bits,
    draw_normal,
    high_word,
    lane_key,
    low_word,
    make_key,
    tick_key,
    to_normal,
    to_uniform,
)
from auction_env.kernels.running.compiling import inner

MAX_SIGMA_RATIO = np.float32(0.3)  # AuctionNet caps the prediction's sigma at 0.3 of the prediction
# the true conversion probability is at most this multiple of the predicted one: 2 standard deviations above it
_MAX_TRUE_RATIO = np.float32(1.0 + 2.0 * MAX_SIGMA_RATIO)
_LOWEST = np.float32(0.1)  # no amount falls below this share of its mean

HIGHEST_Z = np.float32(5.0)  # of the quantiles of an own distribution; 6 of 10 million normals lie beyond +-5
_PER_Z = np.float32(16.0)  # its points, a unit of z
N_POINTS = 2 * int(HIGHEST_Z) * int(_PER_Z) + 1

N_BASES = 4  # amounts of an impression, in the order of `tasks.BASES`
BASIS_STREAMS = (STREAM_VALUE, STREAM_CLICK, STREAM_CART, STREAM_ORDER)  # of their normals


class FunnelRules(NamedTuple):
    """The funnel as the kernels take it; all numbers float32.

    `settle.Rules` has these fields too, and stands in for it: numba's parallel loops take no record in a record.
    """

    has_funnel: bool
    click_rate: NDArray[np.float32]  # (n_advertisers,) mean click probability
    cart_rate: NDArray[np.float32]  # (n_advertisers,) mean add-to-cart probability
    order_value: NDArray[np.float32]  # (n_advertisers,) mean value of an order, currency
    funnel_sd: NDArray[np.float32]  # (3,) standard deviation over mean of click, cart and order
    funnel_correlation: NDArray[np.float32]  # (3,) of their normals with that of the conversion probability
    value_correlation: (
        Any  # correlation of the conversion normals of two advertisers: `TrafficParams.value_correlation`
    )
    value_shape: NDArray[np.float32]  # (n_advertisers, N_POINTS) of an own distribution: `shaped_value`; or (.., 0)


@njit(cache=True, inline="always")
def scale_amount(mean, sd, correlation, z, own):
    """An amount with this mean and sd (before the cut), from the conversion's normal and one of its own."""
    mixed = correlation * z + np.sqrt(np.float32(1.0) - correlation * correlation) * own
    return mean * max(np.float32(1.0) + sd * mixed, _LOWEST)


@njit(cache=True, inline="always")
def conversion_value(mean, sd, z):
    """The conversion probability: normal(mean, sd), given its standard normal z, cut to [0, 1]."""
    return min(max(mean + sd * z, np.float32(0.0)), np.float32(1.0))


@njit(cache=True, inline="always")
def shaped_value(mean, shape, j, z):
    """The conversion probability under an own distribution: mean x its quantile at z, cut to [0, 1].

    Args:
        mean: Of advertiser j.
        shape: (n_advertisers, N_POINTS) float32 quantiles over the mean, at z = -HIGHEST_Z .. HIGHEST_Z.
        j: The advertiser.
        z: Its standard normal.
    """
    place = min(max((z + HIGHEST_Z) * _PER_Z, np.float32(0.0)), np.float32(N_POINTS - 1))
    k = min(np.int32(place), np.int32(N_POINTS - 2))
    low = shape[j, k]
    quantile = low + (place - np.float32(k)) * (shape[j, k + 1] - low)
    return min(max(mean * quantile, np.float32(0.0)), np.float32(1.0))


@njit(cache=True, inline="always")
def order_probabilities(value, cart, click):
    """Raises the add-to-cart and click probabilities to what the conversion needs: (cart, click).

    An order needs an add-to-cart and that a click, so neither may be rarer than the true conversion probability.
    """
    cart = min(max(cart, _MAX_TRUE_RATIO * value), np.float32(1.0))
    return cart, min(max(click, cart), np.float32(1.0))


@inner(fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def draw_normals(low, high, first, n, out):
    """Standard normals of impressions first .. first + n - 1 under a key.

    The rows are fast because all in their loops is 32 bits wide: they take the key as two words, and `first` is added
    to the lower one. A key that is split inside, or a counter first + i, would be 64 bits wide and halve the speed.
    `out` (BLOCK,) is filled somewhat beyond the n normals asked for.
    """
    low = np.uint32(low + np.uint32(first))
    for i in range(whole_vectors(n)):
        out[i] = draw_normal(np.uint32(i), low, high)


@inner(fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def sum_row(row, n):
    """Sum of the first n entries in float64."""
    total = 0.0
    for i in range(n):
        total += np.float64(row[i])
    return total


@inner(fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def draw_block(seed, tick, first, n, mean, sd, values, value_sum):
    """Draws the predicted values of a block of one market: normal(mean, sd) cut to [0, 1].

    One pass draws the bits of all advertisers, in the place of their values, and one makes values of them: a value
    takes 150 cycles from its key, of which the processor overlaps more the shorter each pass is and the fewer begin.

    Args:
        seed: uint64.
        tick: Index of the tick.
        first, n: First impression of the block and their number.
        mean, sd: (n_advertisers,) float32: of the tick's value distribution.
        values: (n_advertisers, BLOCK) float32, written, somewhat beyond the n values of each row.
        value_sum: (n_advertisers,) float64, written.
    """
    shared, n_whole = tick_key(seed, tick), whole_vectors(n)
    low, high = np.empty(mean.shape[0], np.uint32), np.empty(mean.shape[0], np.uint32)
    for j in range(mean.shape[0]):
        key = lane_key(shared, j, STREAM_VALUE)
        low[j], high[j] = low_word(key) + np.uint32(first), high_word(key)
    words = values.view(np.uint32)
    for j in range(mean.shape[0]):
        own_low, own_high, word = low[j], high[j], words[j]
        for i in range(n_whole):
            word[i] = bits(np.uint32(i), own_low, own_high)
    for j in range(mean.shape[0]):
        own_mean, own_sd, row, word = mean[j], sd[j], values[j], words[j]
        for i in range(n_whole):
            row[i] = conversion_value(own_mean, own_sd, to_normal(to_uniform(word[i])))
    for j in range(mean.shape[0]):
        row, total = values[j], np.float32(0.0)
        for i in range(n):
            total += row[i]
        value_sum[j] = total


@njit(cache=True, parallel=True)
def draw_values(seed, tick, items, mean, sd, values, value_sum):
    """Draws the predicted values of every impression of a tick.

    Args:
        seed: (n_markets,) uint64.
        tick: Index of the tick.
        items: `tick.Items`.
        mean, sd: (n_markets, n_advertisers) float32: of the tick's value distribution.
        values: (>= n_items, n_advertisers, BLOCK) float32, written.
        value_sum: (>= n_items, n_advertisers) float64, written.
    """
    for item in prange(items.market.shape[0]):
        e = items.market[item]
        draw_block(seed[e], tick, items.first[item], items.n[item], mean[e], sd[e], values[item], value_sum[item])


@inner(fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def draw_shared_row(low, high, first, n, weight, out):
    """The shared part of the values of impressions: weight x standard normal."""
    low = np.uint32(low + np.uint32(first))
    for i in range(n):
        out[i] = weight * draw_normal(np.uint32(i), low, high)


@inner(fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def draw_correlated_row(low, high, first, n, mean, sd, weight, shared, out):
    """Predicted values of one advertiser; their sum. The normal is `shared[i]` + weight x one of its own."""
    low = np.uint32(low + np.uint32(first))
    for i in range(n):
        z = shared[i] + weight * draw_normal(np.uint32(i), low, high)
        out[i] = conversion_value(mean, sd, z)
    total = np.float32(0.0)
    for i in range(n):
        total += out[i]
    return np.float64(total)


@inner
def draw_correlated_block(seed, tick, first, n, mean, sd, correlation, values, value_sum):
    """`draw_block` with a part that all advertisers share: an impression is good or bad for everybody.

    Every advertiser keeps its distribution: its normal is sqrt(correlation) x shared + sqrt(1 - correlation) x own,
    and its own normal is that of `draw_block`. `correlation` is a float32 in [0, 1].
    """
    shared_weight = np.float32(np.sqrt(correlation))
    own_weight = np.float32(np.sqrt(np.float32(1.0) - correlation))
    shared = np.empty(values.shape[1], np.float32)
    key = make_key(seed, tick, np.int64(0), STREAM_SHARED_VALUE)
    draw_shared_row(low_word(key), high_word(key), first, n, shared_weight, shared)
    for j in range(mean.shape[0]):
        key = make_key(seed, tick, j, STREAM_VALUE)
        value_sum[j] = draw_correlated_row(
            low_word(key), high_word(key), first, n, mean[j], sd[j], own_weight, shared, values[j]
        )


@njit(cache=True, parallel=True)
def draw_correlated_values(seed, tick, items, mean, sd, correlation, values, value_sum):
    """`draw_values` by `draw_correlated_block`."""
    for item in prange(items.market.shape[0]):
        e = items.market[item]
        draw_correlated_block(
            seed[e], tick, items.first[item], items.n[item], mean[e], sd[e], correlation, values[item], value_sum[item]
        )


@inner(fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def draw_shaped_row(low, high, first, n, mean, shape, j, weight, shared, out):
    """`draw_correlated_row` under an own distribution: see `shaped_value`."""
    low = np.uint32(low + np.uint32(first))
    for i in range(n):
        z = shared[i] + weight * draw_normal(np.uint32(i), low, high)
        out[i] = shaped_value(mean, shape, j, z)
    total = np.float32(0.0)
    for i in range(n):
        total += out[i]
    return np.float64(total)


@inner
def draw_shaped_block(seed, tick, first, n, mean, correlation, shape, values, value_sum):
    """`draw_correlated_block` under distributions of the advertisers' own; the normals are the same.

    Args:
        correlation: float32 in [0, 1]; 0 makes the advertisers' values independent.
        shape: (n_advertisers, N_POINTS) float32: see `shaped_value`.
    """
    shared_weight = np.float32(np.sqrt(correlation))
    own_weight = np.float32(np.sqrt(np.float32(1.0) - correlation))
    shared = np.zeros(values.shape[1], np.float32)
    if correlation > 0:
        key = make_key(seed, tick, np.int64(0), STREAM_SHARED_VALUE)
        draw_shared_row(low_word(key), high_word(key), first, n, shared_weight, shared)
    for j in range(mean.shape[0]):
        key = make_key(seed, tick, j, STREAM_VALUE)
        value_sum[j] = draw_shaped_row(
            low_word(key), high_word(key), first, n, mean[j], shape, j, own_weight, shared, values[j]
        )


@njit(cache=True, parallel=True)
def draw_shaped_values(seed, tick, items, mean, correlation, shape, values, value_sum):
    """`draw_values` by `draw_shaped_block`."""
    for item in prange(items.market.shape[0]):
        e = items.market[item]
        draw_shaped_block(
            seed[e], tick, items.first[item], items.n[item], mean[e], correlation, shape, values[item], value_sum[item]
        )


@inner(fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def fill_values(normals, n, mean, sd, shape, j, amounts):
    """Conversion probabilities of a block of advertiser j from their normals: the first row of each (4, BLOCK)."""
    if shape.shape[1] > 0:
        for i in range(n):
            amounts[0, i] = shaped_value(mean, shape, j, normals[0, i])
    else:
        for i in range(n):
            amounts[0, i] = conversion_value(mean, sd, normals[0, i])


@inner(fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def replace_normals(row, n, mean, sd, shape, j):
    """`fill_values` in place, of a row (BLOCK,): with two arrays that are one, its loops would not vectorise."""
    if shape.shape[1] > 0:
        for i in range(n):
            row[i] = shaped_value(mean, shape, j, row[i])
    else:
        for i in range(whole_vectors(n)):
            row[i] = conversion_value(mean, sd, row[i])


@inner(fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def draw_normal_rows(key, first, n, is_wanted, out):
    """Standard normals behind the conversion probabilities of a block, in passes as of `draw_block`.

    `key` is that of the tick. Rows of `out` (n_advertisers, BLOCK) that are wanted are written, somewhat beyond n.
    """
    words, n_whole = out.view(np.uint32), whole_vectors(n)
    for j in range(out.shape[0]):
        if is_wanted[j]:
            own = lane_key(key, j, STREAM_VALUE)
            low, high, word = np.uint32(low_word(own) + np.uint32(first)), high_word(own), words[j]
            for i in range(n_whole):
                word[i] = bits(np.uint32(i), low, high)
    for j in range(out.shape[0]):
        if is_wanted[j]:
            row, word = out[j], words[j]
            for i in range(n_whole):
                row[i] = to_normal(to_uniform(word[i]))


@inner(fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def fill_amounts(normals, n, click_rate, cart_rate, order_value, funnel, amounts):
    """The other amounts of a block: click, cart, value x order beside the value in `amounts` (4, BLOCK)."""
    for i in range(n):
        z = normals[0, i]
        value = amounts[0, i]
        click = scale_amount(click_rate, funnel.funnel_sd[0], funnel.funnel_correlation[0], z, normals[1, i])
        cart = scale_amount(cart_rate, funnel.funnel_sd[1], funnel.funnel_correlation[1], z, normals[2, i])
        order = scale_amount(order_value, funnel.funnel_sd[2], funnel.funnel_correlation[2], z, normals[3, i])
        cart, click = order_probabilities(value, cart, click)
        amounts[1, i] = click
        amounts[2, i] = cart
        amounts[3, i] = value * order


@inner
def draw_funnel_block(seed, tick, first, n, mean, sd, funnel, basis, known, values, value_sum, expected_sum):
    """Draws what everybody bids on, and the sums of all four amounts, for a block of one market.

    Nobody sees the other amounts of a scripted competitor, who bids on conversions: they are not drawn, which is three
    quarters of the draws of most markets.

    Args:
        seed: uint64.
        tick: Index of the tick.
        first, n: First impression of the block and their number.
        mean, sd: (n_advertisers,) float32: of the tick's conversion probability.
        funnel: `FunnelRules`, or `settle.Rules`.
        basis: (n_advertisers,) int64: which amount each advertiser bids on, in the order of `tasks.BASES`.
        known: (n_advertisers,) bool: of whom all sums are wanted.
        values: (n_advertisers, BLOCK) float32, written: that amount.
        value_sum: (n_advertisers,) float64, written: its sum over the block.
        expected_sum: (4, n_advertisers) float64, written: the sums of all amounts, NaN for those that are not drawn.
    """
    own_weight, shared_weight = np.sqrt(np.float32(1.0) - funnel.value_correlation), np.sqrt(funnel.value_correlation)
    shared, is_alone = tick_key(seed, tick), np.empty(mean.shape[0], np.bool_)
    normals = np.empty((N_BASES, values.shape[1]), np.float32)
    amounts = np.empty((N_BASES, values.shape[1]), np.float32)
    common = np.zeros(values.shape[1], np.float32)
    if funnel.value_correlation > 0:
        key = make_key(seed, tick, np.int64(0), STREAM_SHARED_VALUE)
        draw_normals(low_word(key), high_word(key), first, n, common)
    for j in range(mean.shape[0]):
        is_alone[j] = not known[j] and basis[j] == 0
    draw_normal_rows(shared, first, n, is_alone, values)
    for j in range(mean.shape[0]):
        row, chosen = values[j], basis[j]
        if is_alone[j]:
            if funnel.value_correlation > 0:
                for i in range(n):
                    row[i] = shared_weight * common[i] + own_weight * row[i]
            replace_normals(row, n, mean[j], sd[j], funnel.value_shape, j)
            expected_sum[0, j] = sum_row(row, n)
            for k in range(1, N_BASES):
                expected_sum[k, j] = np.nan
        else:
            for k in range(N_BASES):
                key = lane_key(shared, j, BASIS_STREAMS[k])
                draw_normals(low_word(key), high_word(key), first, n, normals[k])
            if funnel.value_correlation > 0:
                for i in range(n):
                    normals[0, i] = shared_weight * common[i] + own_weight * normals[0, i]
            fill_values(normals, n, mean[j], sd[j], funnel.value_shape, j, amounts)
            fill_amounts(normals, n, funnel.click_rate[j], funnel.cart_rate[j], funnel.order_value[j], funnel, amounts)
            for k in range(N_BASES):
                expected_sum[k, j] = sum_row(amounts[k], n)
            for i in range(n):
                row[i] = amounts[chosen, i]
        value_sum[j] = expected_sum[chosen, j]


@njit(cache=True, parallel=True)
def draw_funnel_values(seed, tick, items, mean, sd, funnel, basis, known, values, value_sum, expected_sum):
    """`draw_values` by `draw_funnel_block`.

    `basis` and `known` are (n_markets, n_advertisers), `expected_sum` is (n_items, 4, n_advertisers).
    """
    for item in prange(items.market.shape[0]):
        e = items.market[item]
        draw_funnel_block(
            seed[e], tick, items.first[item], items.n[item], mean[e], sd[e], funnel, basis[e], known[e],
            values[item], value_sum[item], expected_sum[item],
        )  # fmt: skip
