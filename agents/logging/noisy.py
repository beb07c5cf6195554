"""Logging policies: bidders whose exploration makes logs worth learning from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auction_env.control.bidder import Bidder, Campaigns, NamedBidder, TickView, check_multipliers


class NoisyBidder(NamedBidder):
    """Multiplies another bidder's multiplier by log-normal noise.

    The noise has a part that lasts the whole episode and one that wanders from tick to tick (an AR(1) process):
    without the first, all logged days look alike; without the second, no day shows what a change does.
    Each campaign's noise is a function of its seed and advertiser alone.

    Args:
        bidder: The bidder to perturb.
        level_sd: Standard deviation of the log multiplier between episodes.
        tick_sd: Stationary standard deviation of the log multiplier within an episode.
        persistence: Correlation of the noise from one tick to the next, in [0, 1).
        name: Label in tables.
    """

    def __init__(
        self,
        bidder: Bidder,
        *,
        level_sd: float = 0.3,
        tick_sd: float = 0.2,
        persistence: float = 0.8,
        name: str = "noisy",
    ) -> None:
        for label, value in (("level_sd", level_sd), ("tick_sd", tick_sd)):
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"`{label}` must be finite and not negative, found {value}")
        if not 0 <= persistence < 1:
            raise ValueError(f"`persistence` must lie in [0, 1), found {persistence}")
        self.name = name
        self._bidder = bidder
        self._level_sd, self._tick_sd, self._persistence = level_sd, tick_sd, persistence

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        self._bidder.reset(campaigns)
        draws = np.stack(
            [
                np.random.default_rng([int(seed), int(advertiser)]).standard_normal(campaigns.n_ticks + 1)
                for seed, advertiser in zip(campaigns.seed, campaigns.advertiser, strict=True)
            ]
        )  # (n, 1 + n_ticks)
        self._level, self._shock = self._level_sd * draws[:, 0], draws[:, 1:]
        self._wander = np.zeros(len(draws))

    def act(self, view: TickView) -> NDArray[np.float64]:
        """Perturbed multipliers, shape (n,)."""
        innovation = self._tick_sd * np.sqrt(1 - self._persistence**2)
        if view.tick == 0:
            self._wander = self._tick_sd * self._shock[:, 0]
        else:
            self._wander = self._persistence * self._wander + innovation * self._shock[:, view.tick]
        multipliers = check_multipliers(self._bidder, self._bidder.act(view), len(self._level))
        return multipliers * np.exp(self._level + self._wander)
