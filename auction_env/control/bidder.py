"""What a bidder knows of its campaigns and sees at a tick, and the protocol that every bidder implements.

A bidder controls n campaigns at once that do not see each other (the same advertiser in n markets, say),
so that a learned one decides for all of them in one forward pass; n = 1 is the ordinary case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.control.observation import FEATURE_NAMES
from auction_env.market.episode import check_impression_bids
from auction_env.tasks import Targets, Task

_VOLUME_NOW = FEATURE_NAMES.index("volume_now")

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


class Impressions(NamedTuple):
    """A campaign's impressions of the current tick in arrival order, (n_impressions,) each."""

    values: NDArray[np.float32]  # predicted amount of what the task counts
    sigmas: NDArray[np.float32]  # standard deviation of the prediction


class ImpressionOutcomes(NamedTuple):
    """What came of a campaign's impressions of the previous tick, in arrival order, (n_impressions,) each."""

    values: NDArray[np.float32]  # predicted amount
    sigmas: NDArray[np.float32]  # its standard deviation
    bids: NDArray[np.float32]  # submitted, currency
    slot: Int  # 0: lost; from 1: the slot won, from the top
    price: NDArray[np.float32]  # of the slot won, paid if it was seen; 0 where lost
    exposed: NDArray[np.bool_]  # whether the slot won was seen
    converted: NDArray[np.bool_]  # sampled
    least_winning_cost: NDArray[np.float32]  # currency


@dataclass(frozen=True, slots=True)
class TickImpressions:
    """The impressions of a tick, for bidders that bid on each: made when they are asked for, campaign by campaign.

    Attributes:
        rows: (n,) which of the market's controlled advertisers each campaign is.
        now_of, before_of: Give the impressions, and the past ones, of a controlled advertiser.
    """

    rows: NDArray[np.intp]
    now_of: Callable[[int], Impressions]
    before_of: Callable[[int], ImpressionOutcomes | None]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: NDArray[np.intp]) -> TickImpressions:
        """Those of some of the campaigns."""
        return replace(self, rows=self.rows[rows])

    def now(self, campaign: int) -> Impressions:
        """The impressions of the current tick, before anybody bids.

        Raises:
            ValueError: The campaign bids on something else than conversions, of which no deviations are known.
        """
        return self.now_of(int(self.rows[campaign]))

    def before(self, campaign: int) -> ImpressionOutcomes | None:
        """What came of the impressions of the previous tick; None unless that tick's bids asked for it."""
        return self.before_of(int(self.rows[campaign]))


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
    impressions: TickImpressions | None = None  # one by one; None where the market has means only


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpressionBids:
    """Bids on each impression of a tick, which a bidder may return in place of multipliers.

    Attributes:
        bids: For each of the n campaigns, (n_impressions,) currency in arrival order, finite and not negative; None
            for one that bids with its multiplier.
        multipliers: (n,) of those; may be left out where there are none.
        is_reported: Whether the next view says what came of each impression (`TickImpressions.before`). It costs a
            live market about another run of the tick.
    """

    bids: Sequence[ArrayLike | None]
    multipliers: ArrayLike | None = None
    is_reported: bool = False

    def __len__(self) -> int:
        return len(self.bids)


class SplitBids(NamedTuple):
    """What n campaigns bid, as markets take it."""

    multipliers: Float  # (n,)
    on_impressions: dict[int, NDArray[np.float32]]  # by campaign, those that bid on each impression
    is_reported: bool  # as of `ImpressionBids`


def copy_multipliers(multipliers: ArrayLike, n: int) -> Float:
    """(n,) multipliers as an array of their own; ValueError if there are not n."""
    given = np.array(multipliers, np.float64)
    if given.shape != (n,):
        raise ValueError(f"`multipliers` must have shape ({n},), found {given.shape}")
    return given


def split_bids(bids: ArrayLike | ImpressionBids, n: int) -> SplitBids:
    """Multipliers, and bids on impressions of those that bid so; ValueError if they are not of n campaigns."""
    if not isinstance(bids, ImpressionBids):
        return SplitBids(copy_multipliers(bids, n), {}, False)
    if len(bids) != n:
        raise ValueError(f"`bids` must be of {n} campaigns, found {len(bids)}")
    own = {i: np.asarray(given, np.float32) for i, given in enumerate(bids.bids) if given is not None}
    given = split_bids(np.zeros(n) if bids.multipliers is None else bids.multipliers, n).multipliers
    return SplitBids(given, own, bids.is_reported)


@runtime_checkable
class Bidder(Protocol):
    """Chooses, tick by tick, the multiplier m of each campaign: its bid is m x predicted amount of its objective.

    Or it bids on every impression on its own: `ImpressionBids`, which markets of impressions take (`rollout` and
    competitors, in live markets and in logs). What works on multipliers says so: `check_multipliers`.
    """

    name: str

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        ...

    def act(self, view: TickView) -> Float | ImpressionBids:
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


def check_bids(
    bidder: Bidder, bids: ArrayLike | ImpressionBids, view: TickView, n_impressions: Sequence[int] | None = None
) -> Float | ImpressionBids:
    """What a bidder answered to a view, multipliers or bids on impressions; ValueError, naming it, if it is neither.

    `n_impressions` (n,) is what the view's features say by default.
    """
    n = len(view.budget_left)
    if not isinstance(bids, ImpressionBids):
        return check_multipliers(bidder, bids, n)
    if view.impressions is None:
        return check_multipliers(bidder, bids, n)
    if len(bids) != n:
        raise ValueError(f"bidder {bidder.name!r} must return bids of {n} campaigns, found {len(bids)}")
    is_left = np.array([of_campaign is None for of_campaign in bids.bids], bool)
    if is_left.any() and bids.multipliers is None:
        campaign = int(np.flatnonzero(is_left)[0])
        raise ValueError(
            f"bidder {bidder.name!r} must return bids or a multiplier for each campaign, found neither for {campaign}"
        )
    multipliers = np.zeros(n) if bids.multipliers is None else check_multipliers(bidder, bids.multipliers, n)
    volume = view.features[:, _VOLUME_NOW] if n_impressions is None else n_impressions
    checked = [
        None if given is None else check_impression_bids(given, int(volume[i]), f"bidder {bidder.name!r}, campaign {i}")
        for i, given in enumerate(bids.bids)
    ]
    return replace(bids, bids=checked, multipliers=multipliers)


def check_multipliers(bidder: Bidder, multipliers: ArrayLike | ImpressionBids, n: int) -> Float:
    """The multipliers that a bidder answered for n campaigns; ValueError, naming the bidder, if they are not some."""
    if isinstance(multipliers, ImpressionBids):
        raise ValueError(
            f"bidder {bidder.name!r} bids on each impression, which is not possible here: it must return multipliers"
            " (per-impression bids work in `rollout`, `evaluate` and as competitors, in markets of impressions)"
        )
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
