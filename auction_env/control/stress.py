"""Live markets under stress: other budgets and targets than the advertisers have, for the tested one or its rivals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from auction_env.control.controlled_market import PlayableMarket
from auction_env.control.simulation import LiveMarket, Simulation
from auction_env.tasks import Targets, Task

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stress:
    """Factors of what advertisers have and would pay.

    Attributes:
        budget, cpa: Of the controlled advertiser's budget and target CPA.
        rival_budget: Of the budgets of all others.
    """

    budget: float = 1.0
    cpa: float = 1.0
    rival_budget: float = 1.0

    def __post_init__(self) -> None:
        for name in ("budget", "cpa", "rival_budget"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"`{name}` must be positive, found {value}")

    def targets(self, targets: Targets, is_controlled: NDArray[np.bool_]) -> Targets:
        """The targets (n_markets, n_advertisers) times the factors, by who is controlled, of the same shape."""
        return targets._replace(
            budget=targets.budget * np.where(is_controlled, self.budget, self.rival_budget),
            cpa=targets.cpa * np.where(is_controlled, self.cpa, 1.0),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StressedMarket(LiveMarket):
    """A live market in which the controlled advertiser and its rivals have other budgets: made by `stressed`.

    Attributes:
        base: The market without stress.
        stress: The factors.
    """

    base: LiveMarket
    stress: Stress

    @property
    def mean_impressions(self) -> float:
        return self.base.mean_impressions

    @property
    def source(self) -> object | None:
        return self.base.source

    def needed(self, task: Task) -> LiveMarket:
        return stressed(self.base.needed(task), self.stress)

    def days_of(self, seeds: Int) -> None:
        return self.base.days_of(seeds)

    def alike(self, task: Task, seeds: Int, advertisers: Int, days: Int | None) -> Int:
        return self.base.alike(task, seeds, advertisers, days)

    def difference(self, other: PlayableMarket) -> str:
        if not isinstance(other, StressedMarket):
            return "one is under stress, the other is not"
        return self.base.difference(other.base) or ("" if self.stress == other.stress else "another stress")

    def _simulation(self, task: Task, advertisers: Int, market_idx: Int, n_markets: int) -> Simulation:
        simulation = self.base._simulation(task, advertisers, market_idx, n_markets)
        is_controlled = np.zeros((n_markets, self.population.n_advertisers), np.bool_)
        is_controlled[market_idx, advertisers] = True
        simulation.market.rescale = partial(self.stress.targets, is_controlled=is_controlled)
        simulation.played = self
        return simulation


def stressed(market: LiveMarket, stress: Stress) -> LiveMarket:
    """The market with the factors of `stress`; the market itself where all of them are 1."""
    if stress == Stress():
        return market
    fields = {name: getattr(market, name) for name in ("params", "population", "competitors", "competitor_task")}
    return StressedMarket(**fields, base=market, stress=stress)
