"""What follows from a won slot: whether it is seen, paid and converts, what it is worth and adds to the totals, when.

One definition of each rule for the CPU market, the replay market and, compiled again, the CUDA device.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from auction_env.kernels.clearing import BLOCK
from auction_env.kernels.rng import (
    STREAM_CONVERSION,
    STREAM_DELAY,
    STREAM_SHARED_VALUE,
    STREAM_SIGMA,
    STREAM_TRUE_VALUE,
    draw_fine_uniform,
    draw_normal,
    draw_one_normal,
    draw_uniform,
    high_word,
    lane_key,
    low_word,
    make_key,
    quantile,
    tick_key,
)
from auction_env.kernels.running.compiling import inner
from auction_env.kernels.values import (
    BASIS_STREAMS,
    MAX_SIGMA_RATIO,
    N_BASES,
    conversion_value,
    order_probabilities,
    scale_amount,
    shaped_value,
)

# columns of the totals of an advertiser in a tick; the replay market has the first five
(
    WINS, EXPOSURES, COST, CONVERSIONS, EXPECTED_CONVERSIONS, CLICKS, EXPECTED_CLICKS, ADD_TO_CARTS,
    EXPECTED_ADD_TO_CARTS, GMV, EXPECTED_GMV,
) = range(11)  # fmt: skip
N_TOTALS = 11


@njit(cache=True, inline="always")
def is_short(spent, price, limit):
    """Whether an exposed winner cannot pay: the hard budget."""
    return spent + price > limit


@njit(cache=True, inline="always")
def add_exposure(totals, winner, price, value, n_conversions):
    """Adds an exposed slot to the totals (n, >= 5) of its winner: what it costs and what it brings.

    The row is an index, because a slice is counted by reference, which costs the market a tenth of its speed.
    """
    totals[winner, EXPOSURES] += 1
    totals[winner, COST] += price
    totals[winner, EXPECTED_CONVERSIONS] += value
    totals[winner, CONVERSIONS] += n_conversions


@njit(cache=True, inline="always")
def draw_exposure(counter, low, high, probability):
    """Whether a slot is seen, given that the one above is; the key is that of the slot (STREAM_EXPOSURE)."""
    return draw_uniform(counter, low, high) < probability


@njit(cache=True, inline="always")
def may_convert(u, value):
    """Whether a conversion is possible at all: the true probability is at most 2 standard deviations above `value`."""
    return u < value * (1.0 + 2.0 * MAX_SIGMA_RATIO)


@njit(cache=True, inline="always")
def relative_sigma(sigma_mean, z):
    """Standard deviation over value of an impression's prediction, from the advertiser's mean and a standard normal."""
    return min(abs(sigma_mean * (np.float32(1.0) + np.float32(0.5) * z)), MAX_SIGMA_RATIO)


@njit(cache=True, inline="always")
def is_converted(u, value, sigma_mean, lower, upper, z, v):
    """Whether the uniform u of the outcome lies below the true conversion probability.

    That probability is truncated normal around the prediction: location `value`, scale sigma x value with sigma =
    |sigma_mean (1 + z / 2)| capped, standardised bounds given as normal probabilities `lower` and `upper`.

    Args:
        z: Standard normal behind sigma.
        v: Uniform behind the place between the bounds.
    """
    sigma = relative_sigma(sigma_mean, z)
    return u < value * (np.float32(1.0) + sigma * quantile(lower + (upper - lower) * v))


@njit(cache=True, inline="always")
def draw_outcome(impression, key):
    """The uniform behind all that an exposed impression leads to: float64 in (0, 1).

    `key` is `make_key(seed, tick, advertiser, STREAM_CONVERSION)`.
    """
    return draw_fine_uniform(np.uint32(impression), low_word(key), high_word(key))


@inner
def funnel_words(seed, tick, n_advertisers):
    """The keys behind the four amounts of a tick: (4, 2, n_advertisers) uint32 lower and higher words."""
    words = np.empty((N_BASES, 2, n_advertisers), np.uint32)
    shared = tick_key(seed, tick)
    for k in range(N_BASES):
        for j in range(n_advertisers):
            key = lane_key(shared, j, BASIS_STREAMS[k])
            words[k, 0, j], words[k, 1, j] = low_word(key), high_word(key)
    return words


@inner
def take(row, who, out):
    """`out[i] = row[who[i]]`: a loop of its own, because loops with such reads do not vectorise."""
    for i in range(who.shape[0]):
        out[i] = row[who[i]]


@inner(error_model="numpy")
def draw_plain_normals(low, high, impression, out):
    """Standard normals of impressions, each under a key of its own, without fused operations.

    Args:
        low, high: (n,) uint32 words of the keys.
        impression: (n,) uint32.
        out: (n,) float32, written.
    """
    for i in range(out.shape[0]):
        out[i] = draw_normal(impression[i], low[i], high[i])


@inner(error_model="numpy")
def scale_amounts(mean, sd, correlation, z, own, out):
    """`scale_amount` of each impression: all but `sd` and `correlation` are (n,) float32, `out` is written."""
    for i in range(out.shape[0]):
        out[i] = scale_amount(mean[i], sd, correlation, z[i], own[i])


@inner(error_model="numpy")
def amounts_of_winners(seed, tick, impression, who, words, mean, sd, funnel, keys, normals, out):
    """The four amounts of impressions for whoever won them: value, click, cart, order value.

    Vectorised over the impressions: one by one, drawing them takes five times as long as the rest of an auction.
    Nothing is fused, so that the roundings are those of a single impression's.

    Args:
        seed: uint64.
        tick: Index of the tick.
        impression: (n,) uint32.
        who: (n,) uint32 winners.
        words: `funnel_words`.
        mean, sd: (n_advertisers,) float32: of the tick's conversion probability.
        funnel: `FunnelRules`, or `settle.Rules`.
        keys: (2, n) uint32, scratch.
        normals: (6, n) float32, scratch.
        out: (4, n) float32, written.
    """
    n, low, high = who.shape[0], keys[0], keys[1]
    for k in range(N_BASES):
        take(words[k, 0], who, low)
        take(words[k, 1], who, high)
        draw_plain_normals(low, high, impression, normals[k])
    z, value, means, deviations = normals[0], out[0], normals[4], normals[5]
    if funnel.value_correlation > 0:
        key, shared = make_key(seed, tick, np.int64(0), STREAM_SHARED_VALUE), normals[4]
        low[:], high[:] = low_word(key), high_word(key)
        draw_plain_normals(low, high, impression, shared)
        shared_weight = np.sqrt(funnel.value_correlation)
        own_weight = np.sqrt(np.float32(1.0) - funnel.value_correlation)
        for i in range(n):
            z[i] = shared_weight * shared[i] + own_weight * z[i]
    take(mean, who, means)
    if funnel.value_shape.shape[1] > 0:
        for i in range(n):
            value[i] = shaped_value(means[i], funnel.value_shape, who[i], z[i])
    else:
        take(sd, who, deviations)
        for i in range(n):
            value[i] = conversion_value(means[i], deviations[i], z[i])
    rates = (funnel.click_rate, funnel.cart_rate, funnel.order_value)
    for k in range(3):
        take(rates[k], who, means)
        scale_amounts(means, funnel.funnel_sd[k], funnel.funnel_correlation[k], z, normals[k + 1], out[k + 1])
    for i in range(n):
        out[2, i], out[1, i] = order_probabilities(value[i], out[2, i], out[1, i])


@inner
def draw_amounts(seed, tick, first, start, stop, rules, mean, sd, ladder):
    """Writes what impressions [start, stop) are worth to the winners of their slots, where seen, to the ladder.

    Those of all slots behind each other, so that its loops are long: whole vectors, with advertiser 0 in the rest.
    """
    n_slots, n_most = rules.exposure.shape[0], rules.exposure.shape[0] * BLOCK
    # impression of the block and of the tick, winner; where each slot ends
    numbers, end = np.empty((3, n_most), np.uint32), np.zeros(n_slots + 1, np.int64)
    n = 0
    for s in range(n_slots):
        for i in range(start, stop):
            winner = ladder.top_idx[s, i]
            numbers[0, n], numbers[1, n] = np.uint32(i), np.uint32(first + i)
            numbers[2, n] = np.uint32(max(winner, np.int32(0)))
            n += (winner >= 0) & (s < ladder.n_exposed[i])
        end[s + 1] = n
    n_whole = min((n + 15) // 16 * 16, n_most)
    for i in range(n, n_whole):
        numbers[2, i] = np.uint32(0)
    amounts = np.empty((N_BASES, n_whole), np.float32)
    amounts_of_winners(
        seed, tick, numbers[1, :n_whole], numbers[2, :n_whole], funnel_words(seed, tick, mean.shape[0]), mean, sd,
        rules, np.empty((2, n_whole), np.uint32), np.empty((N_BASES + 2, n_whole), np.float32), amounts,
    )  # fmt: skip
    for s in range(n_slots):
        for k in range(N_BASES):
            for i in range(end[s], end[s + 1]):
                ladder.amounts[s, k, numbers[0, i]] = amounts[k, i]


@njit(cache=True)
def conversion_keys(seed, tick, n_advertisers):
    """The keys of `draw_outcome`: (n_markets, n_advertisers) uint64."""
    keys = np.empty((seed.shape[0], n_advertisers), np.uint64)
    for e in range(seed.shape[0]):
        shared = tick_key(seed[e], tick)
        for j in range(n_advertisers):
            keys[e, j] = lane_key(shared, j, STREAM_CONVERSION)
    return keys


@njit(cache=True)
def draw_conversion(seed, tick, impression, advertiser, value, sigma_mean, lower, upper, u):
    """Whether an exposed impression converts: 0 or 1; see `is_converted`.

    The bound on the probability comes first: it settles nearly every impression with one draw and changes no result.

    Args:
        u: `draw_outcome` of the impression.
    """
    if not may_convert(u, value):
        return 0
    counter = np.uint32(impression)
    key = make_key(seed, tick, np.int64(advertiser), STREAM_SIGMA)
    z = draw_one_normal(counter, low_word(key), high_word(key))
    key = make_key(seed, tick, np.int64(advertiser), STREAM_TRUE_VALUE)
    v = draw_uniform(counter, low_word(key), high_word(key))
    return 1 if is_converted(u, value, sigma_mean, lower, upper, z, v) else 0


@njit(cache=True)
def draw_known_conversion(seed, tick, impression, advertiser, value, sigma, lower, upper, u):
    """`draw_conversion` where the standard deviation `sigma` of this very prediction is known: 0 or 1."""
    if u >= value + np.float32(2.0) * sigma:  # the bounds lie up to 2 standard deviations from the prediction
        return 0
    key = make_key(seed, tick, np.int64(advertiser), STREAM_TRUE_VALUE)
    v = draw_uniform(np.uint32(impression), low_word(key), high_word(key))
    return 1 if u < value + sigma * quantile(lower + (upper - lower) * v) else 0


@njit(cache=True)
def draw_sigmas(seed, tick, advertiser, sigma_mean, values, out):
    """Standard deviations of an advertiser's predictions in a tick, which `draw_conversion` draws outcomes from.

    Args:
        values: (n,) float32 predicted values, in arrival order.
        out: (n,) float32, written.
    """
    key = make_key(seed, tick, advertiser, STREAM_SIGMA)
    for i in range(values.shape[0]):
        out[i] = values[i] * relative_sigma(sigma_mean, draw_one_normal(np.uint32(i), low_word(key), high_word(key)))


@njit(cache=True)
def delay_conversions(seed, tick, stay, conversions, pending):
    """Draws when the tick's conversions are reported, and replaces them by those reported now.

    The delay is geometric: a conversion that is not yet reported stays so for another tick with probability
    `stay`. What is still open at the last tick is reported with it.

    Args:
        seed: (n_markets,) uint64.
        tick: Index of the tick.
        stay: Probability.
        conversions: (n_markets, n_advertisers) float64, changed: counts made in this tick -> reported in it.
        pending: (n_markets, n_ticks, n_advertisers) float64, updated: counts by the tick that reports them.
    """
    n_ticks = pending.shape[1]
    for e in range(conversions.shape[0]):
        for j in range(conversions.shape[1]):
            key = make_key(seed[e], tick, j, STREAM_DELAY)
            for k in range(int(conversions[e, j])):
                u = draw_fine_uniform(np.uint32(k), low_word(key), high_word(key))
                delay = min(np.floor(np.log(u) / np.log(stay)), float(n_ticks))  # inverts P(delay >= d) = stay ** d
                pending[e, min(tick + int(delay), n_ticks - 1), j] += 1
            conversions[e, j] = pending[e, tick, j]
