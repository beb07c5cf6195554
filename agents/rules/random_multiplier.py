"""A constant multiplier drawn at random: the plainest exploration, and a logging policy of low quality."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auction_env.control.bidder import Campaigns, NamedBidder, TickView

_STREAM = 1  # of a campaign's draws; `NoisyBidder` has the plain (seed, advertiser)


class RandomMultiplierBidder(NamedBidder):
    """Bids a multiple of the target CPA all day that is log-uniform in a range.

    Each campaign's multiple is a function of its seed and advertiser alone.

    Args:
        lowest, highest: Range of the multiplier over the worth of a unit of the objective, both positive.
        name: Label in tables.
    """

    def __init__(self, lowest: float = 0.25, highest: float = 4.0, *, name: str = "random") -> None:
        if not (np.isfinite(highest) and 0 < lowest < highest):
            raise ValueError(f"`lowest` must be positive and below `highest`, found {lowest} and {highest}")
        self.name = name
        self._range = np.log(lowest), np.log(highest)

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        pairs = zip(campaigns.seed.tolist(), campaigns.advertiser.tolist(), strict=True)
        draws = [np.random.default_rng([seed, advertiser, _STREAM]).uniform(*self._range) for seed, advertiser in pairs]
        self._multiplier: NDArray[np.float64] = np.exp(np.array(draws)) * campaigns.base

    def act(self, view: TickView) -> NDArray[np.float64]:
        """The constants drawn, shape (n,)."""
        return self._multiplier
