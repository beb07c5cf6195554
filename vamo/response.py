"""How outcomes respond to the bid, learned from logs: what another multiplier would have brought in a logged tick.

A log says what one multiplier brought. Within a tick the market is nearly the same for everybody once bids are
measured by its prices: cost per impression, as a share of the least winning cost, and the share of the traffic's
value that is exposed are functions of one number, the mean bid over the least winning cost. Both are fitted as
log-linear splines (generalised linear models with a Poisson likelihood), which have one best fit and no settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

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


def _sold_at_price(data: TrajectoryData) -> Float:
    """What all impressions would cost at the least winning cost."""
    return data.n_impressions * _price(data)


SCALES: dict[str, Callable[[TrajectoryData], Float]] = {
    "cost": _sold_at_price,
    "value": lambda data: data.value_all,
}
"""The outcomes, which are columns of a log, and for each what of a tick it is a share of, (n,)."""

_IN_CURRENCY = ("cost",)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Response:
    """Expected outcomes of a tick as functions of the log of the multiplier.

    Attributes:
        knots: (N_KNOTS,) of the log of the mean bid over the least winning cost.
        curves: For each outcome (N_KNOTS + 2,) intercept, slope and changes of the slope at the knots, of the log of
            its share of its scale.
    """

    knots: Float
    curves: dict[str, Float]

    @classmethod
    def fit(cls, data_sets: Iterable[TrajectoryData]) -> Response:
        """Fits all curves to all ticks with a bid; raises ValueError where there is none."""
        logs = [(data, uncensored(data)) for data in data_sets]
        bid = np.concatenate([(np.log(np.maximum(data.action, _TINY)) + _log_worth(data))[mask] for data, mask in logs])
        if not len(bid):
            raise ValueError("`data_sets` must hold at least 2 ticks of an episode with an action above 0, found none")
        knots = np.quantile(bid, np.linspace(0, 1, N_KNOTS + 2)[1:-1])
        basis = _basis(bid, knots)
        curves = {}
        for name, scale in SCALES.items():
            # money in units of the target CPA, so that no currency weighs more than another
            units = [data.cpa_target if name in _IN_CURRENCY else np.ones(len(data)) for data, _ in logs]
            pairs = [((data[name] / u)[m], (scale(data) / u)[m]) for (data, m), u in zip(logs, units, strict=True)]
            curves[name] = _poisson_fit(basis, *(np.concatenate(part) for part in zip(*pairs, strict=True)))
        return cls(knots=knots, curves=curves)

    def outcomes(self, data: TrajectoryData, log_multiplier: Float) -> dict[str, Float]:
        """Expected outcomes of every tick under each of m multipliers, as if there were no budget.

        Args:
            data: The log, n ticks.
            log_multiplier: (n, m) logs of the multipliers, of currency per conversion.

        Returns:
            Arrays (n, m) by outcome, in the units of the log.
        """
        basis = _basis(log_multiplier + _log_worth(data)[:, None], self.knots)
        return {name: SCALES[name](data)[:, None] * np.exp(basis @ curve) for name, curve in self.curves.items()}


def _price(data: TrajectoryData) -> Float:
    return np.maximum(data.least_winning_cost, _TINY)


def _log_worth(data: TrajectoryData) -> Float:
    """Log of the mean value over the least winning cost, (n,): that of the mean bid for a multiplier of 1."""
    mean_value = data.value_all / np.maximum(data.n_impressions, 1.0)
    return np.log(np.maximum(mean_value, _TINY) / _price(data))


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
