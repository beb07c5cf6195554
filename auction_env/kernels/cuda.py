"""The market's tick on a CUDA device: one thread an impression; and its commit on the host, in arrival order.

The draws are those of `kernels.rng`: the same integer bits for the same key and counter. Floating-point results
agree with the CPU kernels to rounding, as a device fuses products into sums where a CPU may not.
"""

from __future__ import annotations

import math
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from numba import config as _config
from numba import cuda as _cuda
from numba import float32, int32, njit

from auction_env.kernels import clearing, outcomes, rng, values
from auction_env.kernels.clearing import FIRST_PRICE
from auction_env.kernels.outcomes import COST, WINS, add_exposure, draw_exposure, is_short, may_convert
from auction_env.kernels.rng import (
    STREAM_CONVERSION,
    STREAM_EXPOSURE,
    STREAM_SIGMA,
    STREAM_TRUE_VALUE,
    STREAM_VALUE,
    bits,
    draw_fine_uniform,
    draw_uniform,
    make_key,
)

cuda: Any = _cuda  # its types lack what exists on a device only
config: Any = _config  # filled in at run time

THREADS = 128  # of a block
SUMMED = 128  # impressions that one thread adds up
MAX_TOP = 9  # slots and the bid after them

# rows of the keys of an advertiser
VALUE_KEY, CONVERSION_KEY, SIGMA_KEY, TRUE_VALUE_KEY = range(4)
_STREAMS = (STREAM_VALUE, STREAM_CONVERSION, STREAM_SIGMA, STREAM_TRUE_VALUE)
_ZERO = np.float32(0.0)


@njit(cache=True)
def make_keys(seed, tick, advertiser_keys, slot_keys):
    """The two words of every key of a tick, on the host.

    Args:
        seed: (n_markets,) uint64.
        tick: Index of the tick.
        advertiser_keys: (n_markets, 4, n_advertisers, 2) uint32, written: lower and upper word.
        slot_keys: (n_markets, n_slots, 2) uint32, written.
    """
    for e in range(seed.shape[0]):
        for row in range(len(_STREAMS)):
            for j in range(advertiser_keys.shape[2]):
                key = make_key(seed[e], tick, j, _STREAMS[row])
                advertiser_keys[e, row, j, 0] = key & np.uint64(0xFFFFFFFF)
                advertiser_keys[e, row, j, 1] = key >> np.uint64(32)
        for s in range(slot_keys.shape[1]):
            key = make_key(seed[e], tick, s, STREAM_EXPOSURE)
            slot_keys[e, s, 0] = key & np.uint64(0xFFFFFFFF)
            slot_keys[e, s, 1] = key >> np.uint64(32)


@cuda.jit(device=True)
def larger(a, b):
    """The larger of two numbers; numba's `max` does not compile for every device target."""
    return a if a > b else b


@cuda.jit(device=True)
def smaller(a, b):
    """The smaller of two numbers."""
    return a if a < b else b


def _for_device(function, **names):
    """A formula of the other kernel modules, compiled for a device from the same source.

    What a device lacks is replaced: NumPy, `min`, `max`, and the functions in `names`. The simulator runs kernels as
    plain Python, which calls the host's function.
    """
    if config.ENABLE_CUDASIM:
        return function
    device_numpy: Any = ModuleType("device_numpy")
    device_numpy.float32, device_numpy.sqrt = np.float32, math.sqrt
    scope = {**function.py_func.__globals__, "np": device_numpy, "max": larger, "min": smaller, **names}
    return cuda.jit(device=True)(FunctionType(function.py_func.__code__, scope, function.py_func.__name__))


to_normal = _for_device(rng.to_normal)
draw_normal = _for_device(rng.draw_normal, to_normal=to_normal)
conversion_value = _for_device(values.conversion_value)
next_price = _for_device(clearing.next_price)
relative_sigma = _for_device(outcomes.relative_sigma)
is_converted = _for_device(outcomes.is_converted, quantile=to_normal, relative_sigma=relative_sigma)


@cuda.jit
def draw_words(key, words):
    """Writes the random bits of counters 0, 1, ... under a key (2,) uint32: what the tests compare bit by bit."""
    x = cuda.grid(1)
    if x < words.shape[0]:
        words[x] = bits(np.uint32(x), np.uint32(key[0]), np.uint32(key[1]))


@cuda.jit
def draw_values(n, start, keys, mean, sd, values):
    """Predicted values of every impression; grid (impression, market).

    Args:
        n, start: (n_markets,) int64 impressions of each market, and where they begin in the last axis of `values`.
        keys: See `make_keys`.
        mean, sd: (n_markets, n_advertisers) float32.
        values: (n_advertisers, >= sum(n)) float32, written.
    """
    x, e = cuda.grid(2)
    if e >= n.shape[0] or x >= n[e]:
        return
    for j in range(values.shape[0]):
        key = keys[e, VALUE_KEY, j]
        z = np.float32(draw_normal(np.uint32(x), np.uint32(key[0]), np.uint32(key[1])))
        values[j, start[e] + x] = conversion_value(mean[e, j], sd[e, j], z)


@cuda.jit
def sum_values(n, start, values, partial):
    """Sums of `SUMMED` consecutive impressions in a fixed order; grid (part, advertiser, market).

    `partial`: (n_markets, n_advertisers, n_parts) float64, written.
    """
    part, j, e = cuda.grid(3)
    if e >= n.shape[0] or j >= partial.shape[1] or part >= partial.shape[2]:
        return
    total = 0.0
    for x in range(part * SUMMED, smaller((part + 1) * SUMMED, n[e])):
        total += values[j, start[e] + x]
    partial[e, j, part] = total


@cuda.jit
def settle(
    n, start, first, advertiser_keys, slot_keys, values, multiplier, reserve, mechanism, exposure, sigma, lower, upper,
    winner, price, gain, state, lwc,
):  # fmt: skip
    """Clears, exposes and converts impressions from `first` on as if no money ran out; grid (impression, market).

    Args:
        n, start, first: (n_markets,) int64.
        advertiser_keys, slot_keys: See `make_keys`.
        values, multiplier, reserve, mechanism, exposure, sigma, lower, upper: See `kernels.tick.run_tick`.
        winner: (n_slots, >= sum(n)) int32, written: -1 where there is none.
        price, gain: The same shape, float32, written: price of the slot and the winner's predicted value.
        state: The same shape, uint8, written: 0 not seen, 1 seen, 2 converted.
        lwc: (>= sum(n),) float32, written: least winning cost.
    """
    x, e = cuda.grid(2)
    if e >= n.shape[0] or x >= n[e] or x < first[e]:
        return
    at, n_slots = start[e] + x, winner.shape[0]
    top_bid, top_idx = cuda.local.array(MAX_TOP, float32), cuda.local.array(MAX_TOP, int32)
    for rank in range(n_slots + 1):
        top_bid[rank], top_idx[rank] = _ZERO, -1
    for j in range(values.shape[0]):
        bid = multiplier[e, j] * values[j, at]
        if bid >= reserve and bid > top_bid[n_slots]:  # an equal bid of a lower index stays in front
            rank = n_slots
            while rank > 0 and top_bid[rank - 1] < bid:
                top_bid[rank], top_idx[rank] = top_bid[rank - 1], top_idx[rank - 1]
                rank -= 1
            top_bid[rank], top_idx[rank] = bid, j
    lwc[at] = next_price(top_bid[n_slots], reserve)
    counter, is_seen = np.uint32(x), True
    for s in range(n_slots):
        key = slot_keys[e, s]
        is_seen = is_seen and draw_exposure(counter, np.uint32(key[0]), np.uint32(key[1]), exposure[s])
        j = top_idx[s]
        winner[s, at], state[s, at] = j, 0
        if j < 0:
            continue
        value = values[j, at]
        gain[s, at] = value
        price[s, at] = top_bid[s] if mechanism == FIRST_PRICE else next_price(top_bid[s + 1], reserve)
        if not is_seen:
            continue
        state[s, at] = 1
        keys = advertiser_keys[e]
        key = keys[CONVERSION_KEY, j]
        u = draw_fine_uniform(counter, np.uint32(key[0]), np.uint32(key[1]))
        if may_convert(u, value):
            key = keys[SIGMA_KEY, j]
            z = np.float32(draw_normal(counter, np.uint32(key[0]), np.uint32(key[1])))
            key = keys[TRUE_VALUE_KEY, j]
            v = np.float32(draw_uniform(counter, np.uint32(key[0]), np.uint32(key[1])))
            if is_converted(u, value, sigma[e, j], lower[e, j], upper[e, j], z, v):
                state[s, at] = 2


@njit(cache=True, nogil=True)
def commit(
    first_market, stop_market, n, start, first, winner, price, gain, state, lwc, budget_left, totals, lwc_sum, broke
):  # fmt: skip
    """Adds settled impressions up in arrival order, on the host, until somebody cannot pay one.

    Args:
        first_market, stop_market: Those that are looked at, so that threads may share them.
        n, start: (n_markets,) int64.
        first: (n_markets,) int64, changed: the first impression not added.
        winner, price, gain, state, lwc: What `settle` wrote.
        budget_left: (n_markets, n_advertisers) float64, at the start of the tick.
        totals: (n_markets, n_advertisers, N_TOTALS) float64, added to.
        lwc_sum: (n_markets,) float64, added to.
        broke: (n_markets,) int64, written: who cannot pay impression `first`; -1 if all are added.
    """
    for e in range(first_market, stop_market):
        broke[e] = -1
        mine = totals[e]
        while first[e] < n[e]:
            at = start[e] + first[e]
            for s in range(winner.shape[0]):
                j = winner[s, at]
                if j >= 0 and state[s, at] > 0 and is_short(mine[j, COST], price[s, at], budget_left[e, j]):
                    broke[e] = j
                    break
            if broke[e] >= 0:
                break
            for s in range(winner.shape[0]):
                j = winner[s, at]
                if j >= 0:
                    mine[j, WINS] += 1
                    if state[s, at] > 0:
                        add_exposure(mine, j, price[s, at], gain[s, at], state[s, at] == 2)
            lwc_sum[e] += lwc[at]
            first[e] += 1
