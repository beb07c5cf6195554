"""TA-PID: a PID controller whose time is the traffic that has come."""

from __future__ import annotations

import numpy as np

from agents.rules.pacing.clock import Float, check_not_negative, check_positive, traffic_clock
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.market.pacing import MAX_LOG_RATIO

_STEP = float(np.log(1.2))  # a price step of BAT


class TaPidBidder(NamedBidder):
    """Adds p e + i (integral of e over traffic) + d (change of e) to the log of the multiplier at every tick.

    e = 1 - (share of the budget spent) / (share of the traffic that has come), clipped to [-1, 1]: positive where the
    campaign spends too slowly. A tick changes the price by at most 4 steps of 20 % up and 7 down. It heeds the budget
    alone.

    Args:
        start: First multiplier over the worth of a unit of the objective.
        p, i, d: Gains.
        name: Label in tables.

    Source: the traffic-aware PID of A. Khirianova et al., "BAT: Benchmark for Auto-bidding Task" (WWW 2025, arXiv
    2505.08485): its error per traffic, its increments of the log price and their bounds. Ours: errors over the budget,
    not in currency, so that one set of gains serves every budget; the clock runs from 0 to 1 in a campaign, not by
    weeks; the first price is `start` times a worth, not a share of the budget; no slower steps at night.
    """

    def __init__(
        self, start: float = 1.0, *, p: float = 0.1, i: float = 0.1, d: float = 0.05, name: str = "TA-PID"
    ) -> None:
        check_positive(start=start)
        check_not_negative(p=p, i=i, d=d)
        self.name = name
        self._start, self._gains = start, (p, i, d)

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        n = len(campaigns.budget)
        self._base, self._budget, self._clock = campaigns.base, campaigns.budget, traffic_clock(campaigns)
        self._log_ratio = np.full(n, np.log(self._start))
        self._spent, self._integral, self._last_error = np.zeros((3, n))

    def act(self, view: TickView) -> Float:
        """The multipliers of this tick, shape (n,)."""
        if view.tick > 0:
            self._control(view)
        return np.asarray(self._base * np.exp(self._log_ratio))

    def _control(self, view: TickView) -> None:
        p, i, d = self._gains
        self._spent += view.last_cost
        before, come = self._clock[:, view.tick - 1], self._clock[:, view.tick]
        share = np.divide(self._spent / self._budget, come, out=np.ones_like(come), where=come > 0)
        error = np.clip(1.0 - share, -1.0, 1.0)
        self._integral += error * (come - before)
        change, self._last_error = error - self._last_error, error
        step = np.clip(p * error + i * self._integral + d * change, -7 * _STEP, 4 * _STEP)
        moved = np.where(come > before, self._log_ratio + step, self._log_ratio)  # without traffic nothing was learned
        self._log_ratio = np.clip(moved, -MAX_LOG_RATIO, MAX_LOG_RATIO)
