"""A budget pacer in steps: the target first, then a factor up or down where the rest of the day would not fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.market.pacing import MAX_LOG_RATIO

Float = NDArray[np.float64]


class BudgetPacerBidder(NamedBidder):
    """Starts with the worth of a unit; each tick foretells the spend to come and moves the multiplier by a factor.

    The foretold spend is that of the last tick, over the tick's share of the expected traffic, times the share that is
    to come. Below `low` of the money left the multiplier is raised by `increase`, above `high` it is lowered by
    `decrease`; in between it stays. Cost limits are not heeded: the start at the target is all that guards them.

    Args:
        start: First multiplier over the worth of a unit of the objective.
        low, high: Foretold spend over the money left between which nothing changes.
        increase, decrease: Factors on the multiplier, above and below 1.
        name: Label in tables.

    Source: the rule `BudgetPacer` of rlbidder (github.com/zuoxingdong/rlbidder), with its default numbers. There the
    tests for `low` and `high` foretell by two curves, the expected traffic and an even one; here by the traffic.
    """

    def __init__(
        self,
        start: float = 1.0,
        *,
        low: float = 0.7,
        high: float = 1.1,
        increase: float = 1.2,
        decrease: float = 0.7,
        name: str = "budget pacer",
    ) -> None:
        for label, value in (("start", start), ("low", low), ("increase", increase), ("decrease", decrease)):
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"`{label}` must be positive, found {value}")
        if not low <= high < np.inf:
            raise ValueError(f"`high` must be finite and at least `low` ({low}), found {high}")
        if increase < 1 or decrease > 1:
            raise ValueError(f"`increase` must be at least 1 and `decrease` at most 1, found {increase} and {decrease}")
        self.name = name
        self._start, self._low, self._high = start, low, high
        self._steps = (np.log(increase), np.log(decrease))

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        n = len(campaigns.budget)
        self._base, self._log_ratio = campaigns.base, np.full(n, np.log(self._start))
        shares = np.broadcast_to(campaigns.traffic_shares, (n, campaigns.n_ticks))
        to_come = np.cumsum(shares[:, ::-1], axis=1)[:, ::-1]
        # of each tick but the first, the traffic from it on over that of the tick before
        self._more = np.divide(to_come[:, 1:], shares[:, :-1], out=np.zeros((n, shares.shape[1] - 1)),
                               where=shares[:, :-1] > 0)  # fmt: skip

    def act(self, view: TickView) -> Float:
        """The multipliers, shape (n,)."""
        if view.tick > 0:
            foretold, left = view.last_cost * self._more[:, view.tick - 1], view.budget_left
            up, down = self._steps
            step = np.where(foretold < self._low * left, up, np.where(foretold > self._high * left, down, 0.0))
            self._log_ratio = np.clip(self._log_ratio + step, -MAX_LOG_RATIO, MAX_LOG_RATIO)
        return np.asarray(self._base * np.exp(self._log_ratio))
