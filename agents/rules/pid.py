"""PID pacing: spends the budget along the expected traffic, guards cost ratios (CPA, CPC, ROAS) that have a limit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.rules.cost_ratios import CostLimits
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.market.pacing import Pacer, PacingGains


class PidBidder(NamedBidder):
    """The control law of the scripted competitors (`auction_env.market.pacing`) as a baseline.

    Args:
        start: First multiplier over the worth of a unit of the objective (target CPA, target CPC ...).
        gains: Gains of the controller.
        name: Label in tables.

    Source: budget pacing by feedback as in X. Yang et al., "Bid optimization by multivariable control in display
    advertising" (KDD 2019), without its learned model.
    """

    def __init__(self, start: float = 1.0, gains: PacingGains | None = None, *, name: str = "PID") -> None:
        if not (np.isfinite(start) and start > 0):
            raise ValueError(f"`start` must be positive, found {start}")
        self.name = name
        self._start, self._gains = start, gains or PacingGains()

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        self._limits = CostLimits(campaigns)
        self._pacer = Pacer(
            base=self._start * campaigns.base,
            cpa_limit=self._limits.cap,
            budget=campaigns.budget,
            expected_traffic=campaigns.traffic_shares,
            gains=self._gains,
        )

    def act(self, view: TickView) -> NDArray[np.float64]:
        """Multipliers for this tick, shape (n,)."""
        return self._pacer.multipliers(
            view.tick, last_cost=view.last_cost, last_expected_conversions=self._limits.gained(view)
        )
