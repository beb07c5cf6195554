"""Counter-based random numbers: a draw is a pure function of its key and counter.

A key is two 32-bit words, made from (seed, tick, advertiser, stream) by `make_key`; the counter is the index
of the impression. So a draw never depends on which thread, batch or chunk asks for it, or in which order.
The mixer is the "triple32" bijection of the hash-prospector project (three multiply-xorshift rounds, bias
0.02 %), with the second word of the key added between rounds so that two keys never share a shifted sequence.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# streams: one for each quantity drawn; typed, because numba would compile `make_key` again for every literal
STREAM_VALUE = np.uint64(1)
STREAM_EXPOSURE = np.uint64(2)
STREAM_CONVERSION = np.uint64(3)
STREAM_TRUE_VALUE = np.uint64(4)
STREAM_SIGMA = np.uint64(5)
STREAM_RESERVE = np.uint64(16)
STREAM_DELAY = np.uint64(18)
STREAM_DROP = np.uint64(19)
STREAM_SHARED_VALUE = np.uint64(20)  # the part of an impression's values that all advertisers share
STREAM_CLICK = np.uint64(21)
STREAM_CART = np.uint64(22)
STREAM_ORDER = np.uint64(23)

_U16, _U17, _U15, _U14, _U11, _U8 = (np.uint32(k) for k in (16, 17, 15, 14, 11, 8))
_M1, _M2, _M3 = np.uint32(0xED5AD4BB), np.uint32(0xAC4C1B51), np.uint32(0x31848BAB)
_S64_A, _S64_B, _S64_C = (np.uint64(k) for k in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_2_POW_MINUS_24 = np.float32(2.0**-24)
_2_POW_MINUS_25 = np.float32(2.0**-25)


@njit(cache=True)
def mix64(x):
    """SplitMix64's finaliser: uint64 -> uint64, a bijection."""
    x = np.uint64(x + _S64_A)
    x = np.uint64((x ^ (x >> np.uint64(30))) * _S64_B)
    x = np.uint64((x ^ (x >> np.uint64(27))) * _S64_C)
    return np.uint64(x ^ (x >> np.uint64(31)))


@njit(cache=True, inline="always")
def tick_key(seed, tick):
    """The part of `make_key` that all sequences of a tick share."""
    return mix64(mix64(np.uint64(seed)) ^ np.uint64(tick))


@njit(cache=True, inline="always")
def lane_key(key, lane, stream):
    """The rest of `make_key`, from the key of the tick."""
    return mix64(mix64(key ^ np.uint64(lane)) ^ np.uint64(stream))


@njit(cache=True)
def make_key(seed, tick, lane, stream):
    """The key of one sequence of draws: uint64, its halves are the two words that `bits` takes.

    Args:
        seed: uint64, the seed of the episode.
        tick: Index of the tick.
        lane: Advertiser index, or slot for exposures.
        stream: One of the STREAM_* constants.
    """
    return lane_key(tick_key(seed, tick), lane, stream)


@njit(cache=True, inline="always")
def low_word(key):
    """Lower 32 bits of a key."""
    return np.uint32(key & np.uint64(0xFFFFFFFF))


@njit(cache=True, inline="always")
def high_word(key):
    """Upper 32 bits of a key."""
    return np.uint32(key >> np.uint64(32))


@njit(cache=True, inline="always")
def bits(counter, low, high):
    """32 random bits for a counter (uint32) under a key (its two uint32 words)."""
    x = np.uint32(counter + low)
    x = np.uint32((x ^ (x >> _U17)) * _M1)
    x = np.uint32(x ^ (x >> _U11))
    x = np.uint32(np.uint32(x + high) * _M2)
    x = np.uint32((x ^ (x >> _U15)) * _M3)
    return np.uint32(x ^ (x >> _U14))


@njit(cache=True, inline="always")
def to_uniform(word):
    """32 bits -> float32 in (0, 1), symmetric about 1/2: 24 bits of resolution."""
    return np.float32(np.float32(np.int32(word >> _U8)) * _2_POW_MINUS_24 + _2_POW_MINUS_25)


@njit(cache=True, inline="always")
def to_fine_uniform(word):
    """32 bits -> float64 in (0, 1): all 32 bits count. For probabilities near 1e-4, which 24 bits resolve coarsely."""
    return (np.float64(word) + 0.5) * 2.0**-32


@njit(cache=True, inline="always")
def log32(x):
    """Natural logarithm of a positive normal float32, relative error about 1e-7, no branch and no call.

    Exponent and mantissa are split so that the mantissa lies in [sqrt(1/2), sqrt(2)); log of the mantissa is
    the odd series in s = (m - 1) / (m + 1).
    """
    word = x.view(np.int32)
    shifted = np.int32(word - np.int32(0x3F3504F3))
    exponent = np.int32(shifted >> np.int32(23))
    mantissa = np.int32(np.int32(word) - np.int32(exponent << np.int32(23))).view(np.float32)
    s = np.float32((mantissa - np.float32(1.0)) / (mantissa + np.float32(1.0)))
    t = np.float32(s * s)
    series = np.float32(0.28571430)
    series = np.float32(series * t + np.float32(0.4))
    series = np.float32(series * t + np.float32(0.66666667))
    series = np.float32(series * t + np.float32(2.0))
    return np.float32(np.float32(exponent) * np.float32(0.69314718) + s * series)


@njit(cache=True, inline="always")
def to_normal(u):
    """Standard normal quantile of u in (0, 1), float32, without branches so that loops vectorise.

    M. Giles, "Approximating the erfinv function" (GPU Computing Gems, 2011), single precision: a polynomial
    in w = -log(4 u (1 - u)) for the centre, one in sqrt(w) for the tails. Absolute error below 2e-6.
    """
    x = np.float32(np.float32(2.0) * u - np.float32(1.0))
    w = np.float32(-log32(np.float32(np.float32(4.0) * u * np.float32(np.float32(1.0) - u))))
    c = np.float32(w - np.float32(2.5))
    p = np.float32(2.81022636e-08)
    p = np.float32(p * c + np.float32(3.43273939e-07))
    p = np.float32(p * c + np.float32(-3.5233877e-06))
    p = np.float32(p * c + np.float32(-4.39150654e-06))
    p = np.float32(p * c + np.float32(0.00021858087))
    p = np.float32(p * c + np.float32(-0.00125372503))
    p = np.float32(p * c + np.float32(-0.00417768164))
    p = np.float32(p * c + np.float32(0.246640727))
    p = np.float32(p * c + np.float32(1.50140941))
    d = np.float32(np.sqrt(max(w, np.float32(0.0))) - np.float32(3.0))
    q = np.float32(-0.000200214257)
    q = np.float32(q * d + np.float32(0.000100950558))
    q = np.float32(q * d + np.float32(0.00134934322))
    q = np.float32(q * d + np.float32(-0.00367342844))
    q = np.float32(q * d + np.float32(0.00573950773))
    q = np.float32(q * d + np.float32(-0.0076224613))
    q = np.float32(q * d + np.float32(0.00943887047))
    q = np.float32(q * d + np.float32(1.00167406))
    q = np.float32(q * d + np.float32(2.83297682))
    factor = p if w < np.float32(5.0) else q
    return np.float32(np.float32(1.41421356) * x * factor)


@njit(cache=True, inline="always")
def draw_uniform(counter, low, high):
    """Uniform draw of a counter (uint32) under a key (its two uint32 words): float32 in (0, 1)."""
    return to_uniform(bits(counter, low, high))


@njit(cache=True, inline="always")
def draw_fine_uniform(counter, low, high):
    """`draw_uniform` with 32 bits of resolution: float64 in (0, 1)."""
    return to_fine_uniform(bits(counter, low, high))


@njit(cache=True, inline="always")
def draw_normal(counter, low, high):
    """Standard normal draw of a counter (uint32) under a key (its two uint32 words): float32."""
    return to_normal(to_uniform(bits(counter, low, high)))
