"""PID pacing of a budget, with a guard on the cost per conversion: the law, for any number of bidders at once.

The scripted competitors of the environment and the PID bidder of the baselines run the same code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.kernels.step.pacing import pace

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


def plan_shares(expected_traffic: ArrayLike) -> Float:
    """A tick's plan: its share of the traffic still to come, which is its share of the money still there.

    Args:
        expected_traffic: (..., n_ticks) expected share of the impressions of each tick.
    """
    share = np.asarray(expected_traffic, np.float64)
    to_come = np.cumsum(share[..., ::-1], axis=-1)[..., ::-1]
    return np.divide(share, to_come, out=np.ones_like(share), where=to_come > 0)


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
        self._shape = np.shape(base)
        self._limit, left = self._flat(cpa_limit), self._flat(budget).copy()
        self._scale = np.stack((self._flat(base), self._limit))
        plan = plan_shares(expected_traffic)
        n_ticks = plan.shape[-1]
        by_tick = plan[:, None] if plan.ndim == 1 else np.stack([self._flat(plan[..., t]) for t in range(n_ticks)])
        self._share = np.ascontiguousarray(by_tick)  # (n_ticks, n) or, of all alike, (n_ticks, 1)
        self._gains = np.array([gains.p, gains.i, gains.d, gains.cpa_p, gains.cpa_i])
        sum_error, last_error, spent, gained, sum_cpa_error = np.zeros((5, len(left)))
        self._state = (left, sum_error, last_error, spent, gained, sum_cpa_error)

    def multipliers(self, tick: int, *, last_cost: ArrayLike, last_expected_conversions: ArrayLike) -> Float:
        """Multipliers for `tick`, given cost and predicted conversions of the tick before (0 at tick 0)."""
        factor = np.empty_like(self._scale)
        pace(
            tick == 0, self._share[max(tick - 1, 0)], self._limit, self._flat(last_cost),
            self._flat(last_expected_conversions), self._gains, MAX_LOG_RATIO, *self._state, factor,
        )  # fmt: skip
        np.exp(factor, out=factor)  # in NumPy: compiled exponentials differ in the last bit
        factor *= self._scale
        multipliers: Float = np.minimum(factor[0], factor[1]).reshape(self._shape)
        return multipliers

    def _flat(self, given: ArrayLike) -> Float:
        """`given` broadcast to the bidders' shape, as a vector."""
        array = np.asarray(given, np.float64)
        return (array if array.shape == self._shape else np.broadcast_to(array, self._shape)).ravel()
