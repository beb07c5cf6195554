"""Clearing of a block of auctions: who wins which slot, and what each slot costs.

A block holds up to BLOCK impressions; its bids lie advertiser by advertiser, so that every inner loop runs
over impressions and vectorises. Both the public `clear_auctions` and the market run these functions.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

BLOCK = 128  # impressions; a block of 48 advertisers (24 KB) and its ranking stay in the first-level cache

GSP = 0
FIRST_PRICE = 1
VCG = 2
MECHANISMS = {"gsp": GSP, "first_price": FIRST_PRICE, "vcg": VCG}


def price_weights(mechanism: str, exposure: ArrayLike) -> NDArray[np.float64]:
    """Weights of the bids below a slot in its price: (n_slots, n_slots), upper triangular, rows sum to 1.

    The price of slot k is sum over s >= k of weight[k, s] x (the bid of rank s + 1, at least the reserve), ranks
    from 0. Under VCG weight[k, s] = (c_s - c_{s+1}) / c_k, where c_s is the probability that slot s is seen: the
    harm that the winner of slot k does to those below, per exposure. GSP looks one rank down only; so does VCG for
    a slot that is never seen, whose price nobody pays.

    Args:
        mechanism: A key of MECHANISMS (`first_price` does not use the weights).
        exposure: (n_slots,) probability that a slot is seen, given that the one above is.
    """
    chance = np.append(np.cumprod(np.asarray(exposure, np.float64)), 0.0)
    weights = np.eye(len(chance) - 1)
    if mechanism == "vcg":
        for k in range(len(weights)):
            if chance[k] > 0:
                weights[k, k:] = (chance[k:-1] - chance[k + 1 :]) / chance[k]
    return weights


@njit(cache=True, inline="always")
def whole_vectors(n):
    """n rounded up to whole vectors of 8: a loop over impressions so long has no slow scalar rest."""
    return min((n + 7) // 8 * 8, BLOCK)


@njit(cache=True, fastmath={"contract", "nsz"}, error_model="numpy")
def rank_bids(basis, multiplier, quality, reserve, start, stop, new_bid, top_bid, top_idx):
    """Ranks the eligible bids of impressions [start, stop) of a block by bid x quality, and somewhat beyond.

    A bid is multiplier x basis; it is eligible if positive and at least the reserve. Equal scores rank by
    advertiser index. The advertisers are inserted in the order of their indices, so that a new score comes behind
    equal ones: it goes to the first rank whose score it exceeds, and all from there on move down by one. A rank
    keeps its score, takes the new one or that of the rank above, which the new one alone decides. So the ranks are
    changed from the last one up, in loops without branches, which vectorise.

    Args:
        basis: (n_advertisers, BLOCK) float: predicted values, or bids with multipliers of 1.
        multiplier: (n_advertisers,) float; an advertiser with 0 does not take part.
        quality: (n_advertisers,) float > 0; with qualities of 1 a score is the bid.
        reserve: (BLOCK,) float, reserve price per impression.
        start, stop: Range of impressions.
        new_bid: (BLOCK,) scratch, of the type of `top_bid`.
        top_bid: (n_slots + 1, BLOCK) float, written: scores in descending order, 0 where there is none.
        top_idx: (n_slots + 1, BLOCK) int32, written: their advertisers, -1 where there is none.
    """
    stop = min(start + whole_vectors(stop - start), BLOCK)
    n_top, n = top_bid.shape[0], stop - start
    # indices from 0 on are known not to be negative, which the vectoriser needs
    floor, score = reserve[start:stop], new_bid[start:stop]
    for rank in range(n_top):
        top_bid[rank, start:stop] = 0
        top_idx[rank, start:stop] = -1
    for j in range(basis.shape[0]):
        m, q = multiplier[j], quality[j]
        if m <= 0:
            continue
        column, own = basis[j, start:stop], np.int32(j)
        for i in range(n):
            bid = m * column[i]
            score[i] = bid * q if bid >= floor[i] else 0
        for rank in range(n_top - 1, 0, -1):
            held_bid, held_idx = top_bid[rank, start:stop], top_idx[rank, start:stop]
            above_bid, above_idx = top_bid[rank - 1, start:stop], top_idx[rank - 1, start:stop]
            for i in range(n):
                new, held, above = score[i], held_bid[i], above_bid[i]
                idx, idx_above = held_idx[i], above_idx[i]
                taken = new if new > held else held
                idx = own if new > held else idx
                held_bid[i] = above if new > above else taken
                held_idx[i] = idx_above if new > above else idx
        held_bid, held_idx = top_bid[0, start:stop], top_idx[0, start:stop]
        for i in range(n):
            new, held, idx = score[i], held_bid[i], held_idx[i]
            held_bid[i] = new if new > held else held
            held_idx[i] = own if new > held else idx


@njit(cache=True, inline="always")
def next_price(below, reserve):
    """The price that the bid below sets, and the least winning cost that the best losing bid sets."""
    return max(below, reserve)


@njit(cache=True)
def slot_price(mechanism, weight, top_bid, slot, i, reserve, bid, quality):
    """Price of a won slot (0-based) of impression i.

    Args:
        mechanism: A value of MECHANISMS.
        weight: (n_slots, n_slots): see `price_weights`.
        top_bid: The ladder of scores that `rank_bids` wrote.
        reserve: Reserve price of the impression.
        bid, quality: Of the winner. A score further down is worth score / quality in the winner's bids.
    """
    if mechanism == FIRST_PRICE:
        return bid
    price = next_price(top_bid[slot + 1, i] / quality, reserve)
    if mechanism == VCG:
        price *= weight[slot, slot]
        for s in range(slot + 1, weight.shape[0]):
            price += weight[slot, s] * next_price(top_bid[s + 1, i] / quality, reserve)
    return min(max(price, reserve), bid)  # against rounding


@njit(cache=True, inline="always")
def least_winning_cost(top_bid, i, reserve):
    """The score that one must beat for the last slot: the best losing one, at least the reserve."""
    return next_price(top_bid[top_bid.shape[0] - 1, i], reserve)


@njit(cache=True)
def clear_bids(bids, quality, reserve, n_slots, mechanism, weight, slot, price, lwc):
    """Clears all rows of a bid matrix, block by block.

    Args:
        bids: (n_impressions, n_advertisers) float64.
        quality: (n_impressions, n_advertisers) float64 > 0.
        reserve: (n_impressions,) float64.
        n_slots: Number of slots.
        mechanism: One of the values of MECHANISMS.
        weight: (n_slots, n_slots) float64: see `price_weights`.
        slot: (n_impressions, n_advertisers) int64, written: 0 lost, 1..n_slots.
        price: (n_impressions, n_advertisers) float64, written: price of the won slot, 0 elsewhere.
        lwc: (n_impressions,) float64, written.
    """
    n_impressions, n_advertisers = bids.shape
    ones = np.ones(n_advertisers)
    no_floor = np.zeros(BLOCK)
    score = np.empty((n_advertisers, BLOCK))
    top_bid = np.empty((n_slots + 1, BLOCK))
    top_idx = np.empty((n_slots + 1, BLOCK), np.int32)
    new_bid = np.empty(BLOCK)
    slot[:] = 0
    price[:] = 0
    for first in range(0, n_impressions, BLOCK):
        n = min(BLOCK, n_impressions - first)
        floor = reserve[first : first + n]
        score[:, n:] = 0
        for i in range(n):
            for j in range(n_advertisers):
                bid = bids[first + i, j]
                score[j, i] = bid * quality[first + i, j] if bid >= floor[i] else 0.0
        rank_bids(score, ones, ones, no_floor, 0, n, new_bid, top_bid, top_idx)
        for i in range(n):
            lwc[first + i] = least_winning_cost(top_bid, i, floor[i])
            for s in range(n_slots):
                j = top_idx[s, i]
                if j < 0:
                    break
                slot[first + i, j] = s + 1
                price[first + i, j] = slot_price(
                    mechanism, weight, top_bid, s, i, floor[i], bids[first + i, j], quality[first + i, j]
                )
