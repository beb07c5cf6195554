"""Logs of impressions: episodes in which a bidder controls every advertiser, or none, written as AuctionNet's CSV."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from agents.learning.bars import Count, counted
from auction_env.control.bidder import Bidder, check_multipliers
from auction_env.control.simulation import Simulation
from auction_env.data.formats.auctionnet_export import ImpressionWriter
from auction_env.market.params import MarketParams
from auction_env.market.population import Population, auctionnet_population
from auction_env.market.tracing import trace_tick
from auction_env.tasks import Task


def log_impressions(
    bidder: Bidder | None,
    directory: str | os.PathLike[str],
    *,
    seeds: ArrayLike,
    task: Task,
    params: MarketParams | None = None,
    population: Population | None = None,
    first_period: int = 0,
    is_compressed: bool = False,
    force: bool = False,
    progress: Count | bool | None = None,
) -> list[Path]:
    """Writes `period-<p>.csv` for each market episode; with a bidder, it is the one that `agents.collect` logs.

    Args:
        bidder: Controls every advertiser; None: all follow the scripts of the population.
        directory: Where; made if absent.
        seeds: (n,) market seeds; period p is market `seeds[p - first_period]`.
        task: The task of the advertisers.
        params, population: The market.
        first_period: Number of the first period.
        is_compressed: Whether the files are `.csv.gz`.
        force: Whether files that are there already are replaced.
        progress: Told 1 after each episode; True, False and None are those of `agents.rollouts.rollout`.

    Returns:
        The files.

    Raises:
        ValueError: The task counts something that the schema lacks.
    """
    if task.needs_funnel:
        raise ValueError(f"`task` must count conversions alone, as AuctionNet's logs do, found {task.name!r}")
    params, population = params or MarketParams(), population or auctionnet_population()
    n = population.n_advertisers
    simulation = Simulation(
        params,
        population,
        controlled_market=np.zeros(n, np.int64),
        controlled_advertiser=np.arange(n),
        task=task,
    )
    files, numbers = [], np.asarray(seeds, np.int64)
    with counted(progress, f"logging impressions of {task.name}", len(numbers)) as tell:
        for position, seed in enumerate(numbers):
            period = first_period + position
            path = Path(directory) / f"period-{period}.csv{'.gz' if is_compressed else ''}"
            simulation.reset([int(seed)])
            if bidder is not None:
                bidder.reset(simulation.campaigns())
            with ImpressionWriter(path, simulation.market, period=period, force=force) as writer:
                for _ in range(params.n_ticks):
                    own = None if bidder is None else check_multipliers(bidder, bidder.act(simulation.view()), n)
                    everyone = simulation.decide(own)
                    writer.write(trace_tick(simulation.market, everyone.multipliers[0]))
                    simulation.play(everyone)
            files.append(path)
            if tell is not None:
                tell(1)
    return files
