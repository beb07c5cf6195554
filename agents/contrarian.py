"""A bidder that paces the wrong way round: what a source looks like that teaches the opposite of what helps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.bidder import Campaigns, TickView

Float = NDArray[np.float64]


class ContrarianBidder:
    """Raises its multiplier when it is ahead of its spending plan and lowers it when it is behind.

    log(multiplier / base) = level + gain x (share of the budget spent - share of the traffic passed), at most `bound`
    either way: a controller with the sign of its gain reversed. As a logging policy it makes trajectories in which the
    action answers the state in the opposite way to a pacing bidder's.

    Args:
        gain: Of the reversed controller.
        level: log of the first multiplier over the worth of a unit of the objective.
        bound: Of the controller's part of the log multiplier.
        name: Label in tables.
    """

    def __init__(self, gain: float = 3.0, level: float = 0.0, *, bound: float = 1.0, name: str = "contrarian") -> None:
        for label, value in (("gain", gain), ("bound", bound)):
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"`{label}` must be positive, found {value}")
        if not np.isfinite(level):
            raise ValueError(f"`level` must be finite, found {level}")
        self.name = name
        self._gain, self._level, self._bound = gain, level, bound

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        self._base, self._budget = campaigns.base, campaigns.budget
        share = campaigns.expected_traffic
        if share is None:
            share = np.full(campaigns.n_ticks, 1.0 / campaigns.n_ticks)
        passed = np.cumsum(share, axis=-1)
        self._passed = np.concatenate((np.zeros((*passed.shape[:-1], 1)), passed), axis=-1)

    def act(self, view: TickView) -> Float:
        """Multipliers for this tick, shape (n,)."""
        ahead = (1.0 - view.budget_left / self._budget) - self._passed[..., view.tick]
        return np.asarray(self._base * np.exp(self._level + np.clip(self._gain * ahead, -self._bound, self._bound)))
