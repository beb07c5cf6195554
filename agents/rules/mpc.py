"""Model-predictive pacing: learn how spend and value answer the multiplier, then bid what keeps every limit to the end.

Within a campaign, what a tick spends and gains per unit of value on offer follows the multiplier m nearly as a power:
log (spend / offered) = a + b log m. Both lines are Bayesian linear regressions on the campaign's own ticks, with a
prior which logs may give. At every tick the multiplier is the largest that, held until the end of the episode, spends
no more than the money left and keeps the cost limits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.rules.cost_ratios import CostLimits, Float, largest_within
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.control.observation import FEATURE_NAMES
from auction_env.data import TrajectoryData
from auction_env.market.pacing import MAX_LOG_RATIO
from auction_env.tasks import BASES, QUANTITIES, wanted_basis

_LOG_RATIOS = np.linspace(-MAX_LOG_RATIO, MAX_LOG_RATIO, 601)  # of the multiplier over the worth of a unit
_LOWEST_SLOPE = 0.1  # to bid more never spends less
_TICK_VARIANCE = 0.05  # of the logs between ticks, beside that of few exposures


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsePrior:
    """What is believed of the response before the first tick: log outcome = intercept + slope log (m / worth).

    Attributes:
        spend, gain: (intercept, slope) of spend per worth on offer, and of the amount gained per amount on offer.
        intercept_sd, slope_sd: How far a campaign may be from them.
    """

    spend: tuple[float, float] = (-1.7, 1.8)
    gain: tuple[float, float] = (-1.5, 1.1)
    intercept_sd: float = 1.5
    slope_sd: float = 0.5

    def __post_init__(self) -> None:
        for name in ("intercept_sd", "slope_sd"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"`{name}` must be positive, found {getattr(self, name)}")
        if not np.all(np.isfinite((*self.spend, *self.gain))):
            raise ValueError(f"`spend` and `gain` must be finite, found {self.spend} and {self.gain}")

    @classmethod
    def fit(cls, data: TrajectoryData) -> ResponsePrior:
        """Lines through all ticks of a log of one task with spend; ValueError if they are fewer than 10.

        Ticks weigh by their exposures, as in a campaign's own regression: else small ones, of which those that spent
        nothing are left out, would make the response look flat. `intercept_sd` is the residuals' deviation.
        """
        (basis,) = {task.basis for task in data.tasks}
        column = QUANTITIES[basis]
        worth = data.tasks[0].unit_worth(data.targets)
        offered, gained = data[column.offered], data[column.expected]
        kept = (data.action > 0) & (data.cost > 0) & (gained > 0) & (offered > 0)
        if kept.sum() < 10:
            raise ValueError(f"`data` must have at least 10 ticks with spend, found {int(kept.sum())}")
        x = np.log(data.action[kept] / worth[kept])
        design = np.stack((np.ones_like(x), x), axis=1)
        root = np.sqrt(_weight(data.exposures[kept]))
        lines, residuals = [], []
        for outcome in (data.cost[kept] / (offered * worth)[kept], gained[kept] / offered[kept]):
            line, *_ = np.linalg.lstsq(design * root[:, None], np.log(outcome) * root, rcond=None)
            lines.append((float(line[0]), float(line[1])))
            squares = (np.log(outcome) - design @ line) ** 2
            residuals.append(float(np.sqrt(np.average(squares, weights=root**2))))
        return cls(spend=lines[0], gain=lines[1], intercept_sd=max(*residuals, 1e-3))


class MpcBidder(NamedBidder):
    """Bids the largest multiplier that by the learned response keeps budget and cost limits to the end of the episode.

    Args:
        start: Multiplier of the first tick over the worth of a unit of the objective.
        prior: What is believed of the response before; from logs with `ResponsePrior.fit`.
        forgetting: Weight of a tick against the next one in the regressions, in (0, 1].
        margin: Share of the money left that is planned with.
        max_step: Largest change of the log multiplier from a tick to the next.
        name: Label in tables.

    Source: receding-horizon control as in any textbook (J. Rawlings, D. Mayne, M. Diehl, "Model predictive control",
    2017); for ads with learned bid-to-spend curves, arXiv 2603.07721. Here the curves are power laws, of two numbers
    each, which few ticks can tell.
    """

    def __init__(
        self,
        start: float = 1.0,
        prior: ResponsePrior | None = None,
        *,
        forgetting: float = 0.9,
        margin: float = 1.0,
        max_step: float = 0.3,
        name: str = "MPC",
    ) -> None:
        for label, value in (("start", start), ("margin", margin), ("max_step", max_step)):
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"`{label}` must be positive, found {value}")
        if not 0 < forgetting <= 1:
            raise ValueError(f"`forgetting` must lie in (0, 1], found {forgetting}")
        self.name = name
        self._start, self._prior, self._forgetting = start, prior or ResponsePrior(), forgetting
        self._margin, self._max_step = margin, max_step

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        n = len(campaigns.budget)
        self._basis = wanted_basis(campaigns.requirements)
        self._amounts = [f"last_{QUANTITIES[basis].expected}" for basis in BASES]
        self._base, self._limits = campaigns.base, CostLimits(campaigns)
        self._shares = np.broadcast_to(campaigns.traffic_shares, (n, campaigns.n_ticks))
        self._spend, self._gain = (
            _Line(n, line, self._prior, self._forgetting) for line in (self._prior.spend, self._prior.gain)
        )
        self._spent, self._gained, self._seen, self._mean_sum = np.zeros((4, n))
        self._log_ratio = np.full(n, np.log(self._start))
        self._offered = np.zeros(n)

    def act(self, view: TickView) -> Float:
        """The multipliers for this tick, shape (n,)."""
        volume = view.features[:, FEATURE_NAMES.index("volume_now")]
        mean = view.predicted_mean[np.arange(len(volume)), self._basis]
        if view.tick > 0:
            self._learn(view)
        offered = volume * mean
        self._seen += volume
        self._mean_sum += offered
        if view.tick > 0:
            choice = self._choose(view, offered + self._to_come(view.tick))
            self._log_ratio = np.clip(choice, self._log_ratio - self._max_step, self._log_ratio + self._max_step)
        self._offered = offered
        multiplier: Float = self._base * np.exp(self._log_ratio)
        return multiplier

    def _learn(self, view: TickView) -> None:
        gained = self._limits.gained(view)
        self._spent += view.last_cost
        self._gained += gained
        # without a limit the line of the gain decides nothing; it learns the objective's amount
        amounts = np.stack([getattr(view, name) for name in self._amounts], axis=1)
        gain = np.where(self._limits.is_limited, gained, amounts[np.arange(len(gained)), self._basis])
        is_whole = view.budget_left > 0  # a tick in which the money ran out says nothing about its multiplier
        self._spend.add(self._log_ratio, view.last_cost, self._offered * self._base, view.last_exposures, is_whole)
        self._gain.add(self._log_ratio, gain, self._offered, view.last_exposures, is_whole)

    def _to_come(self, tick: int) -> Float:
        """(n,) value that the ticks after this one will offer, as the expected traffic foretells from those so far."""
        so_far = self._shares[:, : tick + 1].sum(axis=1)
        share = self._shares[:, tick + 1 :].sum(axis=1)
        offered: Float = np.divide(self._mean_sum * share, so_far, out=np.zeros_like(so_far), where=so_far > 0)
        return offered

    def _choose(self, view: TickView, offered: Float) -> Float:
        """(n,) the largest log ratio that keeps budget and limits if held over `offered` value."""
        spend = np.exp(self._spend.at(_LOG_RATIOS)) * (offered * self._base)[:, None]
        gain = np.exp(self._gain.at(_LOG_RATIOS)) * offered[:, None]
        money = self._margin * view.budget_left
        chosen = largest_within(spend, gain, money=money, spent=self._spent, gained=self._gained, cap=self._limits.cap)
        return _LOG_RATIOS[chosen]


class _Line:
    """log outcome = intercept + slope x for n campaigns: Bayesian linear regression with forgetting."""

    def __init__(self, n: int, line: tuple[float, float], prior: ResponsePrior, forgetting: float) -> None:
        self._precision = np.diag([prior.intercept_sd**-2, prior.slope_sd**-2])
        self._pull = self._precision @ np.asarray(line)
        self._forgetting = forgetting
        self._moments, self._products = np.zeros((n, 2, 2)), np.zeros((n, 2))

    def add(self, x: Float, outcome: Float, scale: Float, exposures: Float, mask: np.ndarray) -> None:
        """Adds a tick, (n,) each: one without outcome, or outside `mask`, teaches nothing."""
        kept = mask & (outcome > 0) & (scale > 0) & (exposures > 0)
        y = np.log(np.divide(outcome, scale, out=np.ones_like(outcome), where=kept))
        weight = kept * _weight(exposures)
        row = np.stack((np.ones_like(x), x), axis=1)
        self._moments = self._forgetting * self._moments + weight[:, None, None] * row[:, :, None] * row[:, None, :]
        self._products = self._forgetting * self._products + (weight * y)[:, None] * row

    def at(self, x: Float) -> Float:
        """(n, k) the expected log outcomes at k points."""
        right = (self._products + self._pull)[..., None]
        intercept, slope = np.linalg.solve(self._moments + self._precision, right)[..., 0].T
        return np.asarray(intercept[:, None] + np.maximum(slope, _LOWEST_SLOPE)[:, None] * x)


def _weight(exposures: Float) -> Float:
    """Weights of ticks in a regression: the log of a sum over k exposures has a variance of about 1 / k."""
    weight: Float = 1.0 / (1.0 / np.maximum(exposures, 1.0) + _TICK_VARIANCE)
    return weight
