"""M-PID: two dual prices controlled by two PID controllers, mixed by a linear model of what each price does to both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.rules.cost_ratios import CostLimits, Float
from agents.rules.dual import LOWEST_LOG_PRICE, first_log_prices, multiplier_ratio
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.market.pacing import MAX_LOG_RATIO, plan_shares

_UNDERSPENT = 0.01  # weight of a squared error of money left over, against that of a limit broken
_MIX = np.linspace(0.0, 1.0, 5)
_MIXES = np.stack(np.meshgrid(_MIX, _MIX, indexing="ij"), axis=-1).reshape(-1, 2)  # (25, 2) pairs (alpha, beta)


@dataclass(frozen=True, slots=True, kw_only=True)
class MpidGains:
    """Gains on relative errors, each clipped to [-1, 1]; the control is the log of a price.

    Attributes:
        p, i, d: Price of the money: error = (planned - spent) / planned of the last tick.
        ratio_p, ratio_i: Price of the cost limit: error = (limit - realised) / limit over the episode so far.
        forgetting: Weight of a tick against the next one in the linear model, in (0, 1].
        prior: Weight of the model's prior, in ticks.
    """

    p: float = 0.05
    i: float = 0.15
    d: float = 0.0
    ratio_p: float = 0.5
    ratio_i: float = 0.05
    forgetting: float = 0.95
    prior: float = 1.0

    def __post_init__(self) -> None:
        for name in ("p", "i", "d", "ratio_p", "ratio_i"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"gain `{name}` must be finite and not negative, found {value}")
        if not 0 < self.forgetting <= 1:
            raise ValueError(f"`forgetting` must lie in (0, 1], found {self.forgetting}")
        if not (np.isfinite(self.prior) and self.prior > 0):
            raise ValueError(f"`prior` must be positive, found {self.prior}")


class MpidBidder(NamedBidder):
    """Bids by the optimal formula (1 + q cap) / (p + q); p follows the spend, q the cost per unit.

    Two PID controllers give the controls u_p and u_q. Since each price moves spend and cost at once, what is applied
    is a mix, alpha u_p + (1 - alpha) u_q on log p and (1 - beta) u_p + beta u_q on log q. A linear model
    d(log spend, log cost per unit) = X d(log p, log q), learned by recursive least squares within the campaign,
    foretells both for each mix on a grid, and the mix with the smallest squared errors is taken. Before a campaign
    has shown anything, X is what the formula says at elasticities of 2 (spend) and 1 (cost per unit) of the
    multiplier. Without a cost limit q is 0, and one PID controls p.

    Args:
        start: First multiplier over the worth of a unit of the objective.
        gains: Gains of the controllers.
        name: Label in tables.

    Source: X. Yang et al., "Bid optimization by multivariable control in display advertising" (KDD 2019, arXiv
    1905.10928). The paper's: the bid CTR x (CVR + q C) / (p + q) of the linear programme; a PID for each price; the
    actuator p(t) = p(0) exp(-u_p(t)), and so for q; the mix of the controls by alpha and beta; a plan that spreads the
    money left over the traffic to come; and a linear model of what the prices do to spend and CPC. Ours:

    - one amount: theirs bids on conversions and on the clicks of the limit, here a bid is proportional to the
      objective's amount, so the limit counts in its units (`agents.rules.cost_ratios`);
    - errors relative to their references and clipped; theirs are in currency;
    - the model in logarithms, learned within the campaign with a prior, and the choice of the mix on a grid at every
      tick, to be below the limit no error and money left over a small one, since where the limit binds the budget
      cannot be spent. How the paper fits its model and picks alpha and beta we could not read in its text; a public
      reimplementation takes both as fixed numbers.
    - p(0) and q(0) from `start`; that reimplementation solves the linear programme on a past day.
    """

    def __init__(self, start: float = 1.0, gains: MpidGains | None = None, *, name: str = "M-PID") -> None:
        if not (np.isfinite(start) and start > 0):
            raise ValueError(f"`start` must be positive, found {start}")
        self.name = name
        self._start, self._gains = start, gains or MpidGains()

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        n = len(campaigns.budget)
        self._base, self._limits = campaigns.base, CostLimits(campaigns)
        has_limit = self._limits.is_limited
        self._cap = np.where(has_limit, self._limits.cap, 0.0)
        self._shares = np.broadcast_to(plan_shares(campaigns.traffic_shares), (n, campaigns.n_ticks))
        self._first = np.stack(first_log_prices(self._start, self._cap / self._base, has_limit), axis=1)  # (n, 2)
        self._log_price = self._first.copy()
        self._sum_error, self._last_error = np.zeros((2, n, 2))
        self._spent, self._gained = np.zeros((2, n))
        self._model = LinearModel(_prior_effects(self._log_price, self._cap / self._base), self._gains)
        self._last_move = np.zeros((n, 2))
        self._last_level: Float | None = None

    def act(self, view: TickView) -> Float:
        """The multipliers at the prices so far, shape (n,)."""
        if view.tick > 0:
            self._control(view)
        price = np.exp(self._log_price)
        return self._base * multiplier_ratio(
            price[:, 0], np.where(self._limits.is_limited, price[:, 1], 0.0), self._cap / self._base
        )

    def _control(self, view: TickView) -> None:
        gained = self._limits.gained(view)
        self._spent += view.last_cost
        self._gained += gained
        planned = (view.budget_left + view.last_cost) * self._shares[:, view.tick - 1]
        level = np.stack(  # of the tick: logs of spend over plan, and of cost per unit over the limit
            (_log_ratio(view.last_cost, planned), _log_ratio(view.last_cost, self._cap * gained)), axis=1
        )
        if self._last_level is not None:
            self._model.update(self._last_move, level - self._last_level)
        self._last_level = level
        control = self._controls(planned, view.last_cost)
        overall = np.stack((level[:, 0], _log_ratio(self._spent, self._cap * self._gained)), axis=1)
        self._move(control, overall)

    def _controls(self, planned: Float, cost: Float) -> Float:
        """(n, 2) outputs of the two controllers; negative where the price must rise."""
        gains, allowed = self._gains, self._cap * self._gained
        error = np.stack(
            (
                np.divide(planned - cost, planned, out=np.zeros_like(cost), where=planned > 0),
                np.divide(allowed - self._spent, allowed, out=np.zeros_like(cost), where=allowed > 0),
            ),
            axis=1,
        ).clip(-1.0, 1.0)
        self._sum_error += error
        change, self._last_error = error - self._last_error, error
        return error * (gains.p, gains.ratio_p) + self._sum_error * (gains.i, gains.ratio_i) + change * (gains.d, 0.0)

    def _move(self, control: Float, level: Float) -> None:
        """Sets the prices to the mix of the controls whose foretold errors are smallest."""
        alpha, beta = _MIXES.T
        u_p, u_q = control[:, :1], control[:, 1:]
        mixed = np.stack((alpha * u_p + (1 - alpha) * u_q, (1 - beta) * u_p + beta * u_q), axis=2)  # (n, 25, 2)
        candidates = np.clip(self._first[:, None] - mixed, LOWEST_LOG_PRICE, MAX_LOG_RATIO)
        foretold = level[:, None] + self._model.changes(candidates - self._log_price[:, None])
        over, under = np.maximum(foretold, 0.0), np.minimum(foretold[..., 0], 0.0)
        loss = (over**2).sum(axis=2) + _UNDERSPENT * under**2
        chosen = np.where(self._limits.is_limited, loss.argmin(axis=1), len(_MIXES) - 1)  # the last: unmixed
        target = candidates[np.arange(len(chosen)), chosen]
        self._last_move = target - self._log_price
        self._log_price = target


class LinearModel:
    """d level = X d price for n campaigns, by regularised least squares with forgetting.

    Args:
        prior: (n, 2, 2) X before any data.
        gains: Its `forgetting` and the weight of the prior.
    """

    def __init__(self, prior: Float, gains: MpidGains) -> None:
        self._forgetting = gains.forgetting
        self._ridge = gains.prior * 0.01 * np.eye(2)  # moves of about 0.1 in the log price
        self._prior = prior
        self._moments = np.zeros((len(prior), 2, 2))  # sum of move move'
        self._products = np.zeros((len(prior), 2, 2))  # sum of level move'

    def update(self, move: Float, change: Float) -> None:
        """Adds a tick: moves of the log prices and changes of the levels, (n, 2) each."""
        self._moments = self._forgetting * self._moments + move[:, :, None] * move[:, None, :]
        self._products = self._forgetting * self._products + change[:, :, None] * move[:, None, :]

    @property
    def effects(self) -> Float:
        """(n, 2, 2) X."""
        right = self._products + self._prior @ self._ridge
        return np.asarray(np.linalg.solve(self._moments + self._ridge, right.transpose(0, 2, 1)).transpose(0, 2, 1))

    def changes(self, moves: Float) -> Float:
        """Foretold changes of the levels for moves (n, k, 2)."""
        return np.asarray(moves @ self.effects.transpose(0, 2, 1))


def _prior_effects(log_price: Float, cap_ratio: Float) -> Float:
    """(n, 2, 2) derivative of (log spend, log cost per unit) to the log prices, by the bidding formula."""
    p, q = np.exp(log_price).T
    to_multiplier = np.stack((-p / (p + q), q * cap_ratio / (1 + q * cap_ratio) - q / (p + q)), axis=1)
    elasticity = np.array([[2.0], [1.0]])
    effects: Float = elasticity * to_multiplier[:, None, :]
    return effects


def _log_ratio(amount: Float, reference: Float) -> Float:
    """log(amount / reference), within +-1; 0 where either is 0."""
    both = (amount > 0) & (reference > 0)
    ratio = np.divide(amount, reference, out=np.ones_like(amount), where=both)
    clipped: Float = np.clip(np.log(ratio), -1.0, 1.0)
    return clipped
