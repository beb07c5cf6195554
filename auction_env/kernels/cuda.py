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
from numba import float32, int32, njit, prange

from auction_env.kernels import rng
from auction_env.kernels.clearing import FIRST_PRICE
from auction_env.kernels.funnel import MAX_SIGMA_RATIO
from auction_env.kernels.rng import (
    STREAM_CONVERSION,
    STREAM_EXPOSURE,
    STREAM_SIGMA,
    STREAM_TRUE_VALUE,
    STREAM_VALUE,
    bits,
    make_key,
    to_uniform,
)
from auction_env.kernels.tick import CONVERSIONS, COST, EXPOSURES, VALUE, WINS

cuda: Any = _cuda  # its types lack what exists on a device only
config: Any = _config  # filled in at run time

THREADS = 128  # of a block
SUMMED = 128  # impressions that one thread adds up
MAX_TOP = 9  # slots and the bid after them

# rows of the keys of an advertiser
VALUE_KEY, CONVERSION_KEY, SIGMA_KEY, TRUE_VALUE_KEY = range(4)
_STREAMS = (STREAM_VALUE, STREAM_CONVERSION, STREAM_SIGMA, STREAM_TRUE_VALUE)
_ZERO, _ONE, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)
_HIGHEST_RATIO = 1.0 + 2.0 * float(MAX_SIGMA_RATIO)  # of a true value to its prediction: bounds are at most 2 sigma


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


def _for_device(function):
    """A function of `kernels.rng` from the same source, with what its NumPy and `max` are on a device."""
    device_numpy: Any = ModuleType("device_numpy")
    device_numpy.float32, device_numpy.sqrt = np.float32, math.sqrt
    names = {**function.py_func.__globals__, "np": device_numpy, "max": larger}
    return cuda.jit(device=True)(FunctionType(function.py_func.__code__, names, function.py_func.__name__))


# the simulator runs kernels as plain Python, which calls the host's function
to_normal = rng.to_normal if config.ENABLE_CUDASIM else _for_device(rng.to_normal)


@cuda.jit(device=True)
def draw_normal(counter, key):
    """A standard normal draw: `counter` uint32, `key` (2,) uint32."""
    word = np.uint32(bits(counter, np.uint32(key[0]), np.uint32(key[1])))
    return np.float32(to_normal(np.float32(to_uniform(word))))


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
        value = mean[e, j] + sd[e, j] * draw_normal(np.uint32(x), keys[e, VALUE_KEY, j])
        values[j, start[e] + x] = smaller(larger(value, _ZERO), _ONE)


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
    lwc[at] = larger(top_bid[n_slots], reserve)
    counter, is_seen = np.uint32(x), True
    for s in range(n_slots):
        if is_seen and exposure[s] < _ONE:
            word = bits(counter, np.uint32(slot_keys[e, s, 0]), np.uint32(slot_keys[e, s, 1]))
            is_seen = np.float32(to_uniform(np.uint32(word))) < exposure[s]
        j = top_idx[s]
        winner[s, at], state[s, at] = j, 0
        if j < 0:
            continue
        value = values[j, at]
        gain[s, at] = value
        price[s, at] = top_bid[s] if mechanism == FIRST_PRICE else larger(top_bid[s + 1], reserve)
        if not is_seen:
            continue
        state[s, at] = 1
        keys = advertiser_keys[e]
        word = bits(counter, np.uint32(keys[CONVERSION_KEY, j, 0]), np.uint32(keys[CONVERSION_KEY, j, 1]))
        u = (np.float64(word) + 0.5) * 2.0**-32
        if u < value * _HIGHEST_RATIO:
            z = draw_normal(counter, keys[SIGMA_KEY, j])
            ratio = smaller(abs(sigma[e, j] * (_ONE + _HALF * z)), MAX_SIGMA_RATIO)
            word = bits(counter, np.uint32(keys[TRUE_VALUE_KEY, j, 0]), np.uint32(keys[TRUE_VALUE_KEY, j, 1]))
            v = np.float32(to_uniform(np.uint32(word)))
            z = np.float32(to_normal(np.float32(lower[e, j] + (upper[e, j] - lower[e, j]) * v)))
            if u < value * (_ONE + ratio * z):
                state[s, at] = 2


@njit(cache=True, parallel=True)
def commit(n, start, first, winner, price, gain, state, lwc, budget_left, totals, lwc_sum, broke):
    """Adds settled impressions up in arrival order, on the host, until somebody cannot pay one.

    Args:
        n, start: (n_markets,) int64.
        first: (n_markets,) int64, changed: the first impression not added.
        winner, price, gain, state, lwc: What `settle` wrote.
        budget_left: (n_markets, n_advertisers) float64, at the start of the tick.
        totals: (n_markets, n_advertisers, N_TOTALS) float64, added to.
        lwc_sum: (n_markets,) float64, added to.
        broke: (n_markets,) int64, written: who cannot pay impression `first`; -1 if all are added.
    """
    for e in prange(n.shape[0]):
        broke[e] = -1
        mine = totals[e]
        while first[e] < n[e]:
            at = start[e] + first[e]
            for s in range(winner.shape[0]):
                j = winner[s, at]
                if j >= 0 and state[s, at] > 0 and mine[j, COST] + price[s, at] > budget_left[e, j]:
                    broke[e] = j
                    break
            if broke[e] >= 0:
                break
            for s in range(winner.shape[0]):
                j = winner[s, at]
                if j >= 0:
                    mine[j, WINS] += 1
                    if state[s, at] > 0:
                        mine[j, EXPOSURES] += 1
                        mine[j, COST] += price[s, at]
                        mine[j, VALUE] += gain[s, at]
                        mine[j, CONVERSIONS] += state[s, at] == 2
            lwc_sum[e] += lwc[at]
            first[e] += 1
