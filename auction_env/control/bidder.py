"""What a bidder knows of its campaigns and sees at a tick, and the protocol that every bidder implements.

A bidder controls n campaigns at once that do not see each other (the same advertiser in n markets, say),
so that a learned one decides for all of them in one forward pass; n = 1 is the ordinary case.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.tasks import Targets, Task

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class Campaigns(NamedTuple):
    """What the bidder knows of its n campaigns before the first tick; arrays of shape (n,)."""

    targets: Targets  # what the advertisers have and would pay, (n,) each
    base: Float  # currency per unit of the task's objective: the worth of one, which the multiplier is relative to
    category: Int
    advertiser: Int
    requirements: Float  # (n, N_REQUIREMENTS): `auction_env.tasks`
    n_ticks: int
    seed: Int  # seed of each episode: for draws of the bidder's own, and for references in hindsight
    # (n_ticks,) expected share of the impressions, (n, n_ticks) where weekdays differ; None: unknown
    expected_traffic: Float | None = None
    # which day each episode is, as its market names days: day 0 of a live one is a Monday; None: unknown
    day: Int | None = None
    # a `PlayableMarket`, for references in hindsight, which play the same episodes beforehand; None: not known
    market: object | None = None
    task: Task | None = None

    @property
    def budget(self) -> Float:
        """(n,) currency per episode."""
        return self.targets.budget

    @property
    def cpa_target(self) -> Float:
        """(n,) currency per conversion."""
        return self.targets.cpa

    @property
    def traffic_shares(self) -> Float:
        """(n_ticks,) or (n, n_ticks) expected share of the impressions of each tick; even shares where unknown."""
        if self.expected_traffic is None:
            return np.full(self.n_ticks, 1.0 / self.n_ticks)
        return self.expected_traffic


class TickView(NamedTuple):
    """What the bidder sees at the start of a tick; arrays of shape (n,) unless said otherwise.

    The `last_*` fields are totals over the previous tick, 0 at tick 0.
    """

    tick: int
    features: Float  # (n, 16): `auction_env.control.observation.FEATURE_NAMES`
    budget_left: Float  # currency
    last_cost: Float  # currency
    last_conversions: Float  # sampled
    last_expected_conversions: Float  # sum of predicted values of exposed impressions
    last_exposures: Float
    last_wins: Float
    last_volume: Float  # impressions
    predicted_mean: Float  # (n, 4) mean predicted amount of the tick's impressions for each of `tasks.BASES`
    # clicks and the rest are 0 in a market without a funnel
    last_clicks: Float
    last_expected_clicks: Float  # predicted, of exposed impressions, like those below
    last_add_to_carts: Float
    last_expected_add_to_carts: Float
    last_gmv: Float  # currency
    last_expected_gmv: Float


@runtime_checkable
class Bidder(Protocol):
    """Chooses, tick by tick, the multiplier m of each campaign: its bid is m x predicted amount of its objective."""

    name: str

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        ...

    def act(self, view: TickView) -> Float:
        """Multipliers for this tick, shape (n,), currency per unit of the objective, finite and not negative."""
        ...


class NamedBidder:
    """What the bidders of these packages share: they show their class and their name."""

    name: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def check_bidder(bidder: object) -> None:
    """ValueError, which says what to write instead, where something else than a bidder is given as one."""
    if isinstance(bidder, type):
        raise ValueError(f"a bidder must be an object, found the class {bidder.__name__}: write {bidder.__name__}()")
    if isinstance(bidder, str):
        raise ValueError(f"a bidder must be an object, found {bidder!r}: write agents.make({bidder!r})")
    missing = [name for name in ("name", "reset", "act") if not hasattr(bidder, name)]
    if missing:
        raise ValueError(f"a bidder must have `name`, `reset` and `act`, found {bidder!r} without {missing}")


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
