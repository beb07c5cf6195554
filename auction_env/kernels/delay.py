"""Delayed conversions: a conversion is reported some ticks after the impression that earned it."""

from __future__ import annotations

import numpy as np
from numba import njit

from auction_env.kernels.rng import STREAM_DELAY, bits, high_word, low_word, make_key


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
                # 32 bits, inverted: P(delay >= d) = stay ** d
                u = (np.float64(bits(np.uint32(k), low_word(key), high_word(key))) + 0.5) * 2.0**-32
                delay = min(np.floor(np.log(u) / np.log(stay)), float(n_ticks))
                pending[e, min(tick + int(delay), n_ticks - 1), j] += 1
            conversions[e, j] = pending[e, tick, j]
