"""BROI: the larger of two pacing multipliers, for the budget and for the return, by optimistic subgradient descent."""

from __future__ import annotations

import numpy as np

from agents.rules.cost_ratios import CostLimits
from agents.rules.pacing.clock import Float, check_positive
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.market.pacing import plan_shares


class BroiBidder(NamedBidder):
    """Bids `value` x worth / (1 + mu), with mu the larger of a multiplier for the budget and one for the return.

    After a tick each moves by its step times (2 g - g before), where g is by how much the tick broke its constraint.
    For the budget g is (spent - planned) / planned, and the plan follows the traffic and the money left. For the
    tightest cost limit it is (spent - cap x gained) / planned. g is clipped to [-1, 1]. The multiplier of the budget
    stays within 0 and `highest`, that of the return between 0 and the one that bids the cap.

    Args:
        start: First multiplier over the worth of a unit; at most `value`.
        budget_step, return_step: Step sizes.
        value: Bid at mu = 0 over the worth of a unit.
        highest: Of the budget's mu.
        name: Label in tables.

    Source: B. Lucier, S. Pattathil, A. Slivkins, M. Zhang, "Autobidders with budget and ROI constraints: efficiency,
    regret, and pacing dynamics" (arXiv 2301.13306): the larger of both multipliers and their clipped gradient steps.
    The optimistic step (2 g - g before) is that of BAT's implementation (arXiv 2505.08485). Ours moves once a tick and
    not after each auction, in units of the tick's plan.
    """

    def __init__(
        self,
        start: float = 1.0,
        *,
        budget_step: float = 0.15,
        return_step: float = 0.15,
        value: float = 2.0,
        highest: float = 20.0,
        name: str = "BROI",
    ) -> None:
        check_positive(start=start, budget_step=budget_step, return_step=return_step, value=value, highest=highest)
        if not value / (1 + highest) <= start <= value:
            raise ValueError(f"`start` must lie in [{value / (1 + highest)}, {value}], found {start}")
        self.name = name
        self._start, self._value, self._highest = start, value, highest
        self._steps = np.array([[budget_step], [return_step]])

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        n = len(campaigns.budget)
        self._base, self._limits = campaigns.base, CostLimits(campaigns)
        self._shares = np.broadcast_to(plan_shares(campaigns.traffic_shares), (n, campaigns.n_ticks))
        self._cap = np.where(self._limits.is_limited, self._limits.cap, 0.0)
        at_cap = np.divide(self._value * self._base, self._cap, out=np.ones(n), where=self._limits.is_limited) - 1.0
        self._most = np.stack((np.full(n, self._highest), np.clip(at_cap, 0.0, self._highest)))
        first = np.full((2, n), self._value / self._start - 1.0)
        self._mu = np.minimum(first, self._most)  # (2, n): of the budget, of the return
        self._last_error = np.zeros((2, n))

    def act(self, view: TickView) -> Float:
        """The multipliers of this tick, shape (n,)."""
        if view.tick > 0:
            self._control(view)
        return np.asarray(self._base * self._value / (1.0 + self._mu.max(axis=0)))

    def _control(self, view: TickView) -> None:
        planned = (view.budget_left + view.last_cost) * self._shares[:, view.tick - 1]
        allowed = np.where(self._limits.is_limited, self._cap * self._limits.gained(view), view.last_cost)
        beyond = np.stack((view.last_cost - planned, view.last_cost - allowed))
        error = np.divide(beyond, planned, out=np.zeros_like(beyond), where=planned > 0).clip(-1.0, 1.0)
        self._mu = np.clip(self._mu + self._steps * (2.0 * error - self._last_error), 0.0, self._most)
        self._last_error = error
