"""What a bidder knows of its campaigns and sees at a tick, and the protocol that every bidder implements.

A bidder steers n campaigns at once that do not see each other (the same advertiser in n markets, say),
so that a learned one decides for all of them in one forward pass; n = 1 is the ordinary case.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class Campaigns(NamedTuple):
    """What the bidder knows of its n campaigns before the first tick; arrays of shape (n,)."""

    budget: Float  # currency per episode
    cpa_target: Float  # currency per conversion; also the base of the multiplier
    category: Int
    advertiser: Int
    requirements: Float  # (n, len(REQUIREMENT_NAMES)): `auction_env.tasks`
    n_ticks: int
    seed: Int  # seed of each episode: for draws of the bidder's own, and for references in hindsight
    # (n_ticks,) expected share of the impressions, (n, n_ticks) where weekdays differ; None: unknown
    expected_traffic: Float | None = None
    day: Int | None = None  # which day each episode is, day 0 being a Monday; None: unknown


class TickView(NamedTuple):
    """What the bidder sees at the start of a tick; arrays of shape (n,) unless said otherwise.

    The `last_*` fields are totals over the previous tick, 0 at tick 0.
    """

    tick: int
    features: Float  # (n, 16): `auction_env.observation.FEATURE_NAMES`
    budget_left: Float  # currency
    last_cost: Float  # currency
    last_conversions: Float  # sampled
    last_value: Float  # sum of predicted values of exposed impressions
    last_exposures: Float
    last_wins: Float
    last_volume: Float  # impressions


@runtime_checkable
class Bidder(Protocol):
    """Chooses, tick by tick, the multiplier m of each campaign: its bid is m x predicted value."""

    name: str

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        ...

    def act(self, view: TickView) -> Float:
        """Multipliers for this tick, shape (n,), currency per conversion, finite and not negative."""
        ...


def check_multipliers(bidder: Bidder, multipliers: ArrayLike, n: int) -> Float:
    """The answer of a bidder for n campaigns; ValueError, naming the bidder, if it is not one."""
    given = np.asarray(multipliers, np.float64)
    if given.shape != (n,):
        raise ValueError(f"bidder {bidder.name!r} must return multipliers of shape ({n},), found {given.shape}")
    bad = ~(np.isfinite(given) & (given >= 0))
    if bad.any():
        raise ValueError(
            f"bidder {bidder.name!r} must return finite multipliers >= 0, found {given[bad][0]}"
            f" for campaign {int(np.flatnonzero(bad)[0])}"
        )
    return given
