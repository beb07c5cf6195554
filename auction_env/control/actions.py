"""Action kinds: how an agent's numbers in [-1, 1] become the multiplier of a tick.

A kind is a pure mapping; what it needs to remember, the multiplier of the tick before, the caller keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

ACTION_KINDS = ("log_multiplier", "relative", "two_coefficient")
"""Names that `get_action_kind` knows."""

LOG_MULTIPLIER_FLOOR = float(np.log(1e-3))
"""Lower end of `log_multiplier`: a multiplier below a thousandth of its base, zero above all, is written as this."""


class ActionKind(Protocol):
    """Maps actions of n advertisers to multipliers (currency per unit of the objective)."""

    @property
    def n_actions(self) -> int:
        """Numbers an advertiser gives each tick, each in [-1, 1]."""

    def multipliers(self, action: Float, *, base: Float, previous: Float) -> Float:
        """The multipliers of a tick.

        Args:
            action: (n, n_actions), in [-1, 1].
            base: (n,) worth of a unit of the objective, currency: the target CPA where that is conversions.
            previous: (n,) multipliers of the tick before; `base` in the first tick.

        Returns:
            (n,) finite, not negative.
        """

    def highest(self, base: Float) -> Float:
        """(n,) the largest multiplier there can be."""


def log_multiplier(multiplier: Float, base: Float) -> Float:
    """What a learner reads of a logged multiplier: log(multiplier / base), at least `LOG_MULTIPLIER_FLOOR`."""
    return np.log(np.maximum(multiplier / base, np.exp(LOG_MULTIPLIER_FLOOR)))


def _check_ratio(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 1):
        raise ValueError(f"`{name}` must be greater than 1, found {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMultiplier:
    """One action: multiplier = base x max_ratio ** action; the base is the target CPA or its like."""

    max_ratio: float = 5.0

    def __post_init__(self) -> None:
        _check_ratio("max_ratio", self.max_ratio)

    @property
    def n_actions(self) -> int:
        return 1

    def multipliers(self, action: Float, *, base: Float, previous: Float) -> Float:
        return base * self.max_ratio ** action[:, 0]

    def highest(self, base: Float) -> Float:
        return base * self.max_ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativeAdjustment:
    """One action: multiplier = previous multiplier x max_ratio_step ** action.

    The episode starts from the base (target CPA), and the multiplier stays within max_ratio ** +-1 of it. USCB adjusts
    its coefficients in this way, with a factor 1 + action (He et al., KDD 2021, doi 10.1145/3447548.3467199).
    """

    max_ratio: float = 5.0
    max_ratio_step: float = 1.2

    def __post_init__(self) -> None:
        _check_ratio("max_ratio", self.max_ratio)
        _check_ratio("max_ratio_step", self.max_ratio_step)

    @property
    def n_actions(self) -> int:
        return 1

    def multipliers(self, action: Float, *, base: Float, previous: Float) -> Float:
        wanted = previous * self.max_ratio_step ** action[:, 0]
        return np.clip(wanted, base / self.max_ratio, base * self.max_ratio)

    def highest(self, base: Float) -> Float:
        return base * self.max_ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoCoefficient:
    """Two actions: bid = (alpha0 + alpha1 x base) x predicted value; the base is the target CPA or its like.

    alpha0 = reference / 2 x max_ratio ** action[0], currency per conversion; alpha1 = (1 + action[1]) / 2, a share.
    These are the ranges of the optimal bid of "most value under a budget and a CPA limit": with dual prices l0, l1 of
    the two it is alpha0 = 1 / (l0 + l1) > 0 and alpha1 = l1 / (l0 + l1) in [0, 1]. Actions of 0 bid the mean of
    the reference and the own target. The two-parameter form of USCB's optimal bid.
    """

    reference: float  # currency, the same for all advertisers: the mean base of the market
    max_ratio: float = 5.0

    def __post_init__(self) -> None:
        _check_ratio("max_ratio", self.max_ratio)
        if not (np.isfinite(self.reference) and self.reference > 0):
            raise ValueError(f"`reference` must be positive, found {self.reference}")

    @property
    def n_actions(self) -> int:
        return 2

    def multipliers(self, action: Float, *, base: Float, previous: Float) -> Float:
        alpha0 = 0.5 * self.reference * self.max_ratio ** action[:, 0]
        alpha1 = 0.5 * (1.0 + action[:, 1])
        return alpha0 + alpha1 * base

    def highest(self, base: Float) -> Float:
        return 0.5 * self.reference * self.max_ratio + base


def get_action_kind(
    kind: str | ActionKind, *, max_ratio: float = 5.0, max_ratio_step: float = 1.2, reference: float = 1.0
) -> ActionKind:
    """The action kind of that name with these parameters (each takes those it has), or the kind itself."""
    if not isinstance(kind, str):
        return kind
    makers: dict[str, Callable[[], ActionKind]] = {
        "log_multiplier": lambda: LogMultiplier(max_ratio=max_ratio),
        "relative": lambda: RelativeAdjustment(max_ratio=max_ratio, max_ratio_step=max_ratio_step),
        "two_coefficient": lambda: TwoCoefficient(reference=reference, max_ratio=max_ratio),
    }
    if kind not in makers:
        raise ValueError(f"`action_kind` must be an ActionKind or one of {sorted(makers)}, found {kind!r}")
    return makers[kind]()
