"""The market of `auction_env/Bidding-v0`: all advertisers bid in the same auctions, scripted or by bidders."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from auction_env.control.bidder import Bidder
from auction_env.control.simulation import LiveMarket, Simulation
from auction_env.envs.spec import (
    MAX_EPISODE_SEED,
    ActionArguments,
    BiddingSpec,
    Choice,
    Chosen,
    EpisodeId,
    Maxima,
    resolve_spec,
)
from auction_env.market.competitors.presets import read_population
from auction_env.market.market import market_targets
from auction_env.market.pacing import MAX_LOG_RATIO
from auction_env.market.params import MarketParams
from auction_env.market.population import Population, auctionnet_population, extreme_targets, scaled_targets
from auction_env.tasks import Targets, Task, get_task

_LARGEST_DRAW = 6.0  # of a normal variable: 24 bits reach 5.4


def highest_reserve(params: MarketParams) -> float:
    """The largest reserve price of an impression, currency."""
    return float(params.reserve * np.exp(_LARGEST_DRAW * params.reserve_noise))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LiveEnvMarket(LiveMarket):
    """An `EnvMarket` with live competitors."""

    @property
    def chosen_by(self) -> tuple[str, ...]:
        return ("advertiser",)

    @property
    def label(self) -> str:
        return f"{self.params.n_impressions:,} impressions, {self.params.mechanism}"

    @property
    def targets(self) -> Targets:
        return extreme_targets(market_targets(self.params, self.population), self.population)

    def maxima(self, task: Task) -> Maxima:
        params, population = self.params, self.population
        targets = scaled_targets(market_targets(params, population), 1.0, 1.0 + population.cpa_swing)
        first_bases = np.maximum(targets.cpa, np.asarray(population.start) * targets.cpa)
        amount = 1.0  # a probability
        if task.basis == "gmv" and params.funnel is not None:
            amount = float(np.max(params.funnel.highest_order * targets.roas * targets.cpa))  # swings cancel out
        volume = float(np.ceil(params.n_impressions * params.traffic.highest_volume))
        return Maxima(
            competing_bid=float(first_bases.max() * np.exp(MAX_LOG_RATIO)),
            reserve=highest_reserve(params),
            quality=max(1.0, float(np.max(params.quality or 1.0))),
            amount=amount,
            n_impressions=volume,
            # those of many ticks may be reported in a tick of one impression
            conversions=volume if params.conversion_delay > 0 else 1.0,
        )

    def check(self, choice: Choice) -> None:
        advertiser, n = choice.get("advertiser", 0), self.population.n_advertisers
        if not 0 <= advertiser < n:
            raise ValueError(f"`advertiser` must lie in 0..{n - 1}, found {advertiser}")

    def draw(self, rng: np.random.Generator, choice: Choice) -> EpisodeId:
        seed, advertiser = int(rng.integers(MAX_EPISODE_SEED)), int(rng.integers(self.population.n_advertisers))
        return EpisodeId(seed, choice.get("advertiser", advertiser))

    def controlled_market(self, task: Task, n: int) -> Simulation:
        return self.simulation(task, markets=np.arange(n), advertisers=np.zeros(n, np.int64), n_markets=n)

    def simulation(self, task: Task, *, markets: ArrayLike, advertisers: ArrayLike, n_markets: int = 1) -> Simulation:
        """Markets in which these advertisers, (n,) with their markets, are controlled."""
        return Simulation(
            self.params,
            self.population,
            controlled_market=markets,
            controlled_advertiser=advertisers,
            n_markets=n_markets,
            task=task,
            competitors=copy.deepcopy(self.competitors),  # bidders have a state, which environments must not share
        )


class MarketArguments(ActionArguments, total=False):
    """The arguments that all environments over the live market share; see `BiddingEnv`."""

    task: str | Task
    params: MarketParams | None
    population: Population | str | None
    redraw: tuple[float, float] | None
    n_impressions: int | None
    mechanism: str | None
    competitors: Mapping[int, Bidder] | None


def live_spec(
    *,
    advertiser: Chosen = None,
    task: str | Task = "MaxConversions",
    params: MarketParams | None = None,
    population: Population | str | None = None,
    redraw: tuple[float, float] | None = None,
    n_impressions: int | None = None,
    mechanism: str | None = None,
    competitors: Mapping[int, Bidder] | None = None,
    **action: Unpack[ActionArguments],
) -> BiddingSpec[LiveEnvMarket]:
    """The arguments of an environment over the live market, resolved and checked; see `BiddingEnv`."""
    task = get_task(task)
    market = LiveEnvMarket(
        params=_market_params(params, task, n_impressions=n_impressions, mechanism=mechanism),
        population=with_redraw(named_population(population) or auctionnet_population(), redraw),
        competitors=competitors,
    )
    return resolve_spec(task, market, {"advertiser": advertiser}, **action)


def named_population(population: Population | str | None) -> Population | None:
    """A population, or that of a name or JSON file; None for None."""
    return read_population(population) if isinstance(population, str) else population


def with_redraw(population: Population, redraw: tuple[float, float] | None) -> Population:
    """The population with budgets and target CPAs drawn anew in each episode within these shares; None: as it is."""
    if redraw is None:
        return population
    if len(redraw) != 2:
        raise ValueError(f"`redraw` must be (budget, CPA), two shares in [0, 1), found {redraw}")
    return dataclasses.replace(population, budget_swing=redraw[0], cpa_swing=redraw[1])


def _market_params(params: MarketParams | None, task: Task, **shortcuts: int | str | None) -> MarketParams:
    """`params`, or default ones with the shortcuts that are given and what the task needs; ValueError if both are."""
    given: dict[str, Any] = {name: value for name, value in shortcuts.items() if value is not None}
    if params is None:
        return MarketParams.for_task(task, **given)
    if given:
        raise ValueError(f"give `params` or `{next(iter(given))}`, not both")
    params.check_task(task)
    return params
