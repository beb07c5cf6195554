"""Clearing of a block of auctions: who wins which slot, and what each slot costs.

A block holds up to BLOCK impressions; its bids lie advertiser by advertiser, so that every inner loop runs
over impressions and vectorises. Both the public `clear_auctions` and the market run these functions.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from auction_env.kernels.running.compiling import inlined, inner

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


@njit(cache=True, inline="always")
def score_bid(multiplier, basis, quality, reserve):
    """bid x quality of an eligible bid; 0 of one that is below the reserve price."""
    bid = multiplier * basis
    return bid * quality if bid >= reserve else np.float32(0.0)


@njit(cache=True, inline="always")
def insert_score(new, own, held, held_idx, above, above_idx):
    """What a rank holds after an insertion, (score, advertiser): what it held, the new one, or that of the rank above.

    Args:
        new, own: The score and its advertiser, whose index is higher than all in the ladder: equal ones stay in front.
        held, held_idx: What the rank holds.
        above, above_idx: What the rank above held before; for the first rank, the new score and its advertiser.
    """
    taken = new if new > held else held
    taken_idx = own if new > held else held_idx
    return (above if new > above else taken), (above_idx if new > above else taken_idx)


@njit(cache=True, inline="always")
def insert_in_four(new, own, bids, idxs):
    """`insert_score` in all of four ranks, given and returned as (scores, advertisers), four each."""
    bid_3, idx_3 = insert_score(new, own, bids[3], idxs[3], bids[2], idxs[2])
    bid_2, idx_2 = insert_score(new, own, bids[2], idxs[2], bids[1], idxs[1])
    bid_1, idx_1 = insert_score(new, own, bids[1], idxs[1], bids[0], idxs[0])
    bid_0, idx_0 = insert_score(new, own, bids[0], idxs[0], new, own)
    return (bid_0, bid_1, bid_2, bid_3), (idx_0, idx_1, idx_2, idx_3)


@inner(fastmath={"contract", "nsz"}, error_model="numpy")
def rank_in_four(basis, multiplier, quality, reserve, start, stop, top_bid, top_idx):
    """`rank_bids` for ladders of four ranks, which three slots need, the default: one pass for all ranks.

    Reading and writing the ladder takes most of a pass, so that two advertisers share one; an odd one out is inserted
    a second time with a score of 0, which changes nothing.
    """
    n, floor = stop - start, reserve[start:stop]
    bid_0, bid_1, bid_2, bid_3 = (
        top_bid[0, start:stop], top_bid[1, start:stop], top_bid[2, start:stop], top_bid[3, start:stop]
    )  # fmt: skip
    idx_0, idx_1, idx_2, idx_3 = (
        top_idx[0, start:stop], top_idx[1, start:stop], top_idx[2, start:stop], top_idx[3, start:stop]
    )  # fmt: skip
    j = 0
    while j < basis.shape[0]:
        if multiplier[j] <= 0:
            j += 1
            continue
        k = j + 1
        while k < basis.shape[0] and multiplier[k] <= 0:
            k += 1
        has_next = k < basis.shape[0]
        other = k if has_next else j
        m, q, own, column = multiplier[j], quality[j], np.int32(j), basis[j, start:stop]
        m_2 = multiplier[other] if has_next else m - m  # a 0 of its type
        q_2, own_2, column_2 = quality[other], np.int32(other), basis[other, start:stop]
        for i in range(n):
            # all is read before anything is written: the rows may be one array's, as far as the compiler knows
            bids, idxs = (bid_0[i], bid_1[i], bid_2[i], bid_3[i]), (idx_0[i], idx_1[i], idx_2[i], idx_3[i])
            new, new_2 = score_bid(m, column[i], q, floor[i]), score_bid(m_2, column_2[i], q_2, floor[i])
            bids, idxs = insert_in_four(new, own, bids, idxs)
            bids, idxs = insert_in_four(new_2, own_2, bids, idxs)
            bid_0[i], bid_1[i], bid_2[i], bid_3[i] = bids
            idx_0[i], idx_1[i], idx_2[i], idx_3[i] = idxs
        j = k + 1


@inner(fastmath={"contract", "nsz"}, error_model="numpy")
def rank_in_any(basis, multiplier, quality, reserve, start, stop, new_bid, top_bid, top_idx):
    """`rank_bids` for ladders of any number of ranks: a pass for each."""
    n, floor, score = stop - start, reserve[start:stop], new_bid[start:stop]
    for j in range(basis.shape[0]):
        m, q, own, column = multiplier[j], quality[j], np.int32(j), basis[j, start:stop]
        if m <= 0:
            continue
        for i in range(n):
            score[i] = score_bid(m, column[i], q, floor[i])
        for rank in range(top_bid.shape[0] - 1, 0, -1):
            held_bid, held_idx = top_bid[rank, start:stop], top_idx[rank, start:stop]
            above_bid, above_idx = top_bid[rank - 1, start:stop], top_idx[rank - 1, start:stop]
            for i in range(n):
                held, who, above, who_above = held_bid[i], held_idx[i], above_bid[i], above_idx[i]
                held_bid[i], held_idx[i] = insert_score(score[i], own, held, who, above, who_above)
        held_bid, held_idx = top_bid[0, start:stop], top_idx[0, start:stop]
        for i in range(n):
            new, held, who = score[i], held_bid[i], held_idx[i]
            held_bid[i], held_idx[i] = insert_score(new, own, held, who, new, own)


@inlined
def rank_bids(basis, multiplier, quality, reserve, start, stop, new_bid, top_bid, top_idx):
    """Ranks the eligible bids of impressions [start, stop) of a block by bid x quality, and somewhat beyond.

    A bid is multiplier x basis; it is eligible if positive and at least the reserve. Equal scores rank by
    advertiser index. The advertisers are inserted in the order of their indices, so that a new score comes behind
    equal ones: it goes to the first rank whose score it exceeds, and all from there on move down by one. A rank
    keeps its score, takes the new one or that of the rank above, which the new one alone decides: the loops have no
    branches and vectorise.

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
    for rank in range(top_bid.shape[0]):
        top_bid[rank, start:stop] = 0
        top_idx[rank, start:stop] = -1
    if top_bid.shape[0] == 4:
        rank_in_four(basis, multiplier, quality, reserve, start, stop, top_bid, top_idx)
    else:
        rank_in_any(basis, multiplier, quality, reserve, start, stop, new_bid, top_bid, top_idx)


@njit(cache=True, inline="always")
def next_price(below, reserve):
    """The price that the bid below sets, and the least winning cost that the best losing bid sets."""
    return max(below, reserve)


@inner
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
