"""What happens to each impression of a tick, in arrival order: for logs of impressions, not for speed."""

from __future__ import annotations

import numpy as np
from numba import njit

from auction_env.kernels.outcomes import CONVERSIONS, COST, N_TOTALS
from auction_env.kernels.settle import clear_block, open_ladder, settle


@njit(cache=True)
def trace_block(
    seed, tick, first, n, basis, values, sigmas, multiplier, rules, advertisers, keys, left, bid, slot, price, seen,
    converted, lwc,
):  # fmt: skip
    """Settles one block impression by impression, and writes each down.

    Args:
        seed: uint64 of the market's episode.
        tick: Index of the tick.
        first, n: First impression of the block and their number.
        basis, values, sigmas: (n_advertisers, BLOCK) float32: a block of `settle.Tiles`.
        multiplier: (n_advertisers,) float32; set to 0 for advertisers that run out of money.
        rules: `settle.Rules`.
        advertisers: `settle.Advertisers` of this market: (n_advertisers,) float32 each.
        keys: (n_advertisers,) uint64: `outcomes.conversion_keys` of this market.
        left: (n_advertisers,) float64 money left, updated.
        bid, price: (n, n_advertisers) float32, written: bids submitted; price of the slot won, 0 elsewhere.
        slot: (n, n_advertisers) int64, written: 0 lost, 1..n_slots.
        seen, converted: (n, n_advertisers) bool, written.
        lwc: (n,) float32, written: least winning cost.
    """
    ladder = open_ladder(seed, tick, first, n, rules)
    slot[:] = 0
    price[:] = 0
    seen[:] = False
    converted[:] = False
    totals = np.zeros((multiplier.shape[0], N_TOTALS))  # of the block: added up as the market does, to the last bit
    i = np.int64(0)  # a literal 0 would compile the callees twice
    clear_block(basis, multiplier, rules, ladder, i, n)
    while i < n:
        before = totals[:, CONVERSIONS].copy()
        end, broke, cost_to_beat = settle(
            seed, tick, first, i, i + 1, values, sigmas, rules, ladder, advertisers.sigma, advertisers.lower,
            advertisers.upper, advertisers.mean, advertisers.sd, keys, True, left, totals,
        )  # fmt: skip
        if broke >= 0:  # out from this impression on: the rest is cleared anew
            multiplier[broke] = 0
            clear_block(basis, multiplier, rules, ladder, i, n)
            continue
        for j in range(multiplier.shape[0]):
            bid[i, j] = multiplier[j] * basis[j, i]
        for s in range(rules.exposure.shape[0]):
            winner = ladder.top_idx[s, i]
            if winner < 0:
                break
            slot[i, winner] = s + 1
            price[i, winner] = ladder.price[s, i]
            seen[i, winner] = s < ladder.n_exposed[i]
            converted[i, winner] = totals[winner, CONVERSIONS] > before[winner]
        lwc[i] = cost_to_beat
        i = end
    left -= totals[:, COST]
