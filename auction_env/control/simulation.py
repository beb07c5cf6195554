"""A market with live competitors as the advertisers see it that somebody controls.

The environments and the rollouts are thin adapters over `Simulation`: it alone says what a controlled advertiser
sees at the start of a tick, what the others do, and what is recorded. It is a `ControlledMarket`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from operator import index

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.control.advertisers import ControlledAdvertisers, ControlledTick, mean_multiplier
from auction_env.control.bidder import (
    Bidder,
    Campaigns,
    ImpressionBids,
    TickView,
    check_bids,
    copy_multipliers,
    split_bids,
)
from auction_env.control.controlled_market import PlayableMarket, SameEpisodes
from auction_env.integers import check_integers
from auction_env.market.competitors.scripted import ScriptedBidders
from auction_env.market.episode import TickBids, TickResult
from auction_env.market.market import BatchMarket
from auction_env.market.params import MarketParams
from auction_env.market.population import Population
from auction_env.market.tracing import trace_tick
from auction_env.tasks import BASES, Targets, Task, get_task

__all__ = ["ControlledTick", "LiveMarket", "Simulation"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LiveMarket:
    """A `PlayableMarket` in which all advertisers bid in the same auctions.

    Attributes:
        params: Size and rules.
        population: The advertisers.
        competitors, competitor_task: As of `Simulation`.
    """

    params: MarketParams
    population: Population
    competitors: Mapping[int, Bidder] | None = None
    competitor_task: str | Task = "TargetCPA"

    @property
    def n_ticks(self) -> int:
        return self.params.n_ticks

    @property
    def mean_impressions(self) -> float:
        return float(self.params.n_impressions)

    def needed(self, task: Task) -> LiveMarket:
        competing = [get_task(self.competitor_task)] if self.competitors else []
        if self.params.funnel is None or any(each.needs_funnel for each in (task, *competing)):
            return self
        return replace(self, params=replace(self.params, funnel=None))

    def one_each(self, task: Task, advertisers: Int) -> Simulation:
        n = len(advertisers)
        return self._simulation(task, advertisers, np.arange(n), n)

    def again(self, task: Task, campaigns: Campaigns) -> SameEpisodes:
        days = np.zeros(len(campaigns.seed), np.int64) if campaigns.day is None else campaigns.day
        markets, position = np.unique(np.stack((campaigns.seed, days)), axis=1, return_inverse=True)
        view = self._simulation(task, campaigns.advertiser, position.reshape(-1), markets.shape[1])
        return SameEpisodes(view, markets[0], None if campaigns.day is None else markets[1])

    def days_of(self, seeds: Int) -> None:
        return None

    def alike(self, task: Task, seeds: Int, advertisers: Int, days: Int | None) -> Int:
        if not self.shares_impressions:
            return np.arange(len(seeds))
        keys = [seeds] if days is None else [seeds, days]
        competing = [get_task(self.competitor_task).basis] if self.competitors else []
        if {task.basis, *competing} != {BASES[0]}:  # scripts bid on conversions: who is controlled changes the basis
            keys.append(advertisers)
        return np.unique(np.stack(keys), axis=1, return_inverse=True)[1].reshape(-1)

    @property
    def shares_impressions(self) -> bool:
        """Whether markets of one seed, side by side, hold their impressions once."""
        return self.params.budget_rule == "in_order"

    def difference(self, other: PlayableMarket) -> str:
        if not isinstance(other, LiveMarket):
            return "one is live, the other a log"
        if type(self) is LiveMarket and type(other) is not LiveMarket:
            return other.difference(self)  # which knows what it has beside this one
        if difference := self._impressions_differ(other):
            return difference
        if self.population != other.population:
            return "another population"
        for part in fields(MarketParams):
            own, others = getattr(self.params, part.name), getattr(other.params, part.name)
            if own != others:
                is_short = isinstance(own, int | float | str)
                return f"another `{part.name}`" + (f", {own} and {others}" if is_short else "")
        if self._who_competes() != other._who_competes():
            return "other competitors"
        return ""

    def _impressions_differ(self, other: LiveMarket) -> str:
        """In what the impressions of the other market differ beside their parameters; empty if in nothing."""
        return "" if other.source is None else "one has the values of a log"

    @property
    def source(self) -> object | None:
        """What the values of the impressions come from; None: they are drawn."""
        return None

    def _who_competes(self) -> dict[int, str]:
        return {advertiser: bidder.name for advertiser, bidder in (self.competitors or {}).items()}

    def _simulation(self, task: Task, advertisers: Int, market_idx: Int, n_markets: int) -> Simulation:
        """Markets in which these advertisers, (n,) with their markets, are controlled."""
        return Simulation(
            self.params,
            self.population,
            controlled_market=market_idx,
            controlled_advertiser=advertisers,
            n_markets=n_markets,
            task=task,
            competitors=self.competitors,
            competitor_task=self.competitor_task,
        )


class Simulation:
    """Markets in which `controlled` advertisers are controlled from outside and all others compete live.

    A competitor follows the script of its population or, if `competitors` has it, a bidder of the user's. In a
    market where such an advertiser is controlled, it is controlled.

    Args:
        params: Size and rules of the markets.
        population: The advertisers.
        controlled_market, controlled_advertiser: (n_controlled,) the market and the advertiser of each controlled one.
        n_markets: Number of markets.
        task: The task of the controlled: which gives their requirements and what their bids are proportional to.
        competitors: Bidders by advertiser. A bidder that several advertisers share controls them all at once.
        competitor_task: The task of the competitors, which gives their requirements.
        market, played: The markets, and what they are for references, in place of new ones of these parameters.
    """

    def __init__(
        self,
        params: MarketParams,
        population: Population,
        *,
        controlled_market: ArrayLike,
        controlled_advertiser: ArrayLike,
        n_markets: int = 1,
        task: str | Task = "MaxConversions",
        competitors: Mapping[int, Bidder] | None = None,
        competitor_task: str | Task = "TargetCPA",
        market: BatchMarket | None = None,
        played: LiveMarket | None = None,
    ) -> None:
        self.market = market or BatchMarket(params, population, n_markets)
        self.played = played or LiveMarket(
            params=params, population=population, competitors=competitors, competitor_task=competitor_task
        )
        self._competitors = _by_bidder(competitors or {}, population.n_advertisers)
        self.task, self._competitor_task = get_task(task), get_task(competitor_task)
        params.check_task(self.task)
        if self._competitors:
            params.check_task(self._competitor_task)
        self.control(controlled_advertiser, controlled_market)
        self._last_script: ScriptedBidders | None = None  # of the episodes before

    @property
    def params(self) -> MarketParams:
        return self.market.params

    @property
    def population(self) -> Population:
        return self.market.population

    @property
    def n_ticks(self) -> int:
        """Ticks of an episode."""
        return self.market.params.n_ticks

    @property
    def n_controlled(self) -> int:
        return len(self._market_idx)

    def control(self, advertiser: ArrayLike, market: ArrayLike | None = None) -> None:
        """Chooses who is controlled from the next `reset` on, in the markets of now by default; see the class."""
        self._advertiser_idx = check_integers("advertiser", advertiser)
        if market is not None:
            self._market_idx = check_integers("market", market)
            _check_below("market", self._market_idx, self.market.n_markets)
        if self._market_idx.shape != self._advertiser_idx.shape or self._market_idx.ndim != 1:
            raise ValueError(
                "`market` and `advertiser` must be vectors of one length,"
                f" found shapes {self._market_idx.shape} and {self._advertiser_idx.shape}"
            )
        _check_below("advertiser", self._advertiser_idx, self.market.n_advertisers)

    # what a controlled advertiser is: (n_controlled,) each
    @property
    def controlled_market(self) -> Int:
        return self._market_idx

    @property
    def advertiser(self) -> Int:
        return self._advertiser_idx

    @property
    def targets(self) -> Targets:
        return self.market.targets.at(self._advertiser_idx)

    @property
    def budget(self) -> Float:
        return self.market.budget[self._advertiser_idx]

    @property
    def base(self) -> Float:
        return self.task.unit_worth(self.targets)

    @property
    def category(self) -> Int:
        return self.market.category[self._advertiser_idx]

    @property
    def expected_traffic(self) -> Float:
        """Expected share of the impressions of each tick, known to all bidders.

        (n_ticks,); (n_markets, n_ticks) where weekdays have curves of their own: then only within an episode.
        """
        traffic, n_ticks = self.params.traffic, self.params.n_ticks
        if not traffic.weekly_curve:
            return traffic.expected_share(n_ticks)
        return np.stack([traffic.expected_share(n_ticks, int(day)) for day in self.market.day])

    def reset(self, seeds: ArrayLike, days: ArrayLike | None = None) -> None:
        """Starts an episode in every market; `seeds` (n_markets,), `days` as in `BatchMarket.reset`."""
        shape = self.market.n_markets, self.market.n_advertisers
        is_controlled = np.zeros(shape, bool)
        is_controlled[self._market_idx, self._advertiser_idx] = True
        if self.params.funnel is None:  # everybody bids on conversions, and there is nothing else to know
            self._basis = np.zeros(shape, np.int64)
            self.market.begin(seeds, days)
        else:
            self._basis = self._bases(is_controlled)
            known = is_controlled.copy()
            for _, advertisers in self._competitors:
                known[:, advertisers] = True
            self.market.begin(seeds, days, self._basis, known)
        self._seeds = np.atleast_1d(check_integers("seeds", seeds))
        expected_traffic = self._expected_traffic = self.expected_traffic
        script = self._last_script
        if script is None or not script.restart(expected_traffic):
            script = ScriptedBidders(self.market, self._seeds, expected_traffic)
        self._script = self._last_script = script
        self._controlled = ControlledAdvertisers(self.market, self._market_idx, self._advertiser_idx, self.task)
        self._live_competitors: list[tuple[Bidder, ControlledAdvertisers]] = []
        for bidder, advertisers in self._competitors:
            market_idx, position = np.nonzero(~is_controlled[:, advertisers])
            if len(market_idx):
                theirs = ControlledAdvertisers(self.market, market_idx, advertisers[position], self._competitor_task)
                self._live_competitors.append((bidder, theirs))
        self._advertisers = (*(theirs for _, theirs in self._live_competitors), self._controlled)
        self._is_reported = False  # whether somebody knows what came of the impressions of the tick before

    def campaigns(self) -> Campaigns:
        """What the bidder of the controlled advertisers knows before the first tick."""
        return self._controlled.campaigns(self._seeds, self._expected_traffic, self.played)

    def view(self) -> TickView:
        """What the bidder of the controlled advertisers sees at the start of the current tick."""
        return self._controlled.view()

    def observe(self) -> Float:
        """(n_controlled, 16) features at the start of the current tick, or after the last: `FEATURE_NAMES`."""
        return self._controlled.observe()

    @property
    def active(self) -> NDArray[np.bool_]:
        """(n_controlled,) False once the advertiser could not pay an impression."""
        return self.market.opening.active[self._market_idx, self._advertiser_idx]

    @property
    def bases(self) -> Int:
        """(n_markets, n_advertisers) indices into `BASES`: what everybody's bids are proportional to, since `reset`."""
        return self._basis

    @property
    def budget_left(self) -> Float:
        """(n_controlled,) currency, at the start of the current tick."""
        return self.market.opening.budget_left[self._market_idx, self._advertiser_idx]

    def step(self, bids: ArrayLike | ImpressionBids) -> ControlledTick:
        """Runs the tick: `bids` (n_controlled,) multipliers of the controlled, or their bids on each impression.

        All others bid as they do.
        """
        pacer = None if self._live_competitors or self._is_reported else self._script.all_paced
        if pacer is None or isinstance(bids, ImpressionBids) or not self.market.is_one_call:
            return self.play(self.decide(bids))[0]
        pacer.raise_ratios()
        return self._controlled.play(copy_multipliers(bids, len(self._market_idx)), pacer.arrays)

    def decide(self, bids: ArrayLike | ImpressionBids | None) -> TickBids:
        """What everybody bids in the current tick, (n_markets, n_advertisers): to be played, once a tick.

        Without `bids` the controlled follow their scripts, too.
        """
        everyone = self._script.multipliers(self.market.opening.tick)
        if not self._live_competitors and not isinstance(bids, ImpressionBids):  # the usual case, in little Python
            if bids is not None:
                self._controlled.put(split_bids(bids, len(self._market_idx)).multipliers, everyone)
            return TickBids(everyone, {})
        decided = [(theirs, self._bids_of(bidder, theirs)) for bidder, theirs in self._live_competitors]
        on_impressions: dict[tuple[int, int], NDArray[np.float32]] = {}
        reported: set[tuple[int, int]] = set()
        for theirs, given in (*decided, *([] if bids is None else [(self._controlled, bids)])):
            multipliers, own, is_reported = split_bids(given, len(theirs))
            theirs.put(multipliers, everyone)
            if own:
                of_theirs = {(int(theirs.pick[0][i]), int(theirs.pick[1][i])): column for i, column in own.items()}
                on_impressions |= of_theirs
                reported |= set(of_theirs if is_reported else ())
        return TickBids(everyone, on_impressions, frozenset(reported))

    def play(self, everyone: TickBids) -> tuple[ControlledTick, TickResult]:
        """Runs the tick with what was decided; what the controlled got, and everybody's results."""
        opening, multipliers, reported = self.market.opening, everyone.multipliers, everyone.reported
        if reported or self._is_reported:
            self._report(everyone)
        result = self.market.step(multipliers, everyone.on_impressions)
        self._script.take_in(result.tick, result.cost, result.expected_conversions)
        for key in everyone.on_impressions:
            offered = opening.predicted_mean[(*key, self._basis[key])] * opening.n_impressions[key[0]]
            multipliers[key] = mean_multiplier(result.bid[key], offered)
        ticks = [theirs.record(multipliers, opening, result) for theirs in self._advertisers]
        return ticks[-1], result

    def _report(self, everyone: TickBids) -> None:
        """Keeps what will come of the impressions of the current tick, for those who asked for it."""
        reported, self._is_reported = everyone.reported, bool(everyone.reported)
        traced = {
            which: trace_tick(
                self.market, everyone.multipliers[which], which, on_impressions=everyone.on_impressions, any_basis=True
            )
            for which in {market for market, _ in reported}
        }
        for theirs in self._advertisers:
            theirs.report(traced, reported)

    def _bases(self, is_controlled: NDArray[np.bool_]) -> Int:
        """What everybody's bids are proportional to: (n_markets, n_advertisers) indices into `BASES`."""
        bases = np.zeros(is_controlled.shape, np.int64)  # scripted competitors bid on conversions
        for _, advertisers in self._competitors:
            bases[:, advertisers] = BASES.index(self._competitor_task.basis)
        bases[is_controlled] = BASES.index(self.task.basis)
        return bases

    def _bids_of(self, bidder: Bidder, theirs: ControlledAdvertisers) -> Float | ImpressionBids:
        if self.market.opening.tick == 0:
            # only now: a reference in hindsight may have replayed the episode with the same bidder since `reset`
            bidder.reset(theirs.campaigns(self._seeds, self._expected_traffic))
        view = theirs.view()
        return check_bids(bidder, bidder.act(view), view)


def _check_below(name: str, given: Int, bound: int) -> None:
    """ValueError, which says of what, unless all integers lie in 0 .. bound - 1."""
    if len(bad := given[(given < 0) | (given >= bound)]):
        raise ValueError(f"`{name}` must lie in 0..{bound - 1}, found {bad[0]}")


def _by_bidder(competitors: Mapping[int, Bidder], n_advertisers: int) -> list[tuple[Bidder, Int]]:
    """(bidder, its advertisers) for every distinct bidder, in the order given."""
    bidders: dict[int, Bidder] = {}
    advertisers: dict[int, list[int]] = {}
    for advertiser, bidder in competitors.items():
        try:
            position = index(advertiser)
        except TypeError:
            position = -1
        if not 0 <= position < n_advertisers:
            raise ValueError(
                f"`competitors` must have advertisers 0..{n_advertisers - 1} as keys, found {advertiser!r}"
            )
        if not isinstance(bidder, Bidder):
            raise ValueError(
                f"`competitors` must hold bidders with `name`, `reset` and `act`, found {bidder!r}"
                f" for advertiser {advertiser}"
            )
        bidders[id(bidder)] = bidder
        advertisers.setdefault(id(bidder), []).append(position)
    return [(bidder, np.asarray(sorted(advertisers[key]), np.int64)) for key, bidder in bidders.items()]
