"""PID pacing of a budget, with a guard on the cost per conversion: the law, for any number of bidders at once.

The scripted competitors of the environment and the PID bidder of the baselines run the same code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]

MAX_LOG_RATIO = 3.0  # the multiplier stays within exp(+-3) of its base


@dataclass(frozen=True, slots=True, kw_only=True)
class PacingGains:
    """Gains on relative errors, each clipped to [-1, 1]; the control is the log of the multiplier.

    Attributes:
        p, i, d: Budget pacing: error = (planned - spent) / planned of the last tick.
        cpa_p, cpa_i: CPA guard: error = (limit - realised) / limit over the episode so far.
    """

    p: float = 0.05
    i: float = 0.15
    d: float = 0.0
    cpa_p: float = 0.5
    cpa_i: float = 0.02

    def __post_init__(self) -> None:
        for name in ("p", "i", "d", "cpa_p", "cpa_i"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"gain `{name}` must be finite and not negative, found {value}")


class Pacer:
    """PID pacing of bidders of any array shape.

    log m = log base + p e + i sum(e) + d (e - previous e), where e is the pacing error; with a CPA limit, m is
    at most the limit times exp(cpa_p e' + cpa_i sum(e')), where e' is the CPA's error. The realised CPA uses
    predicted conversions, which a bidder knows at once and which are far less noisy than sampled ones.
    """

    def __init__(
        self,
        *,
        base: ArrayLike,
        cpa_limit: ArrayLike,
        budget: ArrayLike,
        expected_traffic: ArrayLike,
        gains: PacingGains,
    ) -> None:
        """Starts an episode.

        Args:
            base: First multiplier, any shape.
            cpa_limit: Limit on the CPA, broadcast to `base`; infinite where there is none.
            budget: Currency, broadcast to `base`.
            expected_traffic: (..., n_ticks) expected share of the impressions of each tick; the leading axes, if
                any, are broadcast to `base`.
            gains: The controller's gains.
        """
        self._base: Float = np.asarray(base, np.float64)
        self._limit = np.broadcast_to(np.asarray(cpa_limit, np.float64), self._base.shape)
        self._left = np.broadcast_to(np.asarray(budget, np.float64), self._base.shape).copy()
        share = np.asarray(expected_traffic, np.float64)
        to_come = np.cumsum(share[..., ::-1], axis=-1)[..., ::-1]
        # a tick's plan: its share of the traffic still to come, times the budget still there
        self._plan_share = np.divide(share, to_come, out=np.ones_like(share), where=to_come > 0)
        self._gains = gains
        self._spent: Float = np.zeros(self._base.shape)
        self._gained: Float = np.zeros(self._base.shape)
        self._sum_error = np.zeros(self._base.shape)
        self._error: Float = np.zeros(self._base.shape)
        self._sum_cpa_error = np.zeros(self._base.shape)

    def multipliers(self, tick: int, *, last_cost: ArrayLike, last_value: ArrayLike) -> Float:
        """Multipliers for `tick`, given cost and predicted conversions of the tick before (0 at tick 0)."""
        g = self._gains
        control = np.zeros(self._base.shape)
        if tick > 0:
            last_cost = np.asarray(last_cost, np.float64)
            planned = self._left * self._plan_share[..., tick - 1]
            with np.errstate(divide="ignore", invalid="ignore"):
                error = np.where(planned > 0, np.clip((planned - last_cost) / planned, -1.0, 1.0), 0.0)
            self._left = self._left - last_cost
            self._sum_error += error
            control = g.p * error + g.i * self._sum_error + g.d * (error - self._error)
            self._error = error
        m = self._base * np.exp(np.clip(control, -MAX_LOG_RATIO, MAX_LOG_RATIO))
        return np.minimum(m, self._cpa_cap(tick, last_cost, last_value))

    def _cpa_cap(self, tick: int, last_cost: ArrayLike, last_value: ArrayLike) -> Float:
        g = self._gains
        self._spent = self._spent + np.asarray(last_cost, np.float64)
        self._gained = self._gained + np.asarray(last_value, np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = 1.0 - self._spent / (self._gained * self._limit)
        error = np.where(self._gained > 0, np.clip(error, -1.0, 1.0), 0.0)
        self._sum_cpa_error += error
        guard = g.cpa_p * error + g.cpa_i * self._sum_cpa_error
        return np.asarray(self._limit * np.exp(np.clip(guard, -MAX_LOG_RATIO, MAX_LOG_RATIO)))
