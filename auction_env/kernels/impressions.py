"""What happens to each impression of a tick, in arrival order: for logs of impressions, not for speed."""

from __future__ import annotations

import numpy as np
from numba import njit

from auction_env.kernels.clearing import BLOCK, least_winning_cost, rank_bids
from auction_env.kernels.funnel import impression_amounts
from auction_env.kernels.rng import STREAM_CONVERSION, make_key
from auction_env.kernels.tick import (
    count_exposed,
    draw_conversion,
    draw_outcome,
    draw_reserves,
    new_ladder,
    price_slots,
)


@njit(cache=True)
def trace_block(
    seed, tick, first, n, values, multiplier, rules, advertisers, left, bid, slot, price, seen, converted, lwc
):  # fmt: skip
    """Clears and settles one block as `tick.settle_item` does, and writes down every impression.

    Args:
        seed: uint64 of the market's episode.
        tick: Index of the tick.
        first, n: First impression of the block and their number.
        values: (n_advertisers, BLOCK) float32 predicted conversions, on which everybody bids.
        multiplier: (n_advertisers,) float32; set to 0 for advertisers that run out of money.
        rules: `tick.Rules`.
        advertisers: `tick.Advertisers` of this market: (n_advertisers,) float32 each.
        left: (n_advertisers,) float64 money left, updated.
        bid, price: (n, n_advertisers) float32, written: bids submitted; price of the slot won, 0 elsewhere.
        slot: (n, n_advertisers) int64, written: 0 lost, 1..n_slots.
        seen, converted: (n, n_advertisers) bool, written.
        lwc: (n,) float32, written: least winning cost.
    """
    n_slots = rules.exposure.shape[0]
    ladder = new_ladder(n_slots)
    carry_bid, carry_idx = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int32)
    draw_reserves(seed, tick, first, n, rules.reserve, rules.reserve_noise, ladder.reserve)
    count_exposed(seed, tick, first, n, rules.exposure, ladder.n_exposed)
    slot[:] = 0
    price[:] = 0
    seen[:] = False
    converted[:] = False
    spent = np.zeros(multiplier.shape[0])  # in the block: added up as the market does, to the last bit
    i, is_stale = np.int64(0), True
    while i < n:
        if is_stale:  # somebody dropped out: the rest is ranked anew
            rank_bids(
                values, multiplier, rules.quality, ladder.reserve, i, n, carry_bid, carry_idx, ladder.top_bid,
                ladder.top_idx,
            )  # fmt: skip
            price_slots(values, multiplier, rules, ladder, i, n)
            is_stale = False
        for s in range(ladder.n_exposed[i]):
            winner = ladder.top_idx[s, i]
            if winner < 0:
                break
            if spent[winner] + ladder.price[s, i] > left[winner]:
                multiplier[winner] = 0
                is_stale = True
                break
        if is_stale:
            continue
        for j in range(multiplier.shape[0]):
            bid[i, j] = multiplier[j] * values[j, i]
        for s in range(n_slots):
            winner = ladder.top_idx[s, i]
            if winner < 0:
                break
            slot[i, winner] = s + 1
            price[i, winner] = ladder.price[s, i]
            if s >= ladder.n_exposed[i]:
                continue
            seen[i, winner] = True
            spent[winner] += ladder.price[s, i]
            value = values[winner, i]
            if rules.has_funnel:
                value = impression_amounts(
                    seed, tick, first + i, winner, advertisers.mean[winner], advertisers.sd[winner], rules
                )[0]
            u = draw_outcome(first + i, make_key(seed, tick, winner, STREAM_CONVERSION))
            converted[i, winner] = draw_conversion(
                seed, tick, first + i, winner, value, advertisers.sigma[winner], advertisers.lower[winner],
                advertisers.upper[winner], u,
            ) == 1  # fmt: skip
        lwc[i] = least_winning_cost(ladder.top_bid, i, ladder.reserve[i])
        i += 1
    left -= spent
