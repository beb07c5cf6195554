"""The clock of a campaign that paces: which share of its traffic has come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auction_env.control.bidder import Campaigns

Float = NDArray[np.float64]


def traffic_clock(campaigns: Campaigns) -> Float:
    """(n, n_ticks + 1) share of the expected impressions that have come before each tick, from 0 to 1."""
    shares = np.broadcast_to(campaigns.traffic_shares, (len(campaigns.budget), campaigns.n_ticks))
    come = np.cumsum(shares, axis=1)
    return np.concatenate((np.zeros((len(shares), 1)), come / np.maximum(come[:, -1:], 1e-12)), axis=1)


def check_positive(**values: float) -> None:
    """ValueError, naming it, for an argument that is not positive."""
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"`{name}` must be positive, found {value}")


def check_not_negative(**values: float) -> None:
    """ValueError, naming it, for an argument that is negative."""
    for name, value in values.items():
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"`{name}` must not be negative, found {value}")
