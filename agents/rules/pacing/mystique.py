"""Mystique: steps against the error of the spend and the error of its slope."""

from __future__ import annotations

import numpy as np

from agents.rules.pacing.clock import Float, check_positive, traffic_clock
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.market.pacing import MAX_LOG_RATIO

_BACK_OFF = 0.95  # factor where a day's money is gone
_LEAST_WEIGHT_TIME, _MOST_SPEND_WEIGHT = 0.2, 0.9


class MystiqueBidder(NamedBidder):
    """Moves the multiplier every few ticks by -(w c(spend error) + (1 - w) c(slope error)), each with its sign.

    The spend error is the share of the budget spent beyond plan; the slope error is the last tick's spend beyond its
    plan, over the plan. Plans follow the expected traffic. c rises with the error's size: from 0 up to `largest` for
    the spend, from `smallest` on for the slope. w depends on tau = -(spend error) / (slope error), the time after which
    the spend will be on plan: it is the smaller of 0.9 and 0.2 tau, and 0.5 where the spend leaves the plan. Where the
    share of a day is spent before the day is over, the multiplier falls by 5 % instead. It heeds the budget alone.

    Args:
        start: First multiplier over the worth of a unit of the objective.
        largest, smallest: Bounds of a step, in units of that worth.
        error_scale: Share of the budget at which the step against the spend error is the largest.
        every: Ticks from one step to the next.
        ticks_a_day: Of the daily share; None: the whole episode is one day.
        name: Label in tables.

    Source: R. Stram et al., "Mystique: a budget pacing system for performance optimization in online advertising" (WWW
    2024), as BAT's simulator has it (arXiv 2505.08485): the two errors, their weights, the bounds of a step
    (50 and 5 on a first bid of 300), a step every third hour and the daily back-off. Ours: errors over the budget and
    over the plan, not in currency.
    """

    def __init__(
        self,
        start: float = 1.0,
        *,
        largest: float = 0.17,
        smallest: float = 0.017,
        error_scale: float = 0.05,
        every: int = 3,
        ticks_a_day: int | None = None,
        name: str = "Mystique",
    ) -> None:
        check_positive(start=start, largest=largest, smallest=smallest, error_scale=error_scale, every=every)
        check_positive(ticks_a_day=1 if ticks_a_day is None else ticks_a_day)
        if smallest > largest:
            raise ValueError(f"`smallest` must be at most `largest`, {largest}, found {smallest}")
        self.name = name
        self._start, self._bounds, self._scale = start, (smallest, largest), error_scale
        self._every, self._ticks_a_day = every, ticks_a_day

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        n = len(campaigns.budget)
        self._base, self._budget, self._clock = campaigns.base, campaigns.budget, traffic_clock(campaigns)
        self._a_day = campaigns.n_ticks if self._ticks_a_day is None else self._ticks_a_day
        own_ticks = np.maximum((np.diff(self._clock, axis=1) > 0).sum(axis=1), 1)
        self._day_share = 1.0 / np.ceil(own_ticks / self._a_day)
        self._ratio = np.full(n, self._start)
        self._spent, self._spent_today = np.zeros((2, n))

    def act(self, view: TickView) -> Float:
        """The multipliers of this tick, shape (n,)."""
        if view.tick > 0:
            self._control(view)
        return np.asarray(self._base * self._ratio)

    def _control(self, view: TickView) -> None:
        self._spent += view.last_cost
        self._spent_today += view.last_cost
        is_day_over = view.tick % self._a_day == 0
        if view.tick % self._every == 0:
            is_short = (self._spent_today >= self._budget * self._day_share) & ~np.bool_(is_day_over)
            ratio = np.where(is_short, _BACK_OFF * self._ratio, self._ratio - self._step(view))
            self._ratio = np.clip(ratio, np.exp(-MAX_LOG_RATIO), np.exp(MAX_LOG_RATIO))
        if is_day_over:
            self._spent_today = np.zeros_like(self._spent)

    def _step(self, view: TickView) -> Float:
        """(n,) what the multiplier is lowered by."""
        smallest, largest = self._bounds
        come = self._clock[:, view.tick]
        planned = self._budget * (come - self._clock[:, view.tick - 1])
        spend_error = self._spent / self._budget - come
        slope_error = np.divide(view.last_cost - planned, planned, out=np.zeros_like(planned), where=planned > 0)
        tick_share = np.maximum(planned / self._budget, 1e-12)
        tau = np.divide(-spend_error / tick_share, slope_error, out=np.full_like(come, np.inf), where=slope_error != 0)
        weight = np.where(tau < 0, 0.5, np.minimum(_MOST_SPEND_WEIGHT, _LEAST_WEIGHT_TIME * np.maximum(tau, 0.0)))
        spend_step = largest * np.minimum(1.0, np.abs(spend_error) / self._scale) * np.sign(spend_error)
        slope_step = np.maximum(smallest, 0.1 * largest * np.minimum(1.0, np.abs(slope_error))) * np.sign(slope_error)
        return np.asarray(weight * spend_step + (1.0 - weight) * slope_step)
