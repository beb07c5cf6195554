"""Seats: advertisers of a market that somebody steers, what they know, what they see and what they got.

The same for whoever sits there: the agent of an environment, the bidder of a rollout, a user's competitor.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.market import BatchMarket, Opening, TickResult
from auction_env.observation import StateFeatures
from auction_env.tasks import Task
from auction_env.views import Campaigns, TickView

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class SteeredTick(NamedTuple):
    """Outcome of a tick for the steered advertisers, each (n_steered,): see `TickResult`."""

    multiplier: Float
    n_impressions: Float
    bid: Float
    value_all: Float  # predicted value of all impressions of the tick
    wins: Float
    exposures: Float
    cost: Float
    conversions: Float
    value: Float
    least_winning_cost: Float
    budget_left: Float  # after the tick
    clicks: Float


class Seats:
    """n seats of `market` through one episode; seat i is advertiser `advertiser_idx[i]` of `market_idx[i]`."""

    def __init__(self, market: BatchMarket, market_idx: Int, advertiser_idx: Int) -> None:
        self.pick = (market_idx, advertiser_idx)
        self._market = market
        self._features = StateFeatures(len(market_idx), market.params.n_ticks)
        self._last: SteeredTick | None = None

    def __len__(self) -> int:
        return len(self.pick[0])

    @property
    def budget(self) -> Float:
        """(n,) currency per episode."""
        return self._market.budget[self.pick[1]]

    @property
    def cpa_target(self) -> Float:
        """(n,) currency per conversion."""
        return self._market.cpa_target[self.pick[1]]

    @property
    def category(self) -> Int:
        """(n,) indices."""
        return np.asarray(self._market.population.category, np.int64)[self.pick[1]]

    def campaigns(self, task: Task, seeds: ArrayLike, expected_traffic: Float) -> Campaigns:
        """What is known before the first tick; `seeds` (n_markets,), `expected_traffic` (..., n_ticks) by market."""
        return Campaigns(
            budget=self.budget,
            cpa_target=self.cpa_target,
            category=self.category,
            advertiser=self.pick[1],
            requirements=task.requirements(self.budget, self.cpa_target),
            n_ticks=self._market.params.n_ticks,
            seed=np.asarray(seeds, np.int64)[self.pick[0]],
            expected_traffic=expected_traffic if expected_traffic.ndim == 1 else expected_traffic[self.pick[0]],
            day=self._market.day[self.pick[0]],
        )

    def observe(self) -> Float:
        """(n, 16) features at the start of the current tick: `observation.FEATURE_NAMES`."""
        opening = self._market.opening
        return self._features.observe(
            opening.tick,
            budget_left=opening.budget_left[self.pick] / self.budget,
            value_now=opening.value_mean[self.pick],
            volume_now=opening.n_impressions[self.pick[0]],
        )

    def observe_end(self, last: SteeredTick) -> Float:
        """(n, 16) features after the last tick: no time is left and there is no current tick."""
        return self._features.observe(
            self._market.params.n_ticks, budget_left=last.budget_left / self.budget, value_now=0.0, volume_now=0.0
        )

    def view(self) -> TickView:
        """What a bidder in these seats sees at the start of the current tick."""
        opening, last, nothing = self._market.opening, self._last, np.zeros(len(self))
        return TickView(
            tick=opening.tick,
            features=self.observe(),
            budget_left=opening.budget_left[self.pick],
            last_cost=last.cost if last else nothing,
            last_conversions=last.conversions if last else nothing,
            last_value=last.value if last else nothing,
            last_exposures=last.exposures if last else nothing,
            last_wins=last.wins if last else nothing,
            last_volume=last.n_impressions if last else nothing,
        )

    def record(self, multiplier: Float, opening: Opening, result: TickResult) -> SteeredTick:
        """Takes in what the tick that began with `opening` brought; returns the seats' part of it."""
        pick = self.pick
        n = result.n_impressions[pick[0]].astype(np.float64)
        tick = SteeredTick(
            multiplier=multiplier,
            n_impressions=n,
            bid=result.bid[pick],
            value_all=opening.value_mean[pick] * n,
            wins=result.wins[pick],
            exposures=result.exposures[pick],
            cost=result.cost[pick],
            conversions=result.conversions[pick],
            value=result.value[pick],
            least_winning_cost=result.least_winning_cost[pick[0]],
            budget_left=result.budget_left[pick],
            clicks=result.clicks[pick],
        )
        per_impression = 1.0 / np.maximum(n, 1.0)
        self._features.update(
            bid=tick.bid * per_impression,
            least_winning_cost=tick.least_winning_cost,
            value=opening.value_mean[pick],
            conversions=tick.conversions * per_impression,
            win_rate=tick.wins * per_impression,
            volume=n,
        )
        self._last = tick
        return tick
