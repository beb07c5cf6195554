"""How outcomes respond to the bid, learned from logs: what another multiplier would have brought in a logged tick.

A log says what one multiplier brought. Within a tick the market is nearly the same for everybody once bids are
measured by its prices: cost per impression, as a share of the least winning cost, and the share of the traffic's
value that is exposed are functions of one number, the mean bid over the least winning cost. Both are fitted as
log-linear splines (generalised linear models with a Poisson likelihood), which have one best fit and no settings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auction_env.data import TrajectoryData
from vamo.relabel import Bool, Float

N_KNOTS = 8
RIDGE = 1e-3  # on standardised coefficients, of a fit whose outcomes sum to 1: for a handful of trajectories
_MAX_STEPS, _TOLERANCE, _LONGEST_STEP = 50, 1e-8, 2.0
_TINY = 1e-12


def uncensored(data: TrajectoryData) -> Bool:
    """(n,) ticks with a bid whose outcome no budget cut short: all with a bid but the last such tick of an episode."""
    active = np.asarray(data.action > 0)
    position = np.flatnonzero(active)
    episode = np.searchsorted(data.episode_starts, position, side="right")
    is_last = np.append(np.diff(episode) > 0, True)[: len(position)]
    active[position[is_last]] = False
    return active


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Response:
    """Expected cost and exposed value of a tick, as functions of the log of the multiplier.

    Attributes:
        knots: (N_KNOTS,) of the log of the mean bid over the least winning cost.
        cost, value: (N_KNOTS + 2,) intercept, slope and changes of the slope at the knots, of the log outcome.
    """

    knots: Float
    cost: Float
    value: Float

    @classmethod
    def fit(cls, data_sets: Iterable[TrajectoryData]) -> Response:
        """Fits both curves to all ticks with a bid; raises ValueError where there is none."""
        rows = [_Rows.of(data, uncensored(data)) for data in data_sets]
        bid = np.concatenate([r.log_action + r.log_worth for r in rows])
        if not len(bid):
            raise ValueError("`data_sets` must hold at least 2 ticks of an episode with an action above 0, found none")
        knots = np.quantile(bid, np.linspace(0, 1, N_KNOTS + 2)[1:-1])
        basis = _basis(bid, knots)
        # outcomes and their scales in units of the target CPA, so that no currency weighs more than another
        cost = _poisson_fit(basis, *(np.concatenate([getattr(r, x) for r in rows]) for x in ("cost", "cost_scale")))
        value = _poisson_fit(basis, *(np.concatenate([getattr(r, x) for r in rows]) for x in ("value", "value_scale")))
        return cls(knots=knots, cost=cost, value=value)

    def outcomes(self, data: TrajectoryData, log_multiplier: Float) -> tuple[Float, Float]:
        """Expected cost (currency) and exposed value of every tick under each of m multipliers, without a budget.

        Args:
            data: The log, n ticks.
            log_multiplier: (n, m) logs of the multipliers, of currency per conversion.

        Returns:
            Two arrays (n, m).
        """
        rows = _Rows.of(data, np.ones(len(data), bool))
        basis = _basis(log_multiplier + rows.log_worth[:, None], self.knots)
        currency = data.cpa_target * rows.cost_scale
        cost, value = np.exp(basis @ self.cost), np.exp(basis @ self.value)
        return currency[:, None] * cost, rows.value_scale[:, None] * value


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the curves need of the chosen ticks of a log; all (n,)."""

    log_action: Float
    log_worth: Float  # log of the mean value over the least winning cost: the mean bid's, for a multiplier of 1
    cost: Float
    cost_scale: Float  # of an impression sold at the least winning cost, times the impressions
    value: Float
    value_scale: Float

    @classmethod
    def of(cls, data: TrajectoryData, mask: NDArray[np.bool_]) -> _Rows:
        n, value_all = data.n_impressions[mask], data.value_all[mask]
        price, base = np.maximum(data.least_winning_cost[mask], _TINY), data.cpa_target[mask]
        worth = np.maximum(value_all / np.maximum(n, 1.0), _TINY) / price
        return cls(
            log_action=np.log(np.maximum(data.action[mask], _TINY)),
            log_worth=np.log(worth),
            cost=data.cost[mask] / base,
            cost_scale=n * price / base,
            value=data.value[mask],
            value_scale=value_all,
        )


def _basis(x: Float, knots: Float) -> Float:
    """Constant, x and its excess over every knot: (..., ) -> (..., N_KNOTS + 2); linear beyond the outer knots."""
    return np.concatenate([np.ones_like(x)[..., None], x[..., None], np.maximum(x[..., None] - knots, 0.0)], axis=-1)


def _poisson_fit(basis: Float, outcome: Float, scale: Float) -> Float:
    """Coefficients w of E[outcome] = scale x exp(basis w), by Newton's method with a ridge on standardised columns."""
    kept = scale > 0
    total = max(outcome[kept].sum(), _TINY)
    x, y, offset = basis[kept, 1:], outcome[kept] / total, np.log(scale[kept] / total)
    mean, std = x.mean(axis=0), x.std(axis=0)
    std = np.where(std > _TINY, std, 1.0)
    x = np.concatenate([np.ones((len(x), 1)), (x - mean) / std], axis=1)
    penalty = np.full(x.shape[1], RIDGE)
    penalty[0] = 0.0
    w = np.zeros(x.shape[1])
    w[0] = np.log(max(y.sum(), _TINY) / (scale[kept] / total).sum())
    for _ in range(_MAX_STEPS):
        expected = np.exp(np.minimum(x @ w + offset, 30.0))
        gradient = x.T @ (y - expected) - penalty * w
        hessian = (x * expected[:, None]).T @ x + np.diag(penalty + _TINY)
        step = np.linalg.solve(hessian, gradient)
        longest = float(np.abs(step).max())
        w = w + step * min(1.0, _LONGEST_STEP / max(longest, _TINY))
        if longest < _TOLERANCE:
            break
    slopes = w[1:] / std
    return np.concatenate([[w[0] - slopes @ mean], slopes])
