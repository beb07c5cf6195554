"""One tick of many markets: draw the values, clear, expose, charge, convert, stop the exhausted.

The work is cut into items: an item is a block of up to BLOCK consecutive impressions of one market. A window of
items is settled in parallel: a market's first one exactly, with the money that is left, the others as if nobody's
money ran out. A cheap pass in arrival order then commits them until the first item in which somebody cannot pay;
that one is the market's next window, so that it is settled exactly, and the exhausted advertisers drop out. The
result is that of a strictly sequential market, for any number of threads and any window. Exhaustion happens at
most once per advertiser and episode, so the repeated work is bounded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from auction_env.kernels.clearing import BLOCK
from auction_env.kernels.outcomes import COST, N_TOTALS, conversion_keys
from auction_env.kernels.running.compiling import inner
from auction_env.kernels.settle import first_blocks, settle_block


class Items(NamedTuple):
    """The blocks of a tick."""

    start: NDArray[np.int64]  # (n_markets + 1,): the items of market e are start[e] .. start[e + 1]
    market: NDArray[np.int64]  # (n_items,)
    first: NDArray[np.int64]  # (n_items,): first impression
    n: NDArray[np.int64]  # (n_items,): impressions
    tile: NDArray[np.int64]  # (n_items,): where their values lie; items of markets that are alike share a tile


def lay_out(n: NDArray[np.int64], kind: NDArray[np.int64]) -> Items:
    """Cuts the impressions of a tick into blocks.

    Args:
        n: (n_markets,) impressions.
        kind: (n_markets,): markets of a kind share their tiles; see `settle.first_blocks`.
    """
    return Items(*_lay_out(n, kind))


@njit(cache=True)
def _lay_out(n, kind):
    """The arrays of `Items`: making them a record in Python is quicker, and safer under Ctrl-C (`shield_returns`)."""
    n_markets = n.shape[0]
    start = np.zeros(n_markets + 1, np.int64)
    for e in range(n_markets):
        start[e + 1] = start[e] + (n[e] + BLOCK - 1) // BLOCK
    n_items, first_tile = start[n_markets], first_blocks(n, kind)
    market, first, size = np.empty(n_items, np.int64), np.empty(n_items, np.int64), np.empty(n_items, np.int64)
    tile = np.empty(n_items, np.int64)
    for e in range(n_markets):
        for item in range(start[e], start[e + 1]):
            market[item] = e
            first[item] = (item - start[e]) * BLOCK
            size[item] = min(BLOCK, n[e] - first[item])
            tile[item] = first_tile[e] + item - start[e]
    return start, market, first, size, tile


@inner
def settle_item(
    item, cursor, seed, tick, items, tiles, value_sum, multiplier, rules, advertisers, keys, budget_left, totals, lwc,
    left, is_broke, winner,
):  # fmt: skip
    """Settles one of the items: see `settle_items`."""
    market, tile = items.market[item], items.tile[item]
    lwc[item], is_broke[item] = settle_block(
        seed[market], tick, items.first[item], items.n[item], tiles.basis[tile], tiles.value[tile],
        tiles.sigma[min(tile, tiles.sigma.shape[0] - 1)], multiplier[market], left[item], rules,
        advertisers.sigma[market], advertisers.lower[market], advertisers.upper[market], advertisers.mean[market],
        advertisers.sd[market], keys[market], item == cursor[market], budget_left[market], totals[item],
        value_sum[item], winner[item],
    )  # fmt: skip


@njit(cache=True, parallel=True)
def settle_items(
    todo, cursor, seed, tick, items, tiles, value_sum, multiplier, rules, advertisers, keys, budget_left,
    totals, lwc, left, is_broke, winner,
):  # fmt: skip
    """Settles the items `todo`: a market's item at its cursor exactly, the others as if no money ran out.

    Args:
        todo: (n_todo,) int64.
        cursor: (n_markets,) int64, the first open item of each market; -1: none is settled exactly.
        value_sum: (n_items, n_advertisers) float64.
        multiplier: (n_markets, n_advertisers) float32, read.
        totals, lwc: Written for each item.
        left: (n_items, n_advertisers) float32, written: `multiplier` after the item, 0 for the exhausted.
        is_broke: (n_items,) bool, written.
        winner: (n_items, n_slots, BLOCK), or (n_items, 0, 0) if not needed: see `settle_block`.
    """
    for index in prange(todo.shape[0]):
        settle_item(
            todo[index], cursor, seed, tick, items, tiles, value_sum, multiplier, rules, advertisers, keys, budget_left,
            totals, lwc, left, is_broke, winner,
        )  # fmt: skip


@njit(cache=True)
def settle_items_serially(
    todo, cursor, seed, tick, items, tiles, value_sum, multiplier, rules, advertisers, keys, budget_left,
    totals, lwc, left, is_broke, winner,
):  # fmt: skip
    """`settle_items` on one thread."""
    for index in range(todo.shape[0]):
        settle_item(
            todo[index], cursor, seed, tick, items, tiles, value_sum, multiplier, rules, advertisers, keys, budget_left,
            totals, lwc, left, is_broke, winner,
        )  # fmt: skip


@inner
def add_item(item, e, multiplier, value_sum, budget_left, item_totals, item_lwc, totals, lwc_sum, bid_sum):
    """Commits an item: adds its totals to those of market e and takes its costs off the budgets."""
    lwc_sum[e] += item_lwc[item]
    for j in range(totals.shape[1]):
        bid_sum[e, j] += multiplier[e, j] * value_sum[item, j]
        budget_left[e, j] -= item_totals[item, j, COST]
        for k in range(N_TOTALS):
            totals[e, j, k] += item_totals[item, j, k]


@njit(cache=True)
def commit_items(
    cursor, stop, value_sum, multiplier, budget_left, item_totals, item_lwc, left, is_broke, totals, lwc_sum, bid_sum
):  # fmt: skip
    """Commits each market's settled items from `cursor` to `stop`, as far as they hold.

    That is up to the first one in which somebody was exhausted, or, if it was not settled exactly, before the first
    one that somebody cannot pay. Moves `cursor`, and sets `multiplier` to 0 for the exhausted.

    Returns:
        Whether there is an item that somebody cannot pay, and whether anybody was exhausted.
    """
    is_short, any_broke = False, False
    for e in range(cursor.shape[0]):
        for item in range(cursor[e], stop[e]):
            is_affordable = True
            for j in range(totals.shape[1]):
                is_affordable &= item_totals[item, j, COST] <= budget_left[e, j]
            if not is_affordable:
                is_short = True
                break
            add_item(item, e, multiplier, value_sum, budget_left, item_totals, item_lwc, totals, lwc_sum, bid_sum)
            cursor[e] += 1
            if is_broke[item]:
                for j in range(totals.shape[1]):
                    multiplier[e, j] = left[item, j]
                any_broke = True
                break
    return is_short, any_broke


@njit(cache=True)
def list_items(cursor, stop):
    """The items cursor[e] .. stop[e] of all markets behind each other: (n,) int64."""
    todo = np.empty((stop - cursor).sum(), np.int64)
    position = 0
    for e in range(cursor.shape[0]):
        for item in range(cursor[e], stop[e]):
            todo[position] = item
            position += 1
    return todo


@njit(cache=True)
def run_tick(
    seed, tick, items, tiles, value_sum, multiplier, rules, advertisers, budget_left, totals, lwc_sum, bid_sum,
    first_window,
):  # fmt: skip
    """Runs the tick of every market with hard budgets; see the module's docstring.

    Args:
        seed: (n_markets,) uint64.
        tick: Index of the tick.
        items: `Items`.
        tiles: `settle.Tiles`: the values that `draw_values` wrote, and what the bids are proportional to.
        value_sum: (n_items, n_advertisers) float64, sums of the basis; overwritten for items with an exhaustion.
        multiplier: (n_markets, n_advertisers) float32; set to 0 for advertisers that run out of money.
        rules, advertisers: `Rules`, `Advertisers`.
        budget_left: (n_markets, n_advertisers) float64, updated.
        totals: (n_markets, n_advertisers, N_TOTALS) float64, written.
        lwc_sum: (n_markets,) float64, written.
        bid_sum: (n_markets, n_advertisers) float64, written: sum of the bids submitted.
        first_window: Items of a market to settle at once; doubled as long as nobody's money runs out.
    """
    n_items, n_advertisers = items.market.shape[0], multiplier.shape[1]
    item_totals, item_lwc = np.empty((n_items, n_advertisers, N_TOTALS)), np.empty(n_items)
    left, is_broke = np.empty((n_items, n_advertisers), np.float32), np.empty(n_items, np.bool_)
    winner = np.empty((n_items, 0, 0), np.int32)
    totals[:] = 0
    lwc_sum[:] = 0
    bid_sum[:] = 0
    keys = conversion_keys(seed, tick, n_advertisers)
    window = first_window
    cursor = items.start[:-1].copy()
    while True:
        stop = np.minimum(cursor + window, items.start[1:])
        todo = list_items(cursor, stop)
        if todo.shape[0] == 0:
            return
        settle_items(
            todo, cursor, seed, tick, items, tiles, value_sum, multiplier, rules, advertisers, keys, budget_left,
            item_totals, item_lwc, left, is_broke, winner,
        )  # fmt: skip
        is_short, any_broke = commit_items(
            cursor, stop, value_sum, multiplier, budget_left, item_totals, item_lwc, left, is_broke, totals, lwc_sum,
            bid_sum,
        )  # fmt: skip
        # what lies behind an exhaustion was settled in vain: none of it together with the item that has one,
        # and little of it after that
        window = 1 if is_short else first_window if any_broke else 2 * window
