"""The compiled loop of the AuctionNet importer: sums per (period, advertiser, tick)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]

N_TICKS = 48  # of an AuctionNet period

# columns of `GroupTable.sums`
(
    BID, OFFERED_CONVERSIONS, LEAST_WINNING_COST, ALL_CONVERSIONS, WINS, EXPOSURES, COST, CONVERSIONS,
    EXPECTED_CONVERSIONS,
) = range(9)  # fmt: skip
N_SUMS = 9

OK = -1
TABLE_FULL = -2


# columns of a log, in the order of AuctionNet's schema
(
    _PERIOD,
    _ADVERTISER,
    _CATEGORY,
    _BUDGET,
    _CPA,
    _TICK,
    _REMAINING_BUDGET,
    _IMPRESSION,
    _P_VALUE,
    _P_VALUE_SIGMA,
    _BID,
    _XI,
    _SLOT,
    _COST,
    _IS_EXPOSED,
    _CONVERSION,
    _LEAST_WINNING_COST,
    _IS_END,
) = range(18)


class GroupTable(NamedTuple):
    """Running sums of up to `capacity` groups (period, advertiser), found through a hash table.

    `slots` (2 x capacity, a power of two) holds a group's index or -1 (open addressing, linear probing).
    """

    slots: Int
    n_groups: Int  # (1,)
    keys: Int  # (capacity, 2): period, advertiser
    constants: Float  # (capacity, 3): category, budget, target CPA
    counts: Int  # (capacity, N_TICKS): rows
    impressions: Int  # (capacity, N_TICKS, 2): smallest and largest index of an impression
    start: Float  # (capacity, N_TICKS, 2): remaining budget, whether the campaign has ended
    sums: Float  # (capacity, N_TICKS, N_SUMS)


def new_table(capacity: int) -> GroupTable:
    """An empty table; `capacity` is a power of two."""
    return GroupTable(
        slots=np.full(2 * capacity, -1, np.int64),
        n_groups=np.zeros(1, np.int64),
        keys=np.zeros((capacity, 2), np.int64),
        constants=np.zeros((capacity, 3)),
        counts=np.zeros((capacity, N_TICKS), np.int64),
        impressions=np.zeros((capacity, N_TICKS, 2), np.int64),
        start=np.zeros((capacity, N_TICKS, 2)),
        sums=np.zeros((capacity, N_TICKS, N_SUMS)),
    )


def grow_table(table: GroupTable) -> GroupTable:
    """A table of twice the capacity with the same groups, in the same order."""
    grown = new_table(2 * len(table.keys))
    n = int(table.n_groups[0])
    for name in GroupTable._fields[2:]:
        getattr(grown, name)[:n] = getattr(table, name)[:n]
    for group in range(n):
        grown.slots[find_slot(grown, grown.keys[group, 0], grown.keys[group, 1])] = group
    grown.n_groups[0] = n
    return grown


@njit(cache=True, nogil=True)
def find_slot(table: Any, period: Any, advertiser: Any) -> Any:
    """The slot that holds the group, or the empty slot where it belongs."""
    mask = len(table.slots) - 1
    mixed = np.uint64(period) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(advertiser)
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    slot = np.int64(mixed >> np.uint64(32)) & mask
    while True:
        group = table.slots[slot]
        if group < 0 or (table.keys[group, 0] == period and table.keys[group, 1] == advertiser):
            return slot
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def accumulate(rows: Any, start: int, table: Any) -> tuple[int, int]:
    """Adds the rows of a log from `start` on to the table.

    The rows must have passed the checks of single cells. Rows are added in order, so that the sums do not
    depend on how a log is cut into blocks.

    Args:
        rows: (n, 18) float64, columns in the schema's order.
        start: First row.
        table: `GroupTable`, changed in place.

    Returns:
        (row, code): n and `OK`; or the first row not added, with `TABLE_FULL` or the index of the
        column that differs from an earlier row of the same group (or of the same tick of the group).
    """
    for i in range(start, len(rows)):
        period, advertiser = np.int64(rows[i, _PERIOD]), np.int64(rows[i, _ADVERTISER])
        tick = np.int64(rows[i, _TICK])
        slot = find_slot(table, period, advertiser)
        group = table.slots[slot]
        if group < 0:
            group = table.n_groups[0]
            if group == len(table.keys):
                return i, TABLE_FULL
            table.n_groups[0] += 1
            table.slots[slot] = group
            table.keys[group, 0], table.keys[group, 1] = period, advertiser
            table.constants[group, 0] = rows[i, _CATEGORY]
            table.constants[group, 1] = rows[i, _BUDGET]
            table.constants[group, 2] = rows[i, _CPA]
        if rows[i, _CATEGORY] != table.constants[group, 0]:
            return i, _CATEGORY
        if rows[i, _BUDGET] != table.constants[group, 1]:
            return i, _BUDGET
        if rows[i, _CPA] != table.constants[group, 2]:
            return i, _CPA
        impression = np.int64(rows[i, _IMPRESSION])
        if table.counts[group, tick] == 0:
            table.start[group, tick, 0] = rows[i, _REMAINING_BUDGET]
            table.start[group, tick, 1] = rows[i, _IS_END]
            table.impressions[group, tick, :] = impression
        if rows[i, _REMAINING_BUDGET] != table.start[group, tick, 0]:
            return i, _REMAINING_BUDGET
        if rows[i, _IS_END] != table.start[group, tick, 1]:
            return i, _IS_END
        table.counts[group, tick] += 1
        table.impressions[group, tick, 0] = min(table.impressions[group, tick, 0], impression)
        table.impressions[group, tick, 1] = max(table.impressions[group, tick, 1], impression)
        sums = table.sums[group, tick]
        exposed = rows[i, _IS_EXPOSED]
        sums[BID] += rows[i, _BID]
        sums[OFFERED_CONVERSIONS] += rows[i, _P_VALUE]
        sums[LEAST_WINNING_COST] += rows[i, _LEAST_WINNING_COST]
        sums[ALL_CONVERSIONS] += rows[i, _CONVERSION]
        sums[WINS] += rows[i, _XI]
        sums[EXPOSURES] += exposed
        sums[COST] += exposed * rows[i, _COST]
        sums[CONVERSIONS] += exposed * rows[i, _CONVERSION]
        sums[EXPECTED_CONVERSIONS] += exposed * rows[i, _P_VALUE]
    return len(rows), OK
