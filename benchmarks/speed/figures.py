"""`vamo bench speed`: speed figures, each a ratio against a reference timed in the same run, with its bound.

A row holds a figure (median of several runs), its unit, what it is compared with and the physical limit it runs
against, measured in the same run: normal draws per second of the generator alone, bytes per second of a copy.
With `quick` the NumPy reference runs a fifth of the impressions and is scaled up; its row says so.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numba import get_num_threads
from rich.table import Table

from agents import Bidder, PidBidder, rollout, rollout_each
from auction_env import (
    TASKS,
    BatchMarket,
    Funnel,
    Market,
    MarketParams,
    Population,
    ReplayMarket,
    auctionnet_population,
)
from auction_env.files import write_atomically
from auction_env.kernels.clearing import BLOCK
from auction_env.kernels.tick import Items
from auction_env.kernels.values import draw_values
from auction_env.market.pacing import Pacer
from benchmarks.console import console

PARTS = ("market", "env", "training", "inference", "data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure: `reference` says what it is measured against, `bound` what limits it physically."""

    name: str
    value: float
    unit: str
    reference: str
    bound: str


def run(*, quick: bool = False, only: str | None = None, json_path: Path | None = None) -> list[Row]:
    """Measures, prints the table, and writes the rows to `json_path`.

    Raises:
        ValueError: `only` is not one of PARTS.
    """
    if only is not None and only not in PARTS:
        raise ValueError(f"`only` must be one of {PARTS}, found {only!r}")
    parts: dict[str, Callable[[bool], Iterator[Row]]] = {
        "market": market_rows,
        "env": env_rows,
        "training": training_rows,
        "inference": inference_rows,
        "data": data_rows,
    }
    rows: list[Row] = []
    for name, measure in parts.items():
        if only in (None, name):
            with console.status(f"measuring: {name}"):
                rows.extend(measure(quick))
    _print(rows)
    if json_path is not None:
        text = json.dumps([asdict(row) for row in rows], indent=1) + "\n"
        write_atomically(json_path, text.encode())
    return rows


def _print(rows: list[Row]) -> None:
    table = Table(title=f"{get_num_threads()} threads, {_processor()}", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("reference", overflow="fold")
    table.add_column("bound", overflow="fold")
    for row in rows:
        table.add_row(row.name, _number(row.value), row.unit, row.reference, row.bound)
    console.print(table)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def median_seconds(work: Callable[[], Any], n: int) -> float:
    """Median wall time of n runs, after one that is not counted."""
    work()
    return statistics.median(seconds_of(work) for _ in range(n))


def seconds_of(work: Callable[[], Any]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


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


def market_rows(quick: bool) -> Iterator[Row]:
    """A full-size episode of 48 pacing advertisers, and the same in NumPy."""
    from benchmarks.speed.reference.numpy_market import run_episode

    params, population = MarketParams(), auctionnet_population()
    n_draws = params.n_impressions * population.n_advertisers
    market = BatchMarket(params, population)
    pid_episode(market, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = median_seconds(lambda: pid_episode(market, 1), 5 if quick else 11)
    draws = _draws_per_second(market)
    bound = f"{n_draws / draws:.3f} s: 24 M normal draws at {draws / 1e6:,.0f} M/s"
    yield Row(
        name="episode_full_seconds",
        value=seconds,
        unit="s",
        reference="500,000 impressions x 48 PID, hard budgets; AuctionNet: 23 s",
        bound=bound,
    )
    yield Row(
        name="episode_full_memory",
        value=(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 + _market_megabytes(market),
        unit="MB",
        reference="buffers of the market plus growth of the process; AuctionNet: 2,400 MB",
        bound=f"{_market_megabytes(market):.0f} MB: the busiest tick's values",
    )
    share = 5 if quick else 1  # NumPy's time is proportional to the impressions: see the module's docstring
    smaller = replace(params, n_impressions=params.n_impressions // share)
    numpy_seconds = share * statistics.median(
        seconds_of(lambda: run_episode(1, smaller, population)) for _ in range(1 if quick else 3)
    )
    yield Row(
        name="episode_full_vs_numpy",
        value=numpy_seconds / seconds,
        unit="x",
        reference=f"the same work in vectorised NumPy: {numpy_seconds:.1f} s"
        + (f" ({share} x a run of {smaller.n_impressions:,} impressions)" if quick else ""),
        bound=f"{numpy_seconds * draws / n_draws:,.0f}x: the draws alone",
    )

    yield _batch_row(quick, draws)
    yield _side_by_side_row(quick)
    yield from _scaling_rows(quick, draws)


def _batch_row(quick: bool, draws: float) -> Row:
    market = BatchMarket(MarketParams(n_impressions=4800), n_markets=64)
    multipliers = np.tile(market.cpa_target, (64, 1))

    def steps() -> float:
        market.reset(np.arange(64))
        return seconds_of(lambda: [market.step(multipliers) for _ in range(market.params.n_ticks)])

    steps()
    seconds = statistics.median(steps() for _ in range(5 if quick else 11)) / market.params.n_ticks
    n_draws = 64 * 4800 * market.n_advertisers / market.params.n_ticks
    return Row(
        name="batch_market_step_ms",
        value=1e3 * seconds,
        unit="ms",
        reference="64 markets of 4,800 impressions and 48 advertisers, a tick of all",
        bound=f"{1e3 * n_draws / draws:.2f} ms: the draws alone",
    )


def _side_by_side_row(quick: bool) -> Row:
    """What `rollout_each` saves: a tuning of 12 candidates that see the same episodes."""
    bidders: list[Bidder] = [PidBidder(start) for start in np.linspace(0.5, 1.5, 12)]
    n_episodes, params = 24, MarketParams(n_impressions=4800, funnel=Funnel())
    episodes: dict[str, Any] = {"seeds": np.arange(n_episodes), "advertisers": np.arange(n_episodes)}
    episodes |= {"task": TASKS["TargetCPA"], "params": params}
    n_runs = 3 if quick else 7
    apart = median_seconds(lambda: [rollout(bidder, **episodes) for bidder in bidders], n_runs)
    together = median_seconds(lambda: rollout_each(bidders, **episodes), n_runs)
    return Row(
        name="side_by_side_speedup",
        value=apart / together,
        unit="x",
        reference=f"12 PIDs on 24 episodes of 4,800 impressions with a funnel, one after the other: {apart:.2f} s",
        bound=f"{len(bidders)}x: everything done once, auctions included",
    )


def _scaling_rows(quick: bool, draws: float) -> Iterator[Row]:
    """Cost per impression at several sizes, cost per bid with several numbers of advertisers."""
    sizes = (5_000, 500_000, 2_000_000 if quick else 5_000_000)
    per_impression = [1e9 * _episode_seconds(size, 48) / size for size in sizes]
    yield Row(
        name="scaling_impressions",
        value=per_impression[-1] / per_impression[0],
        unit="x",
        reference="ns an impression: "
        + ", ".join(f"{t:,.0f} at {n:,}" for n, t in zip(sizes, per_impression, strict=True)),
        bound="1: time proportional to impressions",
    )
    batched = 1e9 * _episode_seconds(sizes[0], 48, n_markets=100) / (100 * sizes[0])
    yield Row(
        name="scaling_impressions_batched",
        value=per_impression[-1] / batched,
        unit="x",
        reference=f"ns an impression: {batched:,.0f} in 100 markets of {sizes[0]:,} side by side,"
        f" {per_impression[-1]:,.0f} at {sizes[-1]:,}",
        bound="1: time proportional to impressions",
    )
    numbers = (8, 48, 1000)
    per_bid = [1e9 * _episode_seconds(20_000, n) / (20_000 * n) for n in numbers]
    yield Row(
        name="scaling_advertisers",
        value=per_bid[-1] / per_bid[1],
        unit="x",
        reference="ns a bid: " + ", ".join(f"{t:.1f} with {n:,}" for n, t in zip(numbers, per_bid, strict=True)),
        bound=f"{1e9 / draws:.1f} ns: the draw of one bid's value",
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


def _draws_per_second(market: BatchMarket) -> float:
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


def _market_megabytes(market: BatchMarket) -> float:
    return market.buffer_bytes / 2**20


N_COPIES, N_IMPRESSIONS = 64, 4800  # of the environment figures


def env_rows(quick: bool) -> Iterator[Row]:
    """Steps per second of one environment and of the native vector environment, and its share of PPO's time."""
    market = BatchMarket(MarketParams(n_impressions=N_IMPRESSIONS))
    n_ticks = market.params.n_ticks
    single_rate, vector_rate = _env_steps_per_second(quick)
    n_draws = N_IMPRESSIONS * market.n_advertisers  # an episode
    bound = _draws_per_second(market) * n_ticks / n_draws
    yield Row(
        name="env_steps_per_s",
        value=single_rate,
        unit="steps/s",
        reference="one environment, 4,800 impressions an episode, 47 live competitors",
        bound=f"{bound:,.0f}: {n_draws:,} normal draws an episode on all threads",
    )
    yield Row(
        name="vector_env_steps_per_s",
        value=vector_rate,
        unit="steps/s",
        reference=f"{N_COPIES} copies, the same market, random actions; {N_COPIES} single environments in a loop:"
        f" {single_rate:,.0f} steps/s",
        bound=f"{bound:,.0f}: {n_draws:,} normal draws an episode on all threads",
    )
    if importlib.util.find_spec("stable_baselines3") is not None:
        yield ppo_row(quick)
    yield replay_row(quick)


def ppo_row(quick: bool) -> Row:
    """The environment's share of the time of PPO with its default settings, a rollout being an episode a copy."""
    import gymnasium
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecNormalize

    from agents.sb3.vector_env import NativeVecEnv

    spent = 0.0

    class Timed(NativeVecEnv):
        def step_wait(self) -> Any:
            nonlocal spent
            start = time.perf_counter()
            outcome = super().step_wait()
            spent += time.perf_counter() - start
            return outcome

    vector = gymnasium.make_vec(
        "auction_env/Bidding-v0",
        num_envs=N_COPIES,
        n_impressions=N_IMPRESSIONS,
        autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
    )
    n_ticks = MarketParams().n_ticks
    model = PPO("MlpPolicy", VecNormalize(Timed(vector)), n_steps=n_ticks, seed=0, device="cpu")
    model.learn(n_ticks * N_COPIES)  # not counted: compilation and first calls
    spent = 0.0
    seconds = seconds_of(lambda: model.learn((1 if quick else 3) * n_ticks * N_COPIES))
    return Row(
        name="ppo_env_share",
        value=spent / seconds,
        unit="of the time",
        reference=f"PPO's default settings on {N_COPIES} copies; the whole: {seconds:.1f} s",
        bound="0: an environment that costs nothing",
    )


def _env_steps_per_second(quick: bool) -> tuple[float, float]:
    """Of N_COPIES single environments in a loop, and of the vector environment, whole episodes with their resets."""
    import gymnasium

    name, n_ticks = "auction_env/Bidding-v0", MarketParams().n_ticks
    envs = [gymnasium.make(name, n_impressions=N_IMPRESSIONS) for _ in range(N_COPIES)]
    vector = gymnasium.make_vec(
        name,
        num_envs=N_COPIES,
        n_impressions=N_IMPRESSIONS,
        autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
    )
    actions = np.random.default_rng(0).uniform(-1, 1, (n_ticks, N_COPIES, 1)).astype(np.float32)

    def loop() -> None:
        for i, env in enumerate(envs):
            env.reset(seed=i)
            for tick in range(n_ticks):
                env.step(actions[tick, i])

    def batch() -> None:
        for tick in range(n_ticks):
            vector.step(actions[tick])

    vector.reset(seed=0)
    n_steps = N_COPIES * n_ticks
    vector_seconds = median_seconds(batch, 7 if quick else 21)
    return n_steps / statistics.median(seconds_of(loop) for _ in range(1 if quick else 3)), n_steps / vector_seconds


def replay_row(quick: bool) -> Row:
    """Steps per second of the vector environment over a replay market."""
    import gymnasium

    n_envs, n_impressions = 64, 4800
    market = _recorded_market(n_impressions, n_periods=4)
    env = gymnasium.make_vec("auction_env/Replay-v0", num_envs=n_envs, market=market)
    n_steps = market.n_ticks + 1  # the step after the last starts the next episode
    actions = np.random.default_rng(0).uniform(-1, 1, (n_steps, n_envs, 1)).astype(np.float32)
    env.reset(seed=0)

    def episodes() -> None:
        for action in actions:
            env.step(action)

    seconds = median_seconds(episodes, 30 if quick else 100)
    impression_bytes = sum(array[..., :1].nbytes for array in market.log[:2]) + 2 + 4  # ladder, exposure, own value
    step_bytes = impression_bytes * n_impressions / market.n_ticks
    block = np.ones(2**22)
    bytes_per_second = block.nbytes / median_seconds(block.copy, 9)
    return Row(
        name="replay_env_steps_per_s",
        value=n_envs * n_steps / seconds,
        unit="steps/s",
        reference=f"{n_envs} copies, {n_impressions:,} impressions an episode, logged bids, random actions",
        bound=f"{bytes_per_second / step_bytes:,.0f}: reading {step_bytes:,.0f} bytes a step at the speed of a copy",
    )


def _recorded_market(n_impressions: int, n_periods: int) -> ReplayMarket:
    """Days of the market in which every advertiser bids its target CPA, as a log has them."""
    market = Market(MarketParams(n_impressions=n_impressions))
    days = []
    for period in range(n_periods):
        market.reset(period)
        ticks = []
        for _ in range(market.params.n_ticks):
            ticks.append(market.values().copy())
            market.step(market.cpa_target)
        values = np.concatenate(ticks)
        days.append(
            ReplayMarket.from_bids(
                tick=np.repeat(np.arange(len(ticks)), [len(tick) for tick in ticks]),
                bids=values * market.cpa_target,
                values=values,
                sigmas=0.15 * values,
                budget=market.budget,
                cpa_target=market.cpa_target,
                period=period,
            )
        )
    return ReplayMarket.concat(days)


def training_rows(quick: bool) -> Iterator[Row]:
    """Validation-aligned weights against naive sharing and torchjd's optimisers."""
    from benchmarks.speed import training as speed_training  # here, because it needs torch and this module's `Row`

    yield from speed_training.rows(quick)


def inference_rows(quick: bool) -> Iterator[Row]:
    """Latency of the generative agent's decisions."""
    from benchmarks.speed import inference as speed_inference  # here, because it needs torch and this module's `Row`

    yield from speed_inference.inference_rows(quick)


def data_rows(quick: bool) -> Iterator[Row]:
    """Import, collection and relabelling of trajectories."""
    from benchmarks.speed import data as speed_data  # here, because it needs this module's `Row`

    yield from speed_data.rows(quick)
