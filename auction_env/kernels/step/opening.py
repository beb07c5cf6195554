"""What is known at the start of a tick: the values of its impressions and their means, on one thread.

One function for each distribution of values, so that a market compiles its own only. `values` has the same draws for
all threads, which pay for ticks of many blocks.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from auction_env.kernels.clearing import BLOCK
from auction_env.kernels.running.compiling import inner
from auction_env.kernels.values import draw_block, draw_correlated_block, draw_funnel_block, draw_shaped_block


@inner
def add_means(start, stop, n, sums, out):
    """Mean predicted amounts of a market's impressions, 0 if there are none.

    Args:
        start, stop: Its blocks.
        n: Its impressions.
        sums: (n_blocks, n_amounts, n_advertisers) float64: of each amount over each block.
        out: (n_advertisers, >= n_amounts) float64, written: the first n_amounts columns.
    """
    for k in range(sums.shape[1]):
        for j in range(sums.shape[2]):
            out[j, k] = 0.0
        for block in range(start, stop):
            for j in range(sums.shape[2]):
                out[j, k] += sums[block, k, j]
        for j in range(sums.shape[2]):
            out[j, k] /= max(n, 1)


@njit(cache=True)
def write_means(start, n, sums, out):
    """`add_means` of every market: `start` (n_markets + 1,), `n` (n_markets,), `out` (n_markets, n_advertisers, ..)."""
    for e in range(n.shape[0]):
        add_means(start[e], start[e + 1], n[e], sums, out[e])


@njit(cache=True)
def open_plain(seed, tick, volume, mean, sd, values, sums, out):
    """Opens a tick of markets whose values are independent normals.

    Args:
        seed: (n_markets,) uint64.
        tick: Index of the tick.
        volume: (n_ticks, n_markets) int64 impressions.
        mean, sd: (n_ticks, n_markets, n_advertisers) float32: of the value distribution.
        values: (>= n_blocks, n_advertisers, BLOCK) float32, written: the blocks of the markets behind each other.
        sums: (>= n_blocks, 1, n_advertisers) float64, written: of the values.
        out: (n_markets, n_advertisers, >= 1) float64, the first column is written: mean values.
    """
    block = np.int64(0)  # a literal 0 would compile `add_means` again for each place
    for e in range(seed.shape[0]):
        n, start = volume[tick, e], block
        for first in range(0, n, BLOCK):
            size = min(BLOCK, n - first)
            draw_block(seed[e], tick, first, size, mean[tick, e], sd[tick, e], values[block], sums[block, 0])
            block += 1
        add_means(start, block, n, sums, out[e])


@njit(cache=True)
def open_correlated(seed, tick, volume, mean, sd, correlation, values, sums, out):
    """`open_plain` with values that all advertisers share in part: `values.draw_correlated_block`."""
    block = np.int64(0)
    for e in range(seed.shape[0]):
        n, start = volume[tick, e], block
        for first in range(0, n, BLOCK):
            size = min(BLOCK, n - first)
            draw_correlated_block(
                seed[e], tick, first, size, mean[tick, e], sd[tick, e], correlation, values[block], sums[block, 0]
            )
            block += 1
        add_means(start, block, n, sums, out[e])


@njit(cache=True)
def open_shaped(seed, tick, volume, mean, correlation, shape, values, sums, out):
    """`open_plain` under distributions of the advertisers' own: `values.draw_shaped_block`."""
    block = np.int64(0)
    for e in range(seed.shape[0]):
        n, start = volume[tick, e], block
        for first in range(0, n, BLOCK):
            size = min(BLOCK, n - first)
            draw_shaped_block(
                seed[e], tick, first, size, mean[tick, e], correlation, shape, values[block], sums[block, 0]
            )
            block += 1
        add_means(start, block, n, sums, out[e])


@njit(cache=True)
def open_funnel(seed, tick, volume, mean, sd, funnel, basis, known, values, value_sum, sums, out):
    """`open_plain` with all four amounts: `values.draw_funnel_block`.

    Args: as there, and `basis`, `known` (n_markets, n_advertisers), `value_sum` (>= n_blocks, n_advertisers), written:
    sums of what is bid on; `sums` (>= n_blocks, 4, n_advertisers), and four columns of `out`.
    """
    block = np.int64(0)
    for e in range(seed.shape[0]):
        n, start = volume[tick, e], block
        for first in range(0, n, BLOCK):
            draw_funnel_block(
                seed[e], tick, first, min(BLOCK, n - first), mean[tick, e], sd[tick, e], funnel, basis[e],
                known[e], values[block], value_sum[block], sums[block],
            )  # fmt: skip
            block += 1
        add_means(start, block, n, sums, out[e])
