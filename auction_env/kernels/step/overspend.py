"""AuctionNet's rule for budgets: drop random wins of those who overspend and clear again, until nobody does."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from auction_env.kernels.clearing import BLOCK
from auction_env.kernels.outcomes import COST, N_TOTALS, conversion_keys
from auction_env.kernels.rng import STREAM_DROP, bits, high_word, low_word, make_key, mix64
from auction_env.kernels.settle import Advertisers, Rules, Tiles
from auction_env.kernels.tick import Items, add_item, settle_items, settle_items_serially

Float = NDArray[np.float64]

OVER_COST_GUARD = 1e-4
"""Currency, in the share of wins that is dropped: AuctionNet's guard against a division by 0."""


@njit(cache=True)
def drop_wins(advertiser, share, seed, tick, turn, items, start, stop, winner, basis, value_sum, open_mask):
    """Drops a random share, rounded up, of an advertiser's wins of each slot in items [start, stop), seen or not.

    Every win has a draw of its own, keyed by round and impression; those with the smallest are dropped. A dropped
    win is a basis of 0: it bids no more.

    Args:
        turn: Index of the round: with the draws of the last one, new wins would be dropped before old ones.
        winner: (n_items, n_slots, BLOCK) int32: what `settle_items` wrote.
        basis: (n_tiles, n_advertisers, BLOCK) float32, changed: `settle.Tiles`.
        value_sum: (n_items, n_advertisers) float64, changed: sums of the basis.
        open_mask: (n_items,) bool, set for the items that have to be cleared again.
    """
    key = mix64(make_key(seed, tick, advertiser, STREAM_DROP) ^ np.uint64(turn))
    for s in range(winner.shape[1]):
        n_wins = 0
        for item in range(start, stop):
            for i in range(items.n[item]):
                n_wins += winner[item, s, i] == advertiser
        draw, where = np.empty(n_wins, np.uint64), np.empty(n_wins, np.int64)
        k = 0
        for item in range(start, stop):
            for i in range(items.n[item]):
                if winner[item, s, i] == advertiser:
                    impression = np.uint32(items.first[item] + i)
                    word = np.uint64(bits(impression, low_word(key), high_word(key)))
                    draw[k] = (word << np.uint64(32)) | np.uint64(impression)  # no ties
                    where[k] = item * BLOCK + i
                    k += 1
        order = np.argsort(draw)
        for k in range(int(np.ceil(share * n_wins))):
            item, i = where[order[k]] // BLOCK, where[order[k]] % BLOCK
            basis[items.tile[item], advertiser, i] = 0
            open_mask[item] = True
    for item in range(start, stop):
        if open_mask[item]:
            value_sum[item, advertiser] = 0
            for i in range(items.n[item]):
                value_sum[item, advertiser] += basis[items.tile[item], advertiser, i]


@njit(cache=True)
def drop_overspenders(seed, tick, turn, items, winner, basis, value_sum, item_totals, budget_left):
    """Drops wins of those whose costs exceed their budgets; the items to be cleared again, (n,) int64.

    Args:
        seed, tick, turn, items, winner, basis, value_sum: As of `drop_wins`; `seed` (n_markets,).
        item_totals: (n_items, n_advertisers, N_TOTALS) float64.
        budget_left: (n_markets, n_advertisers) float64.
    """
    open_mask = np.zeros(items.market.shape[0], np.bool_)
    for e in range(seed.shape[0]):
        start, stop = items.start[e], items.start[e + 1]
        for j in range(budget_left.shape[1]):
            cost = 0.0
            for item in range(start, stop):
                cost += item_totals[item, j, COST]
            if cost > budget_left[e, j]:
                share = (cost - budget_left[e, j]) / (cost + OVER_COST_GUARD)
                drop_wins(j, share, seed[e], tick, turn, items, start, stop, winner, basis, value_sum, open_mask)
    return np.flatnonzero(open_mask)


@njit(cache=True)
def add_items(items, multiplier, value_sum, budget_left, item_totals, item_lwc, totals, lwc_sum, bid_sum):
    """Adds up all items of a tick whose wins are paid for; whoever has nothing left bids no more."""
    totals[:] = 0
    lwc_sum[:] = 0
    bid_sum[:] = 0
    for item in range(items.market.shape[0]):
        e = items.market[item]
        add_item(item, e, multiplier, value_sum, budget_left, item_totals, item_lwc, totals, lwc_sum, bid_sum)
    for e in range(multiplier.shape[0]):
        for j in range(multiplier.shape[1]):
            budget_left[e, j] = max(budget_left[e, j], 0.0)  # the items' costs were added up in another order
            if budget_left[e, j] == 0:
                multiplier[e, j] = 0


def clear_until_paid(
    seed: NDArray[np.uint64], tick: int, items: Items, tiles: Tiles, value_sum: Float, multiplier: NDArray[np.float32],
    rules: Rules, advertisers: Advertisers, budget_left: Float, *, n_threads: int,
) -> tuple[Float, Float]:  # fmt: skip
    """Clears the tick of every market in rounds, until nobody's wins cost more than what is left.

    In every round, an advertiser whose wins cost c with b < c left loses a share (c - b) / (c + 0.0001) of its wins of
    each slot, rounded up and drawn at random, seen or not; and the impressions concerned are cleared again without it:
    all others move up. Exposure stays what it was. This is the loop of AuctionNet's `run/run_test.py`, but for its
    draws, which have the same seed in every round.

    The rounds are plain Python: a compiled function that holds parallel and serial calls loads the pool for both.

    Args:
        tiles: No two items may share a tile: the basis is set to 0 for dropped wins, which count as no bids.
        value_sum: (n_items, n_advertisers), changed: sums of the basis.
        seed, tick, items, multiplier, rules, advertisers, budget_left: As of `tick.run_tick`, read.
        n_threads: To settle items on.

    Returns:
        Totals (n_items, n_advertisers, N_TOTALS) and sums of least winning costs (n_items,), in which all is paid for.
    """
    n_items, n_advertisers = items.market.shape[0], multiplier.shape[1]
    item_totals, item_lwc = np.empty((n_items, n_advertisers, N_TOTALS)), np.empty(n_items)
    left, is_broke = np.empty((n_items, n_advertisers), np.float32), np.empty(n_items, np.bool_)
    winner = np.empty((n_items, rules.exposure.shape[0], BLOCK), np.int32)
    cursor, keys = np.full(len(seed), -1), conversion_keys(seed, tick, n_advertisers)
    settle = settle_items if n_threads > 1 else settle_items_serially
    todo, turn = np.arange(n_items), 0
    while len(todo):
        settle(
            todo, cursor, seed, tick, items, tiles, value_sum, multiplier, rules, advertisers, keys, budget_left,
            item_totals, item_lwc, left, is_broke, winner,
        )  # fmt: skip
        todo = drop_overspenders(seed, tick, turn, items, winner, tiles.basis, value_sum, item_totals, budget_left)
        turn += 1
    return item_totals, item_lwc


def run_tick_dropping(
    seed: NDArray[np.uint64], tick: int, items: Items, tiles: Tiles, value_sum: Float, multiplier: NDArray[np.float32],
    rules: Rules, advertisers: Advertisers, budget_left: Float, totals: Float, lwc_sum: Float, bid_sum: Float,
    *, n_threads: int,
) -> None:  # fmt: skip
    """Runs the tick of every market under AuctionNet's rule (`clear_until_paid`); arguments as of `tick.run_tick`.

    An advertiser goes on bidding as long as it has money left.
    """
    item_totals, item_lwc = clear_until_paid(
        seed, tick, items, tiles, value_sum, multiplier, rules, advertisers, budget_left, n_threads=n_threads
    )
    add_items(items, multiplier, value_sum, budget_left, item_totals, item_lwc, totals, lwc_sum, bid_sum)
