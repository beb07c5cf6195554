"""Counter-based random numbers: a draw is a pure function of its key and counter.

A key is two 32-bit words, made from (seed, tick, advertiser, stream) by `make_key`; the counter is the index
of the impression. So a draw never depends on which thread, batch or chunk asks for it, or in which order.
The mixer is the "triple32" bijection of the hash-prospector project (three multiply-xorshift rounds, bias
0.02 %), with the second word of the key added between rounds so that two keys never share a shifted sequence.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from auction_env.kernels.running.compiling import inner

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
# float32 constants of `log32` and `to_normal`: by name, because a call of `np.float32` in a formula takes as long to
# compile as three operations
_ZERO, _ONE, _TWO, _FOUR, _LOG_2, _SQRT_2 = (np.float32(x) for x in (0.0, 1.0, 2.0, 4.0, 0.69314718, 1.41421356))
_SQRT_HALF, _MANTISSA_BITS = np.int32(0x3F3504F3), np.int32(23)  # the bits of sqrt(1/2) as a float32
_LOG = tuple(np.float32(x) for x in (0.28571430, 0.4, 0.66666667, 2.0))
_CENTRE_AT, _TAIL_AT, _TAIL_FROM = np.float32(2.5), np.float32(3.0), np.float32(5.0)
_CENTRE = tuple(
    np.float32(x)
    for x in (
        2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164,
        0.246640727, 1.50140941,
    )
)  # fmt: skip
_TAIL = tuple(
    np.float32(x)
    for x in (
        -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
        1.00167406, 2.83297682,
    )
)  # fmt: skip
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
    word = np.float32(x).view(np.int32)
    exponent = np.int32(np.int32(word - _SQRT_HALF) >> _MANTISSA_BITS)
    mantissa = np.int32(word - np.int32(exponent << _MANTISSA_BITS)).view(np.float32)
    s = (mantissa - _ONE) / (mantissa + _ONE)
    t = s * s
    series = ((_LOG[0] * t + _LOG[1]) * t + _LOG[2]) * t + _LOG[3]
    return np.float32(exponent) * _LOG_2 + s * series


@njit(cache=True, inline="always")
def to_normal(u):
    """Standard normal quantile of u in (0, 1), float32, without branches so that loops vectorise.

    M. Giles, "Approximating the erfinv function" (GPU Computing Gems, 2011), single precision: a polynomial
    in w = -log(4 u (1 - u)) for the centre, one in sqrt(w) for the tails. Absolute error below 2e-6.
    """
    x = _TWO * u - _ONE
    w = -log32(_FOUR * u * (_ONE - u))
    c, d = w - _CENTRE_AT, np.sqrt(max(w, _ZERO)) - _TAIL_AT
    p = ((((_CENTRE[0] * c + _CENTRE[1]) * c + _CENTRE[2]) * c + _CENTRE[3]) * c + _CENTRE[4]) * c + _CENTRE[5]
    p = ((p * c + _CENTRE[6]) * c + _CENTRE[7]) * c + _CENTRE[8]
    q = ((((_TAIL[0] * d + _TAIL[1]) * d + _TAIL[2]) * d + _TAIL[3]) * d + _TAIL[4]) * d + _TAIL[5]
    q = ((q * d + _TAIL[6]) * d + _TAIL[7]) * d + _TAIL[8]
    factor = p if w < _TAIL_FROM else q
    return _SQRT_2 * x * factor


@inner
def quantile(u):
    """`to_normal` where no loop has to be vectorised: compiled once, not again in each place."""
    return to_normal(u)


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


@inner
def draw_one_normal(counter, low, high):
    """`draw_normal` where no loop has to be vectorised, as `quantile` is of `to_normal`."""
    return quantile(to_uniform(bits(counter, low, high)))
