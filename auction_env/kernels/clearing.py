"""Clearing of a block of auctions: who wins which slot, and what each slot costs.

A block holds up to BLOCK impressions; its bids lie advertiser by advertiser, so that every inner loop runs
over impressions and vectorises. Both the public `clear_auctions` and the market run these functions.
"""

from __future__ import annotations

import numpy as np
from numba import njit

BLOCK = 128  # impressions; a block of 48 advertisers (24 KB) and its ranking stay in the first-level cache

GSP = 0
FIRST_PRICE = 1
MECHANISMS = {"gsp": GSP, "first_price": FIRST_PRICE}


@njit(cache=True, fastmath={"contract", "nsz"}, error_model="numpy")
def rank_bids(basis, multiplier, reserve, start, stop, carry_bid, carry_idx, top_bid, top_idx):
    """Ranks the eligible bids of impressions [start, stop) of a block.

    A bid is multiplier x basis; it is eligible if positive and at least the reserve. Equal bids rank by
    advertiser index. Each advertiser in turn is inserted from the top of the ladder, and whoever is displaced is
    carried on downwards. The loops have no branches and vectorise; that they do depends on the carried bids
    having arrays of their own (rows of one array may alias, as far as the compiler knows).

    Args:
        basis: (n_advertisers, >= stop) float: predicted values, or bids with multipliers of 1.
        multiplier: (n_advertisers,) float; an advertiser with 0 does not take part.
        reserve: (>= stop,) float, reserve price per impression.
        start, stop: Range of impressions.
        carry_bid, carry_idx: (>= stop,) scratch, of the types of `top_bid` and `top_idx`.
        top_bid: (n_slots + 1, >= stop) float, written: bids in descending order, 0 where there is none.
        top_idx: (n_slots + 1, >= stop) int32, written: their advertisers, -1 where there is none.
    """
    n_top = top_bid.shape[0]
    for rank in range(n_top):
        for i in range(start, stop):
            top_bid[rank, i] = 0
            top_idx[rank, i] = -1
    for j in range(basis.shape[0]):
        m = multiplier[j]
        if m <= 0:
            continue
        column = basis[j]
        for i in range(start, stop):
            bid = m * column[i]
            carry_bid[i] = bid if bid >= reserve[i] else 0
            carry_idx[i] = j
        for rank in range(n_top):
            held_bid, held_idx = top_bid[rank], top_idx[rank]
            for i in range(start, stop):
                new, old = carry_bid[i], held_bid[i]
                new_idx, old_idx = carry_idx[i], held_idx[i]
                # a displaced bid meets equal ones further down, whose indices are higher than its own
                better = (new > old) | ((new == old) & (new_idx < old_idx))
                held_bid[i] = new if better else old
                carry_bid[i] = old if better else new
                held_idx[i] = new_idx if better else old_idx
                carry_idx[i] = old_idx if better else new_idx


@njit(cache=True, inline="always")
def slot_price(mechanism, top_bid, slot, i, reserve):
    """Price of a won slot (0-based) of impression i: next highest eligible bid or reserve; own bid if first price."""
    if mechanism == FIRST_PRICE:
        return top_bid[slot, i]
    return max(top_bid[slot + 1, i], reserve)


@njit(cache=True, inline="always")
def least_winning_cost(top_bid, i, reserve):
    """The bid that one must beat for the last slot: the best losing bid, at least the reserve."""
    return max(top_bid[top_bid.shape[0] - 1, i], reserve)


@njit(cache=True)
def clear_bids(bids, reserve, n_slots, mechanism, slot, price, lwc):
    """Clears all rows of a bid matrix, block by block.

    Args:
        bids: (n_impressions, n_advertisers) float64.
        reserve: (n_impressions,) float64.
        n_slots: Number of slots.
        mechanism: One of the values of MECHANISMS.
        slot: (n_impressions, n_advertisers) int64, written: 0 lost, 1..n_slots.
        price: (n_impressions, n_advertisers) float64, written: price of the won slot, 0 elsewhere.
        lwc: (n_impressions,) float64, written.
    """
    n_impressions, n_advertisers = bids.shape
    ones = np.ones(n_advertisers)
    basis = np.empty((n_advertisers, BLOCK))
    top_bid = np.empty((n_slots + 1, BLOCK))
    top_idx = np.empty((n_slots + 1, BLOCK), np.int32)
    carry_bid, carry_idx = np.empty(BLOCK), np.empty(BLOCK, np.int32)
    slot[:] = 0
    price[:] = 0
    for first in range(0, n_impressions, BLOCK):
        n = min(BLOCK, n_impressions - first)
        floor = reserve[first : first + n]
        for i in range(n):
            for j in range(n_advertisers):
                basis[j, i] = bids[first + i, j]
        rank_bids(basis, ones, floor, 0, n, carry_bid, carry_idx, top_bid, top_idx)
        for i in range(n):
            lwc[first + i] = least_winning_cost(top_bid, i, floor[i])
            for s in range(n_slots):
                winner = top_idx[s, i]
                if winner < 0:
                    break
                slot[first + i, winner] = s + 1
                price[first + i, winner] = slot_price(mechanism, top_bid, s, i, floor[i])
