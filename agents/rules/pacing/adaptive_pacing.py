"""Adaptive pacing (Balseiro and Gur 2019): one multiplier on the money, moved by what each tick spent too much."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.market.pacing import MAX_LOG_RATIO, plan_shares

Float = NDArray[np.float64]


class AdaptivePacingBidder(NamedBidder):
    """Bids `value` x worth / (1 + mu), and after a tick moves mu to mu - step x (planned - spent) / planned.

    mu is kept within 0 and `highest`.

    The paper's rule is mu <- P(mu - epsilon (rho - z)) with rho = budget / auctions and z the auction's payment. Ours
    moves once a tick and not after each auction, in units of the tick's plan, so that one step size serves every
    budget; the plan is the tick's share of the expected traffic times the budget, which is rho where traffic is
    even, and, as in the paper, does not follow the money left. An error is at most 1: a tick of a small market may
    spend many times its plan. It heeds the budget alone. Unlike `DualBidder`, whose steps multiply the price, this
    is subgradient descent: steps add, and with mu >= 0 no bid exceeds `value` x worth.

    Args:
        start: First multiplier over the worth of a unit; at most `value`.
        step: epsilon.
        value: Bid at mu = 0 over the worth of a unit. The paper's bidder has the utility value - price, and bids its
            value; one that maximises what it buys has none, and needs room above the worth of a unit.
        highest: Of mu, positive.
        name: Label in tables.

    Source: S. Balseiro, Y. Gur, "Learning in repeated auctions with budgets: regret minimization and equilibrium"
    (Management Science 65, 2019), algorithm 1.
    """

    def __init__(
        self,
        start: float = 1.0,
        *,
        step: float = 0.15,
        value: float = 2.0,
        highest: float = 20.0,
        name: str = "adaptive pacing",
    ) -> None:
        for label, number in (("start", start), ("step", step), ("value", value), ("highest", highest)):
            if not (np.isfinite(number) and number > 0):
                raise ValueError(f"`{label}` must be positive, found {number}")
        if not value / (1 + highest) <= start <= value:
            raise ValueError(f"`start` must lie in [{value / (1 + highest)}, {value}], found {start}")
        self.name = name
        self._start, self._step, self._value, self._highest = start, step, value, highest

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        n = len(campaigns.budget)
        self._base = campaigns.base
        left = np.broadcast_to(plan_shares(campaigns.traffic_shares), (n, campaigns.n_ticks))  # of the money left
        kept = np.cumprod(1.0 - left, axis=1)
        self._plan = campaigns.budget[:, None] * left * np.concatenate((np.ones((n, 1)), kept[:, :-1]), axis=1)
        self._mu = np.full(n, self._value / self._start - 1.0)

    def act(self, view: TickView) -> Float:
        """The multipliers at mu, shape (n,)."""
        if view.tick > 0:
            planned = self._plan[:, view.tick - 1]
            error = np.divide(planned - view.last_cost, planned, out=np.zeros_like(planned), where=planned > 0)
            self._mu = np.clip(self._mu - self._step * np.clip(error, -1.0, 1.0), 0.0, self._highest)
        ratio = np.clip(self._value / (1.0 + self._mu), np.exp(-MAX_LOG_RATIO), np.exp(MAX_LOG_RATIO))
        return np.asarray(self._base * ratio)
