"""What begins an episode: the states of its generators, and what its draws make of values and uncertainties."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from auction_env.kernels.running.compiling import inner

# constants of `numpy.random.SeedSequence`
_INIT_A, _MULT_A, _INIT_B, _MULT_B = (np.uint32(k) for k in (0x43B0D7E5, 0x931E8875, 0x8B51F9DD, 0x58F38DED))
_MIX_L, _MIX_R, _U16 = np.uint32(0xCA01F9DD), np.uint32(0x4973F715), np.uint32(16)
_POOL = 4  # words
_SQRT_2 = math.sqrt(2.0)


@inner
def hash_word(word, factor):
    """`SeedSequence`'s hash of a word: the hash, and the factor of the next one."""
    following = np.uint32(factor * _MULT_A)
    mixed = np.uint32(np.uint32(word ^ factor) * following)
    return np.uint32(mixed ^ (mixed >> _U16)), following


@inner
def mix_words(x, y):
    """`SeedSequence`'s mix of two words."""
    mixed = np.uint32(np.uint32(_MIX_L * x) - np.uint32(_MIX_R * y))
    return np.uint32(mixed ^ (mixed >> _U16))


@njit(cache=True)
def spawn_states(seed, out):
    """What the children of `numpy.random.SeedSequence(seed)` give as states: one takes 9 us to make in Python.

    Args:
        seed: (n,) int64, not negative.
        out: (n, n_children, n_words) uint64, written: `SeedSequence(seed, spawn_key=(child,)).generate_state(n_words)`.
    """
    pool, shared = np.empty(_POOL, np.uint32), np.zeros(_POOL, np.uint32)
    for e in range(seed.shape[0]):
        shared[0], shared[1] = np.uint32(seed[e] & 0xFFFFFFFF), np.uint32(seed[e] >> 32)
        factor = _INIT_A
        for k in range(_POOL):
            pool[k], factor = hash_word(shared[k], factor)
        for source in range(_POOL):
            for k in range(_POOL):
                if source != k:
                    hashed, factor = hash_word(pool[source], factor)
                    pool[k] = mix_words(pool[k], hashed)
        for child in range(out.shape[1]):
            own, words = factor, np.empty(_POOL, np.uint32)
            for k in range(_POOL):
                hashed, own = hash_word(np.uint32(child), own)
                words[k] = mix_words(pool[k], hashed)
            own = _INIT_B
            for i in range(out.shape[2]):
                low, high = np.uint32(words[2 * i % _POOL] ^ own), np.uint32(words[(2 * i + 1) % _POOL])
                own = np.uint32(own * _MULT_B)
                low = np.uint32(low * own)
                high = np.uint32(high ^ own)
                own = np.uint32(own * _MULT_B)
                high = np.uint32(high * own)
                low, high = np.uint32(low ^ (low >> _U16)), np.uint32(high ^ (high >> _U16))
                out[e, child, i] = np.uint64(low) | (np.uint64(high) << np.uint64(32))


@njit(cache=True)
def shape_volumes(share, total_share, shock, total, out):
    """Impressions by tick, so that rounding keeps those of an episode exact.

    Args:
        share: (n, n_ticks) float64, relative volume.
        total_share: (n,) float64: its sums.
        shock: (n, n_ticks) float64 factors on the ticks' volumes, which come on top of the total.
        total: (n,) float64 impressions of an episode without shocks.
        out: (n_ticks, n) int64, written.
    """
    for e in range(share.shape[0]):
        cumulative, before = 0.0, 0.0
        for t in range(share.shape[1]):
            cumulative += share[e, t] * shock[e, t]
            edge = np.rint(cumulative / total_share[e] * total[e])
            out[t, e] = np.int64(edge - before)
            before = edge


@inner
def cut_ratio(ratio):
    """A standard deviation over its mean, within the bounds of AuctionNet."""
    return min(max(ratio, 0.1), 1.0)


@njit(cache=True)
def shape_values(
    e, value_mean, by_category, category, by_advertiser, window, level, ratio, tick_sd, z, own, mean, sd
):  # fmt: skip
    """The distribution of the predicted values by tick, from the draws of one of n episodes.

    Args:
        e: Which episode.
        value_mean: Of all, conversions per impression.
        by_category, by_advertiser: (n_categories, n_windows), (n_advertisers, n_windows) float64 factors.
        category: (n_advertisers,) int64.
        window: Ticks of a window.
        level: (n, n_ticks) float64 factors of the day and of shocks.
        ratio: (n_advertisers,) float64, standard deviation over mean.
        tick_sd: Relative standard deviation of that ratio between ticks.
        z: (n_ticks, n_advertisers) float64 standard normals behind it.
        own: (2, n_advertisers) float64: factors on the mean and ratios of distributions of the advertisers' own, in
            place of `ratio` and `z`; or (2, 0).
        mean, sd: (n_ticks, n, n_advertisers) float32, written for the episode.
    """
    for t in range(level.shape[1]):
        which = t // window
        for j in range(category.shape[0]):
            of_tick = value_mean * (by_category[category[j], which] * by_advertiser[j, which]) * level[e, t]
            if own.shape[1] > 0:
                of_tick *= own[0, j]
                of_mean = own[1, j]
            else:
                usual = cut_ratio(ratio[j])
                of_mean = cut_ratio(usual + tick_sd * usual * z[t, j])
            mean[t, e, j] = np.float32(of_tick)
            sd[t, e, j] = np.float32(of_mean * of_tick)


@njit(cache=True)
def shape_uncertainties(most, sigma, bounds, out):
    """What outcomes depend on besides the values: `settle.Advertisers`.

    Args:
        most: The largest relative standard deviation of a prediction.
        sigma: (n, n_advertisers) float64 draws of it.
        bounds: (n, 2, n_advertisers) float64 uniforms: where the lower and the upper bound of the true values lie, in
            units of 2 standard deviations from the prediction.
        out: (3, n, n_advertisers) float32, written: sigma, and the normal probabilities of the bounds.
    """
    for e in range(sigma.shape[0]):
        for j in range(sigma.shape[1]):
            out[0, e, j] = np.float32(min(abs(sigma[e, j]), most))
            out[1, e, j] = np.float32(0.5 * math.erfc(2.0 * bounds[e, 0, j] / _SQRT_2))
            out[2, e, j] = np.float32(0.5 * math.erfc(-2.0 * bounds[e, 1, j] / _SQRT_2))
