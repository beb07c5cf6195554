"""Speed of the market: full-size episodes, markets side by side, and how time grows with their size."""

from __future__ import annotations

import resource
import statistics
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numba import get_num_threads

from auction_env import BatchMarket, MarketParams, Population, auctionnet_population
from auction_env.kernels.clearing import BLOCK
from auction_env.kernels.tick import Items
from auction_env.kernels.values import draw_values
from auction_env.market.pacing import Pacer
from benchmarks.speed.measure import Measurement, Row, median_seconds, seconds_of
from benchmarks.speed.reference.numpy_market import run_episode


def pid_episode(market: BatchMarket, seed: int) -> None:
    """An episode in which every advertiser paces its budget."""
    population, params = market.population, market.params
    market.reset(np.arange(seed, seed + market.n_markets))
    shape = (market.n_markets, market.n_advertisers)
    pacer = Pacer(
        base=np.broadcast_to(population.start * market.cpa_target, shape),
        cpa_limit=market.cpa_target,
        budget=market.budget,
        expected_traffic=params.traffic.expected_share(params.n_ticks),
        gains=population.gains,
    )
    cost = value = np.zeros(shape)
    for tick in range(params.n_ticks):
        result = market.step(pacer.multipliers(tick, last_cost=cost, last_expected_conversions=value))
        cost, value = result.cost, result.expected_conversions


def episode_rows(quick: bool) -> Iterator[Row]:
    """A full-size episode of 48 pacing advertisers, and the same in NumPy."""
    params, population = MarketParams(), auctionnet_population()
    n_draws = params.n_impressions * population.n_advertisers
    market = BatchMarket(params, population)
    pid_episode(market, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = median_seconds(lambda: pid_episode(market, 1), 5 if quick else 11)
    draws = draws_per_second(market)
    bound = f"{n_draws / draws:.3f} s: 24 M normal draws at {draws / 1e6:,.0f} M/s"
    yield Row(
        name="episode_full_seconds",
        value=seconds,
        unit="s",
        reference="500,000 impressions x 48 PID, hard budgets; AuctionNet (not in this run): 23 s",
        bound=bound,
        reference_value=23.0,
        bound_value=n_draws / draws,
    )
    yield Row(
        name="episode_full_memory",
        value=(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 + market.buffer_bytes / 2**20,
        unit="MB",
        reference="buffers of the market plus growth of the process; AuctionNet (not in this run): 2,400 MB",
        bound=f"{market.buffer_bytes / 2**20:.0f} MB: the busiest tick's values",
        reference_value=2_400.0,
        bound_value=market.buffer_bytes / 2**20,
    )
    share = 10  # NumPy's time is proportional to the impressions
    smaller = replace(params, n_impressions=params.n_impressions // share)
    numpy_seconds = share * statistics.median(
        seconds_of(lambda: run_episode(1, smaller, population)) for _ in range(1 if quick else 3)
    )
    yield Row(
        name="episode_full_vs_numpy",
        value=numpy_seconds / seconds,
        unit="x",
        reference=f"the same work in vectorised NumPy: {numpy_seconds:.1f} s"
        f" ({share} x a run of {smaller.n_impressions:,} impressions)",
        bound=f"{numpy_seconds * draws / n_draws:,.0f}x: the draws alone",
        bound_value=numpy_seconds * draws / n_draws,
        more_is_better=True,
    )


def batch_rows(quick: bool) -> Iterator[Row]:
    """A tick of many small markets."""
    market = BatchMarket(MarketParams(n_impressions=4800), n_markets=64)
    draws = draws_per_second(market)
    multipliers = np.tile(market.cpa_target, (64, 1))

    def steps() -> float:
        market.reset(np.arange(64))
        return seconds_of(lambda: [market.step(multipliers) for _ in range(market.params.n_ticks)])

    steps()
    seconds = statistics.median(steps() for _ in range(5 if quick else 11)) / market.params.n_ticks
    n_draws = 64 * 4800 * market.n_advertisers / market.params.n_ticks
    yield Row(
        name="batch_market_step_ms",
        value=1e3 * seconds,
        unit="ms",
        reference="64 markets of 4,800 impressions and 48 advertisers, a tick of all",
        bound=f"{1e3 * n_draws / draws:.2f} ms: the draws alone",
        bound_value=1e3 * n_draws / draws,
    )


def size_rows(quick: bool) -> Iterator[Row]:
    """Cost per impression of small markets, and per bid of few advertisers, against large ones."""
    draws = draws_per_second(BatchMarket(MarketParams(n_impressions=4800)))
    small, large = 5_000, 2_000_000 if quick else 5_000_000
    one, many = (1e9 * _episode_seconds(n, 48) / n for n in (small, large))
    batched = 1e9 * _episode_seconds(small, 48, n_markets=100) / (100 * small)
    for name, value, what in (
        ("impression_ns_small", one, f"one market of {small:,} impressions"),
        ("impression_ns_small_x100", batched, f"100 markets of {small:,} impressions side by side"),
    ):
        yield Row(
            name=name,
            value=value,
            unit="ns",
            reference=f"{what}, an impression; one of {large:,}: {many:,.0f} ns",
            bound=f"{48e9 / draws:,.0f} ns: 48 draws",
            reference_value=many,
            bound_value=48e9 / draws,
        )
    few, usual, thousand = (1e9 * _episode_seconds(20_000, n) / (20_000 * n) for n in (8, 48, 1_000))
    yield Row(
        name="bid_ns_8_advertisers",
        value=few,
        unit="ns",
        reference=f"20,000 impressions, a bid; with 48 advertisers {usual:.1f} ns, with 1,000 {thousand:.1f} ns",
        bound=f"{1e9 / draws:.1f} ns: the draw of one bid's value",
        reference_value=usual,
        bound_value=1e9 / draws,
    )


def _episode_seconds(n_impressions: int, n_advertisers: int, n_markets: int = 1) -> float:
    """Of an episode of all markets together."""
    base = auctionnet_population()
    copies = -(-n_advertisers // base.n_advertisers)
    population = Population(
        budget=(base.budget * copies)[:n_advertisers],
        cpa_target=(base.cpa_target * copies)[:n_advertisers],
        category=(base.category * copies)[:n_advertisers],
    )
    market = BatchMarket(MarketParams(n_impressions=n_impressions), population, n_markets)
    return median_seconds(lambda: pid_episode(market, 1), 3)


def draws_per_second(market: BatchMarket) -> float:
    """Normal draws per second of the generator on all threads, writing to memory that stays in the cache."""
    n_items, n_advertisers = 2 * get_num_threads(), market.n_advertisers
    items = Items(
        start=np.array([0, n_items]),
        market=np.zeros(n_items, np.int64),
        first=np.arange(n_items) * BLOCK,
        n=np.full(n_items, BLOCK),
        tile=np.arange(n_items),
    )
    one = np.ones((1, n_advertisers), np.float32)
    values = np.empty((n_items, n_advertisers, BLOCK), np.float32)
    sums = np.empty((n_items, n_advertisers))
    n_repeats = 50

    def work() -> None:
        for tick in range(n_repeats):
            draw_values(
                np.zeros(1, np.uint64), tick, items, one, one, values, sums,
            )  # fmt: skip

    return n_repeats * values.size / median_seconds(work, 5)


MEASUREMENTS = (
    Measurement(what="full-size episode", rows=episode_rows),
    Measurement(what="markets side by side", rows=batch_rows),
    Measurement(what="small markets", rows=size_rows),
)
