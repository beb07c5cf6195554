"""Dual mirror descent: prices for money and for cost limits, raised by what a tick used and lowered by what it left.

The best bids under a budget B and a limit on the cost per unit, maximise sum x v subject to sum x c <= B and
sum x (c - cap v) <= 0 over x in [0, 1], are those of a second-price bidder whose multiplier is
(1 + lambda cap) / (mu + lambda), with mu and lambda the constraints' dual prices. With the surplus sum x (v - c) as
objective it is (1 + lambda cap) / (1 + mu + lambda): the true value where nothing binds. Nobody knows the prices
beforehand; online mirror descent on the dual learns them from what each period used.
"""

from __future__ import annotations

import numpy as np

from agents.rules.cost_ratios import CostLimits, Float
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.market.pacing import MAX_LOG_RATIO, plan_shares
from auction_env.tasks import wants_surplus

LOWEST_LOG_PRICE = -4.0  # a price that low binds nothing, and finds its way back within an episode


class DualBidder(NamedBidder):
    """Multiplicative updates (mirror descent with the negative entropy) of both dual prices, tick by tick.

    log mu rises by `budget_step` x (spent - planned) / planned, where the plan of a tick is its share of the expected
    traffic to come times the money left; log lambda by `ratio_step` x (spent - cap x gained) / usual spend, which is
    the mean of the ticks so far: where the limit binds, the plan is money that cannot be spent. Both errors are
    clipped to [-1, 1], since a tick of a small market may spend many times its plan. Steps of the k-th update are
    divided by k ** `decay`: 0.5 is the theory's rate in a stationary market, 0 follows one that changes.

    Several limits (CPA and ROAS, say) have one price: that of the limit which the tick kept worst.

    Args:
        start: First multiplier over the worth of a unit of the objective.
        budget_step, ratio_step: Step sizes.
        decay: Exponent of the steps' decrease, in [0, 1].
        name: Label in tables.

    Source: S. Balseiro, H. Lu, V. Mirrokni, "The best of many worlds: dual mirror descent for online allocation
    problems"
    (Operations Research 71, 2023); for ratios, Z. Feng, S. Padmanabhan, D. Wang, "Online bidding algorithms for
    return-on-spend constrained advertisers" (WWW 2023, arXiv 2208.13713), algorithm 1. Theirs update after every
    impression and from a fixed plan; here once a tick, from a plan that follows the money left. The additive step of
    Balseiro and Gur (2019) is `agents.rules.pacing.adaptive_pacing`.
    """

    def __init__(
        self,
        start: float = 1.0,
        *,
        budget_step: float = 0.15,
        ratio_step: float = 0.3,
        decay: float = 0.0,
        name: str = "dual",
    ) -> None:
        for label, value in (("start", start), ("budget_step", budget_step), ("ratio_step", ratio_step)):
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"`{label}` must be positive, found {value}")
        if not 0 <= decay <= 1:
            raise ValueError(f"`decay` must lie in [0, 1], found {decay}")
        self.name = name
        self._start, self._steps, self._decay = start, (budget_step, ratio_step), decay

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        self._base, self._limits = campaigns.base, CostLimits(campaigns)
        self._shares = np.broadcast_to(
            plan_shares(campaigns.traffic_shares), (len(campaigns.budget), campaigns.n_ticks)
        )
        self._spent = np.zeros(len(campaigns.budget))
        self._own_price = wants_surplus(campaigns.requirements).astype(np.float64)  # of money, in the objective itself
        self._log_mu, self._log_lambda = first_log_prices(
            self._start, self._cap_ratio, self._limits.is_limited, self._own_price
        )

    def act(self, view: TickView) -> Float:
        """The multipliers at the prices so far, shape (n,)."""
        if view.tick > 0:
            self._update(view)
        money_price = self._own_price + np.exp(self._log_mu)
        ratio_price = np.where(self._limits.is_limited, np.exp(self._log_lambda), 0.0)
        return self._base * multiplier_ratio(money_price, ratio_price, self._cap_ratio)

    def _update(self, view: TickView) -> None:
        self._spent += view.last_cost
        planned = (view.budget_left + view.last_cost) * self._shares[:, view.tick - 1]
        excess = view.last_cost - planned
        has_limit = self._limits.is_limited
        over_limit = view.last_cost - np.where(has_limit, self._limits.cap, 0.0) * self._limits.gained(view)
        budget_step, ratio_step = (step / view.tick**self._decay for step in self._steps)
        self._log_mu = _clip(self._log_mu + budget_step * _relative(excess, planned))
        self._log_lambda = _clip(self._log_lambda + ratio_step * _relative(over_limit, self._spent / view.tick))

    @property
    def _cap_ratio(self) -> Float:
        """(n,) cost cap over the worth of a unit; 0 without a limit, whose price is 0 as well."""
        return np.where(self._limits.is_limited, self._limits.cap, 0.0) / self._base


def multiplier_ratio(mu: Float, ratio_price: Float, cap_ratio: Float) -> Float:
    """(n,) the best multiplier over the worth of a unit, at the dual prices of the money and of the cost limit."""
    ratio = (1.0 + ratio_price * cap_ratio) / (mu + ratio_price)
    return np.clip(ratio, np.exp(-MAX_LOG_RATIO), np.exp(MAX_LOG_RATIO))


def first_log_prices(
    start: float, cap_ratio: Float, is_limited: np.ndarray, own_price: Float | float = 0.0
) -> tuple[Float, Float]:
    """Logs of the prices (mu, lambda), (n,) each, at which the multiplier is `start`; lambda starts at 1.

    With a limit no multiplier above 1 + cap ratio has a positive mu; the nearest is taken. `own_price` is what the
    objective itself takes for money: 1 in a surplus, else 0.
    """
    mu = np.where(is_limited, (1.0 + cap_ratio) / start - 1.0, 1.0 / start) - own_price
    return _clip(np.log(np.maximum(mu, np.exp(LOWEST_LOG_PRICE)))), np.zeros(len(cap_ratio))


def _relative(error: Float, planned: Float) -> Float:
    return np.clip(np.divide(error, planned, out=np.zeros_like(error), where=planned > 0), -1.0, 1.0)


def _clip(log_price: Float) -> Float:
    return np.clip(log_price, LOWEST_LOG_PRICE, MAX_LOG_RATIO)
