"""Controlled advertisers: those of a market for which somebody bids, what they know, what they see and what they got.

The same for whoever sits there: the agent of an environment, the bidder of a rollout, a user's competitor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.control.bidder import Campaigns, ImpressionOutcomes, Impressions, TickImpressions, TickView
from auction_env.control.observation import N_FEATURES, StateFeatures
from auction_env.kernels.step import controlled as kernel
from auction_env.market.episode import Opening, TickResult
from auction_env.market.market import BatchMarket
from auction_env.market.tracing import TracedTick
from auction_env.tasks import BASES, OUTCOMES, Task, Totals, unevenness

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class ControlledTick(NamedTuple):
    """Outcome of a tick for the controlled advertisers, each (n_controlled,): see `TickResult`."""

    multiplier: Float
    n_impressions: Float
    bid: Float
    offered_conversions: Float  # predicted value of all impressions of the tick
    wins: Float
    exposures: Float
    cost: Float
    conversions: Float
    expected_conversions: Float
    least_winning_cost: Float
    budget_left: Float  # after the tick
    clicks: Float
    expected_clicks: Float
    add_to_carts: Float
    expected_add_to_carts: Float
    gmv: Float
    expected_gmv: Float
    offered_clicks: Float  # predicted clicks, add-to-carts and GMV of all impressions of the tick
    offered_add_to_carts: Float
    offered_gmv: Float


_ADDED_UP = attrgetter(*OUTCOMES, "n_impressions")


def without_funnel(**columns: Float) -> ControlledTick:
    """A tick of a market that has conversions only: all that it does not have is 0."""
    nothing = np.zeros_like(columns["conversions"])
    return ControlledTick(**{name: columns.get(name, nothing) for name in ControlledTick._fields})


def mean_multiplier(bid: float, offered: float) -> float:
    """The multiplier that would have bid as much in all on impressions of this predicted amount; 0 where it is 0."""
    return float(bid / offered) if offered > 0 else 0.0


def episode_totals(ticks: ControlledTick) -> Totals:
    """Totals of episodes from their ticks, (n_ticks, n_controlled) each -> (n_controlled,) each.

    Added tick by tick, so that the result does not depend on how many episodes are added up together.
    """
    return _added_up(np.stack(_ADDED_UP(ticks)))


def totals_of_ticks(ticks: Sequence[ControlledTick]) -> Totals:
    """`episode_totals` of ticks one after the other, (n_controlled,) each, without what it does not need of them."""
    by_name = zip(*map(_ADDED_UP, ticks), strict=True)
    flat = np.concatenate(list(chain.from_iterable(by_name)))
    return _added_up(flat.reshape(len(OUTCOMES) + 1, len(ticks), -1))


def _added_up(columns: Float) -> Totals:
    """Totals from the columns of `OUTCOMES` and the impressions: (n_columns, n_ticks, ...) -> (...) each."""
    sums = np.cumsum(columns[:-1], axis=1)[:, -1]
    return Totals(*sums, unevenness=unevenness(columns[OUTCOMES.index("cost")], columns[-1]))


def stack_ticks(ticks: Sequence[ControlledTick]) -> ControlledTick:
    """Ticks behind each other: (n_ticks, n_controlled) each."""
    return ControlledTick(*(np.array(parts) for parts in zip(*ticks, strict=True)))


def tick_view(
    tick: int,
    *,
    features: Float,
    budget_left: Float,
    predicted_mean: Float,
    last: ControlledTick | None,
    impressions: TickImpressions | None = None,
) -> TickView:
    """What a bidder sees at the start of a tick, given the tick before; None at tick 0."""
    nothing = np.zeros(len(features))
    return TickView(
        tick=tick,
        features=features,
        budget_left=budget_left,
        predicted_mean=predicted_mean,
        **{f"last_{name}": getattr(last, name) if last else nothing for name in OUTCOMES},
        last_exposures=last.exposures if last else nothing,
        last_wins=last.wins if last else nothing,
        last_volume=last.n_impressions if last else nothing,
        impressions=impressions,
    )


class ControlledAdvertisers:
    """n controlled advertisers through one episode of `market`.

    Number i is advertiser `advertiser_idx[i]` of market `market_idx[i]`.

    All have the task `task`.
    """

    def __init__(self, market: BatchMarket, market_idx: Int, advertiser_idx: Int, task: Task) -> None:
        self.pick = (market_idx, advertiser_idx)
        self.task = task
        self.targets = market.episode_targets.at(self.pick)  # what the advertisers have and would pay, (n,) each
        self._market = market
        self._features = StateFeatures(len(market_idx), market.params.n_ticks)
        self._running = self._features.running
        self._n_ticks = market.params.n_ticks
        # of a next tick that there is not
        shape = (market.n_markets, market.n_advertisers, len(BASES))
        self._nothing = np.zeros(shape), np.zeros(market.n_markets, np.int64)
        self._last: ControlledTick | None = None
        self._seen: Float | None = None  # features since the last tick
        self._flat = market_idx * market.n_advertisers + advertiser_idx
        self._budget = self.targets.budget
        self._before: dict[int, ImpressionOutcomes] = {}  # of those that asked for it

    def __len__(self) -> int:
        return len(self.pick[0])

    @property
    def budget(self) -> Float:
        """(n,) currency per episode."""
        return self._budget

    def put(self, own: Float, into: Float) -> None:
        """Writes these advertisers' part, (n,), into those of all, (n_markets, n_advertisers), one block of memory."""
        into.reshape(-1)[self._flat] = own

    @property
    def category(self) -> Int:
        """(n,) indices."""
        return np.asarray(self._market.population.category, np.int64)[self.pick[1]]

    def campaigns(self, seeds: ArrayLike, expected_traffic: Float) -> Campaigns:
        """What is known before the first tick; `seeds` (n_markets,), `expected_traffic` (..., n_ticks) by market."""
        targets = self.targets
        return Campaigns(
            targets=targets,
            base=self.task.unit_worth(targets),
            category=self.category,
            advertiser=self.pick[1],
            requirements=self.task.requirements(targets),
            n_ticks=self._market.params.n_ticks,
            seed=np.asarray(seeds, np.int64)[self.pick[0]],
            expected_traffic=expected_traffic if expected_traffic.ndim == 1 else expected_traffic[self.pick[0]],
            day=self._market.day[self.pick[0]],
        )

    def observe(self) -> Float:
        """(n, 16) features at the start of the current tick: `observation.FEATURE_NAMES`.

        After the last tick no time is left and there is no current tick to describe.
        """
        if self._seen is None:
            opening, self._seen = self._market.opening, np.empty((len(self), N_FEATURES))
            kernel.observe_tick(
                *self.pick, self._budget, opening.budget_left, opening.predicted_mean, opening.n_impressions,
                (self._n_ticks - opening.tick) / self._n_ticks, *self._running, self._seen,
            )  # fmt: skip
        return self._seen.copy()

    def view(self) -> TickView:
        """What the bidder of these advertisers sees at the start of the current tick."""
        opening = self._market.opening
        return tick_view(
            opening.tick,
            features=self.observe(),
            budget_left=opening.budget_left[self.pick],
            predicted_mean=opening.predicted_mean[self.pick],
            last=self._last,
            impressions=TickImpressions(np.arange(len(self)), self._impressions, self._before.get),
        )

    def _impressions(self, i: int) -> Impressions:
        market, advertiser = int(self.pick[0][i]), int(self.pick[1][i])
        return Impressions(self._market.values_of(market, advertiser), self._market.sigmas_of(market, advertiser))

    def report(self, traced: Mapping[int, TracedTick], reported: frozenset[tuple[int, int]]) -> None:
        """Keeps what will come of each impression of the current tick, for those of `reported` (market, advertiser).

        `traced` has the tick of their markets.
        """
        self._before = {}
        if not reported:
            return
        for i, (market, advertiser) in enumerate(zip(*(part.tolist() for part in self.pick), strict=True)):
            if (market, advertiser) not in reported:
                continue
            impressions, of_tick = self._impressions(i), traced[market]
            self._before[i] = ImpressionOutcomes(
                values=impressions.values,
                sigmas=impressions.sigmas,
                bids=of_tick.bid[:, advertiser],
                slot=of_tick.slot[:, advertiser],
                price=of_tick.price[:, advertiser],
                exposed=of_tick.exposed[:, advertiser],
                converted=of_tick.converted[:, advertiser],
                least_winning_cost=of_tick.least_winning_cost,
            )

    def record(
        self, multipliers: Float, opening: Opening, result: TickResult, following: Opening | None
    ) -> ControlledTick:
        """Takes in what a tick brought, and observes the next one.

        Args:
            multipliers: (n_markets, n_advertisers) of all.
            opening, result: Of the tick.
            following: Of the next one; None after the last.

        Returns:
            These advertisers' part of the tick.
        """
        n = len(self)
        columns, self._seen = np.empty((kernel.N_COLUMNS, n)), np.empty((n, N_FEATURES))
        mean, volume = self._nothing if following is None else (following.predicted_mean, following.n_impressions)
        time_left = 0.0 if following is None else (self._n_ticks - following.tick) / self._n_ticks
        kernel.record_tick(
            *self.pick, multipliers, result.n_impressions, opening.predicted_mean, result.bid, result.totals,
            result.least_winning_cost, result.budget_left, *self._running, columns, self._budget, mean, volume,
            time_left, self._seen,
        )  # fmt: skip
        self._last = ControlledTick._make(columns)
        return self._last
