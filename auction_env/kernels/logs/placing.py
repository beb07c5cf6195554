"""The compiled loop of the replay importer: puts the rows of a period where they belong, whatever their order."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from auction_env.kernels.logs.cells import (
    _ADVERTISER,
    _BID,
    _IMPRESSION,
    _IS_EXPOSED,
    _LEAST_WINNING_COST,
    _P_VALUE,
    _P_VALUE_SIGMA,
    _PERIOD,
    _SLOT,
    _TICK,
)

KEY_BITS = 54  # of an impression's key, for its `pvIndex`; the tick stands above them

OK, REPEATED, OTHER_COST = range(3)


class PlacedRows(NamedTuple):
    """Where the rows of a period of k impressions and m advertisers go; `value` and `sigma` may be of more of both."""

    bid: NDArray[np.float64]  # (k, m); (0, m) where nobody needs the bids
    cost: NDArray[np.float64]  # (k,) the least winning cost, -1 before the first row
    winner: NDArray[np.int16]  # (n_slots, k) who holds each slot, -1 if nobody
    seen: NDArray[np.uint8]  # (n_slots, k) whether it was exposed
    is_filled: NDArray[np.bool_]  # (k, m)
    value: NDArray[np.float32]  # (n_advertisers, n)
    sigma: NDArray[np.float32]  # (n_advertisers, n)


@njit(cache=True, nogil=True)
def place_rows(rows: Any, period: Any, impressions: Any, advertisers: Any, columns: Any, first: Any, out: Any) -> Any:
    """Writes the rows of one period; returns the first bad row and why it is (`OK` where none is).

    Args:
        rows: (n, 18) float64 in the order of the schema, of any periods.
        period: Number of the period.
        impressions: (k,) int64, ascending: tick << KEY_BITS | pvIndex.
        advertisers: (m,) int64, ascending: numbers.
        columns: (m,) int64: their rows of `out.value`.
        first: Column of `out.value` of the period's first impression.
        out: `PlacedRows`, written.
    """
    position, last = np.int64(-1), np.int64(-1)
    for i in range(len(rows)):
        if rows[i, _PERIOD] != period:
            continue
        key = (np.int64(rows[i, _TICK]) << KEY_BITS) | np.int64(rows[i, _IMPRESSION])
        if key != last:
            position, last = np.int64(np.searchsorted(impressions, key)), key
        number = np.int64(rows[i, _ADVERTISER])
        column = number if number < len(advertisers) and advertisers[number] == number else np.int64(-1)
        if column < 0:
            column = np.int64(np.searchsorted(advertisers, number))
        if out.is_filled[position, column]:
            return i, REPEATED
        out.is_filled[position, column] = True
        cost = rows[i, _LEAST_WINNING_COST]
        if out.cost[position] < 0:
            out.cost[position] = cost
        elif out.cost[position] != cost:
            return i, OTHER_COST
        out.value[columns[column], first + position] = rows[i, _P_VALUE]
        out.sigma[columns[column], first + position] = rows[i, _P_VALUE_SIGMA]
        if len(out.bid):
            out.bid[position, column] = rows[i, _BID]
        slot = np.int64(rows[i, _SLOT]) - 1
        if 0 <= slot < len(out.winner):
            out.winner[slot, position] = column
            out.seen[slot, position] = rows[i, _IS_EXPOSED]
    return -1, OK
