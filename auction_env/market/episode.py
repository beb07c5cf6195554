"""What an episode of a market is made of: its state, and what is known before and after each tick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.integers import check_integers
from auction_env.kernels import outcomes
from auction_env.kernels.settle import Advertisers, Rules
from auction_env.kernels.values import N_BASES
from auction_env.market.params import MAX_MONEY
from auction_env.market.traffic import Traffic
from auction_env.tasks import BASES

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Int = NDArray[np.int64]


class Opening(NamedTuple):
    """What is known at the start of a tick. Shapes for `BatchMarket`; `Market` drops the leading axis.

    Attributes:
        tick: Index of the tick.
        n_impressions: (n_markets,) impressions of the tick.
        predicted_mean: (n_markets, n_advertisers, 4) mean predicted amount of the tick's impressions for each of
            `tasks.BASES`, 0 if there are none. All but conversions are 0 in a market without a funnel, and NaN where
            they were not asked for (`BatchMarket.reset`).
        budget_left: (n_markets, n_advertisers) currency.
        active: (n_markets, n_advertisers) bool: False once an advertiser could not pay an impression.
    """

    tick: int
    n_impressions: Int
    predicted_mean: Float
    budget_left: Float
    active: NDArray[np.bool_]

    @property
    def value_mean(self) -> Float:
        """(n_markets, n_advertisers) mean predicted value of the tick's impressions: the first predicted mean."""
        return self.predicted_mean[..., 0]


class Now(NamedTuple):
    """Where markets stand, as kernels take it; the fields as of `Opening`.

    Attributes:
        tick: Index of the current tick; n_ticks after the last one.
        n_ticks: Of an episode.
    """

    budget_left: Float
    predicted_mean: Float
    n_impressions: Int
    tick: int
    n_ticks: int


class TickBids(NamedTuple):
    """What everybody bids in a tick: the arguments of `BatchMarket.step`.

    Attributes:
        multipliers: (n_markets, n_advertisers) currency per unit of what each bids on.
        on_impressions: By (market, advertiser), a bid for each impression, (n_impressions,), in place of a multiplier.
        reported: The (market, advertiser) pairs that want to know what came of each of their impressions.
    """

    multipliers: Float
    on_impressions: Mapping[tuple[int, int], NDArray[np.float32]]
    reported: frozenset[tuple[int, int]] = frozenset()


class TickResult(NamedTuple):
    """Outcome of a tick: totals over its impressions, (n_markets, n_advertisers) unless said otherwise.

    The properties are columns of `totals`. Clicks, add-to-carts and GMV are 0 without a funnel (`MarketParams.funnel`).

    Attributes:
        tick: Index of the tick.
        n_impressions: (n_markets,).
        bid: Sum of the bids submitted.
        least_winning_cost: (n_markets,) mean over impressions; 0 if there are none.
        budget_left: After the tick.
        done: Whether this was the last tick.
        totals: (n_markets, n_advertisers, N_TOTALS) in the order of `kernels.outcomes`.
    """

    tick: int
    n_impressions: Int
    bid: Float
    least_winning_cost: Float
    budget_left: Float
    done: bool
    totals: Float

    @property
    def wins(self) -> Float:
        """Slots won."""
        return self.totals[..., outcomes.WINS]

    @property
    def exposures(self) -> Float:
        """Won slots that were seen."""
        return self.totals[..., outcomes.EXPOSURES]

    @property
    def cost(self) -> Float:
        """Currency paid, for exposed slots only."""
        return self.totals[..., outcomes.COST]

    @property
    def conversions(self) -> Float:
        """Sampled conversions of exposed slots; with a `conversion_delay`, those reported in this tick."""
        return self.totals[..., outcomes.CONVERSIONS]

    @property
    def expected_conversions(self) -> Float:
        """Sum of the predicted values of exposed slots."""
        return self.totals[..., outcomes.EXPECTED_CONVERSIONS]

    @property
    def clicks(self) -> Float:
        """Sampled clicks of exposed slots."""
        return self.totals[..., outcomes.CLICKS]

    @property
    def expected_clicks(self) -> Float:
        """Predicted clicks of exposed slots."""
        return self.totals[..., outcomes.EXPECTED_CLICKS]

    @property
    def add_to_carts(self) -> Float:
        """Sampled add-to-carts of exposed slots."""
        return self.totals[..., outcomes.ADD_TO_CARTS]

    @property
    def expected_add_to_carts(self) -> Float:
        """Predicted add-to-carts of exposed slots."""
        return self.totals[..., outcomes.EXPECTED_ADD_TO_CARTS]

    @property
    def gmv(self) -> Float:
        """Gross merchandise value of the conversions made in this tick, currency."""
        return self.totals[..., outcomes.GMV]

    @property
    def expected_gmv(self) -> Float:
        """Predicted GMV of exposed slots, currency."""
        return self.totals[..., outcomes.EXPECTED_GMV]


class TickDraws(NamedTuple):
    """What the outcomes of a market's impressions are drawn from in a tick."""

    seed: np.uint64
    rules: Rules
    advertisers: Advertisers  # (n_advertisers,) each
    keys: NDArray[np.uint64]  # (n_advertisers,) of the conversions


@dataclass(slots=True, kw_only=True)
class MarketState:
    """The episodes of n markets, all at the same tick: `BatchMarket.reset` makes it and every step advances it.

    What a tick reads lies tick by tick, with the markets behind: (n_ticks, n_markets, ...).
    """

    seed: NDArray[np.uint64]  # (n_markets,)
    basis: Int  # (n_markets, n_advertisers) what bids are proportional to: index into `tasks.BASES`
    traffic: Traffic  # with a leading axis of markets
    volume: Int  # (n_ticks, n_markets) impressions
    mean: NDArray[np.float32]  # (n_ticks, n_markets, n_advertisers) of the predicted values
    sd: NDArray[np.float32]  # the same shape: their standard deviation
    budget_left: Float  # (n_markets, n_advertisers) currency
    active: NDArray[np.bool_]  # (n_markets, n_advertisers) False once an advertiser could not pay an impression
    pending: Float  # (n_markets, n_ticks, n_advertisers) conversions by the tick that reports them; or without ticks
    predicted_mean: Float  # (n_markets, n_advertisers, 4) as of `Opening`, of the current tick
    tick: int = 0
    known: Opening | None = None  # `opening`, if somebody has asked for it in the current tick

    @classmethod
    def start(
        cls, seed: NDArray[np.uint64], basis: Int, traffic: Traffic, budget: Float, n_delayed: int
    ) -> MarketState:
        """The state at the start of an episode.

        Args:
            seed: (n_markets,).
            basis: (n_markets, n_advertisers).
            traffic: With a leading axis of markets.
            budget: (n_markets, n_advertisers) currency.
            n_delayed: Ticks that conversions may be delayed to: all of the episode, or 0 without a delay.
        """
        return cls(
            seed=seed,
            basis=basis,
            traffic=traffic,
            volume=np.ascontiguousarray(np.swapaxes(traffic.n_impressions, 0, 1)),
            mean=np.ascontiguousarray(np.swapaxes(traffic.mean, 0, 1)),
            sd=np.ascontiguousarray(np.swapaxes(traffic.sd, 0, 1)),
            budget_left=budget.copy(),
            active=np.ones(basis.shape, bool),
            pending=np.zeros((len(seed), n_delayed, budget.shape[1])),
            predicted_mean=np.zeros((*basis.shape, N_BASES)),
        )

    @property
    def is_over(self) -> bool:
        """Whether all ticks are played."""
        return self.tick == len(self.volume)

    @property
    def opening(self) -> Opening:
        """What is known at the start of the current tick: copies."""
        if self.known is None:
            self.known = Opening(
                self.tick, self.volume[self.tick].copy(), self.predicted_mean.copy(), self.budget_left.copy(),
                self.active.copy(),
            )  # fmt: skip
        return self.known

    @property
    def advertisers(self) -> Advertisers:
        """What the outcomes of the current tick depend on besides the values."""
        traffic = self.traffic
        return Advertisers(traffic.sigma, traffic.lower, traffic.upper, self.mean[self.tick], self.sd[self.tick])


def check_seeds(seeds: ArrayLike, n_markets: int) -> Int:
    """(n_markets,) seeds as `BatchMarket.reset` takes them; ValueError if they are not some."""
    given: Int = np.atleast_1d(check_integers("seeds", seeds))
    if given.shape != (n_markets,):
        raise ValueError(f"`seeds` must be {n_markets} integers, found {given!r}")
    if given.min() < 0:
        raise ValueError(f"`seeds` must not be negative, found {given.min()}")
    return given


def check_days(days: ArrayLike | None, n_markets: int) -> list[int] | list[None]:
    """The day of each market as `BatchMarket.reset` takes them, None to be drawn; ValueError if they are not some."""
    if days is None:
        return [None] * n_markets
    given = np.atleast_1d(check_integers("days", days))
    if given.shape != (n_markets,):
        raise ValueError(f"`days` must be {n_markets} integers, found {given!r}")
    return [int(day) for day in given]


def check_bases(bases: ArrayLike | None, shape: tuple[int, int], *, has_funnel: bool) -> Int:
    """What bids are proportional to, of a shape, as `BatchMarket.reset` takes it; ValueError if it is not."""
    if bases is None:
        return np.zeros(shape, np.int64)
    given = np.asarray(bases)
    if given.shape != shape or not np.issubdtype(given.dtype, np.integer):
        raise ValueError(f"`bases` must be integers of shape {shape}, found {given.dtype} {given.shape}")
    if not given.any():
        return np.zeros(shape, np.int64)
    if given.min() < 0 or given.max() >= N_BASES:
        raise ValueError(f"`bases` must be indices into {BASES}, found {given.min()} to {given.max()}")
    if not has_funnel:
        raise ValueError(
            f"bids on {BASES[int(given.max())]} need a market with a funnel: `MarketParams(funnel=Funnel())`"
        )
    return given.astype(np.int64)


def invalid_multipliers(given: Float, shape: tuple[int, int]) -> ValueError:
    """What is wrong with the multipliers of a tick."""
    if given.shape != shape:
        return ValueError(f"`multipliers` must have shape {shape}, found {given.shape}")
    bad = ~(np.isfinite(given) & (given >= 0))
    if bad.any():
        market, advertiser = np.argwhere(bad)[0]
        return ValueError(
            f"`multipliers` must be finite and not negative, found {given[market, advertiser]}"
            f" for advertiser {advertiser} of market {market}"
        )
    return ValueError(f"`multipliers` must be at most {MAX_MONEY:g}, found {given.max()}")


def check_impression_bids(bids: ArrayLike, n: int, whose: str) -> Float32:
    """Bids on each of n impressions; ValueError, which says whose, if they are not."""
    given = np.asarray(bids, np.float64)
    if given.shape != (n,):
        raise ValueError(f"bids on impressions must have shape ({n},), one an impression, found {given.shape}, {whose}")
    bad = ~(np.isfinite(given) & (given >= 0) & (given <= MAX_MONEY))
    if bad.any():
        raise ValueError(
            f"bids on impressions must be finite, not negative and at most {MAX_MONEY:g}, found {given[bad][0]} on"
            f" impression {int(np.flatnonzero(bad)[0])}, {whose}"
        )
    return given.astype(np.float32)


def check_bids_of_markets(
    bids: Mapping[tuple[int, int], ArrayLike], shape: tuple[int, int], n_impressions: Int
) -> dict[tuple[int, int], Float32]:
    """Bids on impressions by (market, advertiser) below a shape; ValueError if they are not.

    `n_impressions` (n_markets,) is the tick's.
    """
    checked: dict[tuple[int, int], Float32] = {}
    for (market, advertiser), given in bids.items():
        if not (0 <= market < shape[0] and 0 <= advertiser < shape[1]):
            raise ValueError(
                f"`on_impressions` must have keys (market, advertiser) below {shape}, found {(market, advertiser)}"
            )
        n = int(n_impressions[market])
        checked[market, advertiser] = check_impression_bids(given, n, f"advertiser {advertiser}")
    return checked
