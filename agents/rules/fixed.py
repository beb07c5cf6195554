"""A constant multiplier: the simplest bidder, and optimal in a stationary market if chosen right."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.control.bidder import Campaigns, NamedBidder, TickView


class FixedBidder(NamedBidder):
    """Bids the same multiple of what a unit of the objective is worth all day: of the target CPA, the target CPC ....

    Args:
        ratio: Multiplier over the worth of a unit (`Task.unit_worth`), a scalar or one a campaign; finite and not
            negative.
        name: Label in tables.
    """

    def __init__(self, ratio: ArrayLike = 1.0, *, name: str = "fixed") -> None:
        self.name = name
        self._ratio = np.asarray(ratio, np.float64)
        if not np.all(np.isfinite(self._ratio) & (self._ratio >= 0)):
            raise ValueError(f"`ratio` must be finite and not negative, found {ratio!r}")

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes; ValueError if `ratio` has another number of campaigns."""
        n = len(campaigns.budget)
        if self._ratio.shape not in ((), (n,)):
            raise ValueError(f"`ratio` must be a scalar or have shape ({n},), found {self._ratio.shape}")
        self._multiplier = self._ratio * campaigns.base

    def act(self, view: TickView) -> NDArray[np.float64]:
        """The constant multipliers, shape (n,)."""
        return self._multiplier
