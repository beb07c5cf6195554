"""Speed of the environments: one, many copies, and over a replay market."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import gymnasium
import numpy as np

from auction_env import BatchMarket, Market, MarketParams, ReplayMarket, replay_from_bids
from benchmarks.speed.market import draws_per_second
from benchmarks.speed.measure import Measurement, Row, median_seconds, seconds_of

N_COPIES, N_IMPRESSIONS = 64, 4800


def env_rows(quick: bool) -> Iterator[Row]:
    """Steps per second of one environment, of the native vector environment."""
    market = BatchMarket(MarketParams(n_impressions=N_IMPRESSIONS))
    n_ticks = market.params.n_ticks
    single_rate, vector_rate = _env_steps_per_second(quick)
    n_draws = N_IMPRESSIONS * market.n_advertisers  # an episode
    bound = draws_per_second(market) * n_ticks / n_draws
    yield Row(
        name="env_steps_per_s",
        value=single_rate,
        unit="steps/s",
        reference=f"one environment, {N_IMPRESSIONS:,} impressions an episode, 47 live competitors",
        bound=f"{bound:,.0f}: {n_draws:,} normal draws an episode on all threads",
        bound_value=bound,
        more_is_better=True,
    )
    yield Row(
        name="vector_env_steps_per_s",
        value=vector_rate,
        unit="steps/s",
        reference=f"{N_COPIES} copies, the same market, random actions; {N_COPIES} single environments in a loop:"
        f" {single_rate:,.0f} steps/s",
        bound=f"{bound:,.0f}: {n_draws:,} normal draws an episode on all threads",
        reference_value=single_rate,
        bound_value=bound,
        more_is_better=True,
    )


def _env_steps_per_second(quick: bool) -> tuple[float, float]:
    """Of N_COPIES single environments in a loop, and of the vector environment, whole episodes with their resets."""
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


def replay_rows(quick: bool) -> Iterator[Row]:
    """Steps per second of the vector environment over a replay market."""
    n_envs, n_impressions = N_COPIES, N_IMPRESSIONS
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
    yield Row(
        name="replay_env_steps_per_s",
        value=n_envs * n_steps / seconds,
        unit="steps/s",
        reference=f"{n_envs} copies, {n_impressions:,} impressions an episode, logged bids, random actions",
        bound=f"{bytes_per_second / step_bytes:,.0f}: reading {step_bytes:,.0f} bytes a step at the speed of a copy",
        bound_value=bytes_per_second / step_bytes,
        more_is_better=True,
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
            replay_from_bids(
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


MEASUREMENTS = (
    Measurement(what="environments", rows=env_rows),
    Measurement(what="replay", rows=replay_rows),
)
