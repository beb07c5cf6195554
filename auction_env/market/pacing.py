"""Laws of a multiplier: PID pacing of a budget with a guard on the cost per conversion, and schedules fitted to logs.

The scripted competitors of the environment and the PID bidder of the baselines run the same pacing, for any number of
bidders at once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.kernels.step.pacing import LOG_RATIO, N_ROWS, RATIO, SCALE, pace, scale_and_cap

Float = NDArray[np.float64]

MAX_LOG_RATIO = 3.0  # the multiplier stays within exp(+-3) of its base
MIN_PACE, MAX_PACE = 0.05, 2.0  # money left over time left: beyond, the reaction is that at the bound
_CURVES = ("level", "money_reaction", "value_reaction")  # fields of a `Schedule`


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

    Returns:
        The plans, (..., n_ticks), read-only.
    """
    share = np.asarray(expected_traffic, np.float64)
    return _plan_shares(share.tobytes(), share.shape)


@lru_cache(maxsize=64)  # most episodes expect the same traffic
def _plan_shares(content: bytes, shape: tuple[int, ...]) -> Float:
    share = np.frombuffer(content).reshape(shape)
    to_come = np.cumsum(share[..., ::-1], axis=-1)[..., ::-1]
    plan = np.divide(share, to_come, out=np.ones_like(share), where=to_come > 0)
    plan.flags.writeable = False
    return plan


class Pacer:
    """PID pacing of bidders of any array shape.

    log m = log base + p e + i sum(e) + d (e - previous e), where e is the pacing error; with a CPA limit, m is
    at most the limit times exp(cpa_p e' + cpa_i sum(e')), where e' is the CPA's error. The realised CPA uses
    predicted conversions, which a bidder knows at once and which are far less noisy than sampled ones.

    Attributes:
        arrays: What `kernels.step.playing.play_tick` takes in a tick with, in place of `take_in`, and bids with, after
            `raise_ratios`, in place of `current`.
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
        base, limit, left = self._flat(base), self._flat(cpa_limit), self._flat(budget)
        plan = plan_shares(expected_traffic)
        n_ticks = plan.shape[-1]
        by_tick = plan[:, None] if plan.ndim == 1 else np.stack([self._flat(plan[..., t]) for t in range(n_ticks)])
        # (n_ticks, n) or, of all alike, (n_ticks, 1); a copy, because kernels are compiled anew for read-only arrays
        self._share = np.array(by_tick, order="C")
        self._gains = np.array([gains.p, gains.i, gains.d, gains.cpa_p, gains.cpa_i, MAX_LOG_RATIO])
        self._rows = np.zeros((N_ROWS, len(left)))  # as of `kernels.step.pacing`
        self._rows[0], self._rows[SCALE], self._rows[SCALE + 1] = left, base, limit
        self._first_rows = self._rows.copy()
        self._log_ratio, self._ratio = self._rows[LOG_RATIO:RATIO], self._rows[RATIO:SCALE]
        self.arrays = (self._share, self._gains, self._rows)

    def restart(self) -> None:
        """Starts an episode like the one before."""
        self._rows[:] = self._first_rows

    def multipliers(self, tick: int, *, last_cost: ArrayLike, last_expected_conversions: ArrayLike) -> Float:
        """Multipliers for `tick`, given cost and predicted conversions of the tick before (0 at tick 0)."""
        if tick > 0:
            self.take_in(tick - 1, last_cost, last_expected_conversions)
        return self.current()

    def take_in(self, tick: int, cost: ArrayLike, expected_conversions: ArrayLike) -> None:
        """Takes in cost and predicted conversions of a tick."""
        pace(self._share[tick], self._flat(cost), self._flat(expected_conversions), self._gains, self._rows)

    def raise_ratios(self) -> None:
        """Makes ratios of the logarithms that `kernels.step.pacing.pace` wrote.

        In NumPy: compiled exponentials differ in the last bit.
        """
        np.exp(self._log_ratio, out=self._ratio)

    def current(self) -> Float:
        """Multipliers for the tick after those taken in."""
        out = np.empty(self._shape)
        self.raise_ratios()
        scale_and_cap(self._rows, out.reshape(-1))
        return out

    def _flat(self, given: ArrayLike) -> Float:
        """`given` broadcast to the bidders' shape, as a vector."""
        array = np.asarray(given, np.float64)
        shaped = array if array.shape == self._shape else np.broadcast_to(array, self._shape)
        return np.ascontiguousarray(shaped).reshape(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A behaviour of a population's own: multipliers that follow the time of day, the money left and the values.

    The multiplier of a tick is `start` x target CPA x exp(level + noise) x pace ** money_reaction x
    surplus ** value_reaction. The pace is the share of the budget that is left over the share of the ticks that are
    left, within [0.05, 2]. The surplus is the advertiser's mean predicted value in the tick over the usual one
    (`TrafficParams.value_mean`), at least 1. Level and reactions are linear between the points `at`. The noise is
    normal and persists: e[t] = persistence x e[t - 1] + a new draw.

    Attributes:
        name: By which `Population.behaviour` calls it.
        at: Ascending points of the day, in [0, 1): tick t of n lies at t / n.
        level: Logarithm of the multiplier over the first one, at each point.
        money_reaction: Exponent of the pace, at each point: positive where it bids more while money is left over.
        value_reaction: Exponent of the surplus, at each point: positive where good impressions make it bid more.
        noise_sd: Standard deviation of the noise.
        persistence: Correlation of the noise of two ticks that follow each other.
    """

    name: str
    at: tuple[float, ...]  # share of the day
    level: tuple[float, ...]
    money_reaction: tuple[float, ...]
    value_reaction: tuple[float, ...]
    noise_sd: float = 0.0
    persistence: float = 0.0  # a tick

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"a schedule's `name` must be a text, found {self.name!r}")
        points = np.asarray(self.at, np.float64)
        if not (len(points) and np.all(np.diff(points) > 0) and points[0] >= 0 and points[-1] < 1):
            raise ValueError(f"`at` of schedule {self.name!r} must ascend within [0, 1), found {self.at}")
        for name in _CURVES:
            numbers = getattr(self, name)
            if len(numbers) != len(points) or not np.all(np.isfinite(np.asarray(numbers, np.float64))):
                raise ValueError(
                    f"`{name}` of schedule {self.name!r} must hold a finite number for each of {len(points)} points,"
                    f" found {numbers}"
                )
        if not (np.isfinite(self.noise_sd) and self.noise_sd >= 0):
            raise ValueError(f"`noise_sd` of schedule {self.name!r} must not be negative, found {self.noise_sd}")
        if not 0 <= self.persistence < 1:
            raise ValueError(f"`persistence` of schedule {self.name!r} must lie in [0, 1), found {self.persistence}")

    def by_tick(self, n_ticks: int) -> Float:
        """Level, money reaction and value reaction of each tick: (3, n_ticks)."""
        time = np.arange(n_ticks) / n_ticks
        return np.stack([np.interp(time, self.at, getattr(self, name)) for name in _CURVES])

    def noise(self, draws: Float) -> Float:
        """The noise of each tick from standard normal draws, (..., n_ticks)."""
        out = np.array(draws, np.float64)
        share = np.sqrt(1.0 - self.persistence**2)
        for t in range(1, out.shape[-1]):
            out[..., t] = self.persistence * out[..., t - 1] + share * draws[..., t]
        return self.noise_sd * out

    @classmethod
    def from_record(cls, record: Any) -> Schedule:
        """Rebuilds a schedule from a JSON object; ValueError that names the missing, unknown or malformed key."""
        known = {part.name for part in fields(cls)}
        if not isinstance(record, dict) or set(record) != known:
            found = sorted(record) if isinstance(record, dict) else record
            raise ValueError(f"a schedule must have exactly the keys {sorted(known)}, found {found}")
        for name in ("at", *_CURVES):
            if not (isinstance(record[name], list) and all(_is_number(number) for number in record[name])):
                raise ValueError(f"`{name}` of a schedule must be a list of numbers, found {record[name]!r}")
        for name in ("noise_sd", "persistence"):
            if not _is_number(record[name]):
                raise ValueError(f"`{name}` of a schedule must be a number, found {record[name]!r}")
        curves = {name: tuple(record[name]) for name in ("at", *_CURVES)}
        return cls(name=record["name"], noise_sd=record["noise_sd"], persistence=record["persistence"], **curves)


def log_pace(left: Float, time_left: Float | float) -> Float:
    """Logarithm of the share of the budget left over the share of the ticks left, which is cut to its bounds."""
    pace: Float = np.log(np.clip(left / time_left, MIN_PACE, MAX_PACE))
    return pace


def log_surplus(value: Float, usual: float) -> Float:
    """Logarithm of a tick's mean predicted value over the usual one, at least 0."""
    surplus: Float = np.log(np.maximum(value / usual, 1.0))
    return surplus


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
