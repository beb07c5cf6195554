"""`clear_auctions`: the market's clearing rule for a matrix of bids."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.kernels.clearing import MECHANISMS, clear_bids
from auction_env.params import MAX_SLOTS


class Clearing(NamedTuple):
    """Result of `clear_auctions`.

    Attributes:
        slot: (n_impressions, n_advertisers) int64: 0 = lost, 1..n_slots from the top.
        price: (n_impressions, n_advertisers) float64: price of the won slot, 0 elsewhere.
        least_winning_cost: (n_impressions,) float64: the bid one must beat for the last slot, that is the best
            losing bid, at least the reserve.
    """

    slot: NDArray[np.int64]
    price: NDArray[np.float64]
    least_winning_cost: NDArray[np.float64]


def clear_auctions(bids: ArrayLike, *, reserve: ArrayLike = 0.0, n_slots: int = 3, mechanism: str = "gsp") -> Clearing:
    """Clears one multi-slot auction per row of a bid matrix.

    Bids below the reserve, and bids of zero, never win. Slots go to the highest eligible bids, ties to the
    lower advertiser index. Under `gsp` a won slot costs the next highest eligible bid or the reserve; under
    `first_price` the winner's own bid.

    Args:
        bids: (n_impressions, n_advertisers), currency per impression, finite and not negative.
        reserve: Reserve price, a scalar or (n_impressions,), finite and not negative.
        n_slots: Number of slots, 1..8; may exceed the number of advertisers.
        mechanism: `gsp` or `first_price`.

    Raises:
        ValueError: Naming the argument, the rule and the value.

    Source: B. Edelman, M. Ostrovsky, M. Schwarz, "Internet advertising and the generalized second-price
    auction", American Economic Review 97(1), 2007.
    """
    matrix = np.asarray(bids, np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"`bids` must have shape (n_impressions, n_advertisers), found {matrix.shape}")
    if matrix.shape[1] == 0:
        raise ValueError(f"`bids` must have at least one advertiser, found shape {matrix.shape}")
    _check_money("bids", matrix)
    n_impressions = matrix.shape[0]
    floor = np.asarray(reserve, np.float64)
    if floor.shape not in ((), (n_impressions,)):
        raise ValueError(f"`reserve` must be a scalar or have shape ({n_impressions},), found {floor.shape}")
    _check_money("reserve", floor)
    if isinstance(n_slots, bool) or not isinstance(n_slots, int | np.integer) or not 1 <= n_slots <= MAX_SLOTS:
        raise ValueError(f"`n_slots` must be an integer in 1..{MAX_SLOTS}, found {n_slots!r}")
    if mechanism not in MECHANISMS:
        raise ValueError(f"`mechanism` must be one of {sorted(MECHANISMS)}, found {mechanism!r}")
    slot = np.empty(matrix.shape, np.int64)
    price = np.empty(matrix.shape)
    least_winning_cost = np.empty(n_impressions)
    clear_bids(
        np.ascontiguousarray(matrix),
        np.ascontiguousarray(np.broadcast_to(floor, (n_impressions,))),
        int(n_slots),
        MECHANISMS[mechanism],
        slot,
        price,
        least_winning_cost,
    )
    return Clearing(slot, price, least_winning_cost)


def _check_money(name: str, values: NDArray[np.float64]) -> None:
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        where = tuple(int(k) for k in np.argwhere(bad)[0])
        place = f" at {where}" if where else ""
        raise ValueError(f"`{name}` must be finite and not negative, found {values[where]}{place}")
