"""A market with scripted competitors and the view of those advertisers that somebody steers.

The environments and the rollouts are thin adapters over `Simulation`: it alone says what a steered advertiser
sees at the start of a tick, what the others do, and what is recorded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.market import BatchMarket, TickResult
from auction_env.observation import StateFeatures
from auction_env.pacing import Pacer
from auction_env.params import MarketParams
from auction_env.population import Population

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


class Simulation:
    """Markets in which `steered` advertisers are controlled from outside and all others are scripted.

    Args:
        params: Size and rules of the markets.
        population: The advertisers.
        steered_market, steered_advertiser: (n_steered,) the market and the advertiser of each steered one.
        n_markets: Number of markets.
    """

    def __init__(
        self,
        params: MarketParams,
        population: Population,
        *,
        steered_market: ArrayLike,
        steered_advertiser: ArrayLike,
        n_markets: int = 1,
    ) -> None:
        self.market = BatchMarket(params, population, n_markets)
        self.steer(steered_market, steered_advertiser)

    @property
    def params(self) -> MarketParams:
        return self.market.params

    @property
    def population(self) -> Population:
        return self.market.population

    @property
    def n_steered(self) -> int:
        return len(self._market_idx)

    def steer(self, market: ArrayLike, advertiser: ArrayLike) -> None:
        """Chooses who is steered from the next `reset` on; see the class's arguments."""
        self._market_idx, self._advertiser_idx = (
            np.asarray(market, np.int64),
            np.asarray(advertiser, np.int64),
        )
        if self._market_idx.shape != self._advertiser_idx.shape or self._market_idx.ndim != 1:
            raise ValueError(
                "`market` and `advertiser` must be vectors of one length,"
                f" found shapes {self._market_idx.shape} and {self._advertiser_idx.shape}"
            )
        n_advertisers = self.market.n_advertisers
        bounds = (
            ("market", self._market_idx, self.market.n_markets),
            ("advertiser", self._advertiser_idx, n_advertisers),
        )
        for name, index, bound in bounds:
            if len(index) and not (index.min() >= 0 and index.max() < bound):
                bad = index[(index < 0) | (index >= bound)][0]
                raise ValueError(f"`{name}` must lie in 0..{bound - 1}, found {bad}")

    # what a steered advertiser is: (n_steered,) each
    @property
    def steered_market(self) -> Int:
        return self._market_idx

    @property
    def advertiser(self) -> Int:
        return self._advertiser_idx

    @property
    def budget(self) -> Float:
        return self.market.budget[self._advertiser_idx]

    @property
    def cpa_target(self) -> Float:
        return self.market.cpa_target[self._advertiser_idx]

    @property
    def category(self) -> Int:
        return np.asarray(self.population.category, np.int64)[self._advertiser_idx]

    @property
    def expected_traffic(self) -> Float:
        """(n_ticks,) expected share of the impressions, known to all bidders."""
        return self.params.traffic.expected_share(self.params.n_ticks)

    def reset(self, seeds: ArrayLike) -> None:
        """Starts an episode in every market; `seeds` (n_markets,)."""
        self.market.reset(seeds)
        shape = (self.market.n_markets, self.market.n_advertisers)
        self._pacer = Pacer(
            base=np.broadcast_to(self.population.start * self.market.cpa_target, shape),
            cpa_limit=self.market.cpa_target,
            budget=self.market.budget,
            expected_traffic=self.expected_traffic,
            gains=self.population.gains,
        )
        self._features = StateFeatures(self.n_steered, self.params.n_ticks)
        self._last_cost, self._last_value = np.zeros(shape), np.zeros(shape)

    def observe(self) -> Float:
        """(n_steered, 16) features at the start of the current tick: `observation.FEATURE_NAMES`."""
        opening = self.market.opening
        pick = (self._market_idx, self._advertiser_idx)
        return self._features.observe(
            opening.tick,
            budget_left=opening.budget_left[pick] / self.budget,
            value_now=opening.value_mean[pick],
            volume_now=opening.n_impressions[self._market_idx],
        )

    def observe_end(self, last: SteeredTick) -> Float:
        """(n_steered, 16) features after the last tick: no time is left and there is no current tick."""
        return self._features.observe(
            self.params.n_ticks, budget_left=last.budget_left / self.budget, value_now=0.0, volume_now=0.0
        )

    @property
    def active(self) -> NDArray[np.bool_]:
        """(n_steered,) False once the advertiser could not pay an impression."""
        return self.market.opening.active[self._market_idx, self._advertiser_idx]

    @property
    def budget_left(self) -> Float:
        """(n_steered,) currency, at the start of the current tick."""
        return self.market.opening.budget_left[self._market_idx, self._advertiser_idx]

    def step(self, multipliers: ArrayLike) -> tuple[SteeredTick, TickResult]:
        """Runs the tick: `multipliers` (n_steered,) for the steered, the script for all others."""
        given = np.asarray(multipliers, np.float64)
        if given.shape != (self.n_steered,):
            raise ValueError(f"`multipliers` must have shape ({self.n_steered},), found {given.shape}")
        opening, pick = self.market.opening, (self._market_idx, self._advertiser_idx)
        everyone = self._pacer.multipliers(opening.tick, last_cost=self._last_cost, last_value=self._last_value)
        everyone[pick] = given
        result = self.market.step(everyone)
        self._last_cost, self._last_value = result.cost, result.value
        n = result.n_impressions[self._market_idx].astype(np.float64)
        tick = SteeredTick(
            multiplier=given,
            n_impressions=n,
            bid=result.bid[pick],
            value_all=opening.value_mean[pick] * n,
            wins=result.wins[pick],
            exposures=result.exposures[pick],
            cost=result.cost[pick],
            conversions=result.conversions[pick],
            value=result.value[pick],
            least_winning_cost=result.least_winning_cost[self._market_idx],
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
        return tick, result
