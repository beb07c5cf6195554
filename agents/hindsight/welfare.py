"""Welfare: what the winners' impressions are worth to them, against the allocation that is worth most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.hindsight.tracing import traced_episode
from agents.learning.bars import Count, counted
from agents.rollouts import check_days
from auction_env.control.bidder import Bidder
from auction_env.control.simulation import Simulation
from auction_env.integers import check_integers
from auction_env.market.params import MarketParams
from auction_env.market.population import Population, auctionnet_population
from auction_env.market.tracing import TracedTick
from auction_env.tasks import BASES, QUANTITIES, Task

Float = NDArray[np.float64]


class Welfare(NamedTuple):
    """Of n episodes, (n,) each, currency; expectations over exposure and conversions.

    Attributes:
        realised: What the slots are worth to those who won them.
        efficient: The most that the slots could be worth, if each impression went to those who value it most.
        revenue: What the winners pay.
    """

    realised: Float
    efficient: Float
    revenue: Float

    @property
    def share(self) -> Float:
        """(n,) realised over efficient; NaN where nothing is worth anything."""
        return np.divide(
            self.realised, self.efficient, out=np.full_like(self.realised, np.nan), where=self.efficient > 0
        )

    @property
    def surplus(self) -> Float:
        """(n,) what all advertisers together have left: realised minus revenue."""
        return self.realised - self.revenue


def measure_welfare(
    bidder: Bidder,
    *,
    seeds: ArrayLike,
    advertisers: ArrayLike,
    task: Task,
    params: MarketParams | None = None,
    population: Population | None = None,
    competitors: Mapping[int, Bidder] | None = None,
    competitor_task: str | Task = "TargetCPA",
    days: ArrayLike | None = None,
    progress: Count | bool | None = None,
) -> Welfare:
    """The welfare of episodes in the live market, of all advertisers, the one that the bidder plays among them.

    An impression is worth to an advertiser its predicted amount of what the advertiser bids on, times what a unit is
    worth: the target CPA, the target CPC, the worth of an add-to-cart, or 1 for a unit of GMV. The efficient allocation
    gives the slots of each impression to the highest worths, whatever budgets and reserve prices are. So budgets that
    bind cost welfare here, as they do in the literature on efficiency without liquidity.

    Args as for `agents.rollout`.

    Raises:
        ValueError: What comes of an impression is not known in its tick (`trace_tick`).
    """
    check_days(seeds, days)
    seed, advertiser = check_integers("seeds", seeds), check_integers("advertisers", advertisers)
    params, population = params or MarketParams.for_task(task), population or auctionnet_population()
    sums = np.zeros((len(seed), 3))
    with counted(progress, "welfare", len(seed)) as tell:
        for row in range(len(seed)):
            simulation = Simulation(
                params,
                population,
                controlled_market=np.zeros(1, np.int64),
                controlled_advertiser=advertiser[[row]],
                n_markets=1,
                task=task,
                competitors=competitors,
                competitor_task=competitor_task,
            )
            simulation.reset([int(seed[row])], None if days is None else [int(np.asarray(days)[row])])
            worth = _unit_worth(simulation)
            seen = np.asarray(np.cumprod(params.exposure), np.float64)
            for traced in traced_episode(simulation, bidder):
                sums[row] += tick_welfare(traced, worth, seen)
            if tell is not None:
                tell(1)
    return Welfare(*sums.T)


def tick_welfare(traced: TracedTick, worth: Float, seen: Float) -> tuple[float, float, float]:
    """Realised and efficient welfare and revenue of a tick, currency.

    Args:
        traced: The tick.
        worth: (n_advertisers,) of a unit of what each bids on, currency.
        seen: (n_slots,) probability that a slot is exposed, falling.
    """
    values = traced.value * worth
    by_slot = np.append(0.0, seen)[traced.slot]  # (n_impressions, n_advertisers); 0 where nothing was won
    k = min(len(seen), values.shape[1])
    highest = -np.sort(np.partition(-values, k - 1, axis=1)[:, :k], axis=1)
    return float((values * by_slot).sum()), float((highest @ seen[:k]).sum()), float((traced.price * by_slot).sum())


def _unit_worth(simulation: Simulation) -> Float:
    """(n_advertisers,) what a unit of what each advertiser bids on is worth to it, currency."""
    targets = simulation.market.episode_targets.at(0)
    worth = [np.ones_like(targets.budget) if b == "gmv" else getattr(targets, QUANTITIES[b].target) for b in BASES]
    return np.asarray(np.stack(worth)[simulation.bases[0], np.arange(len(targets.budget))])
