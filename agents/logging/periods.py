"""Logged periods without the log: what an import of the impressions of simulated episodes gives, without the files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.rollouts import PlayedTick, episodes_of, to_trajectories
from auction_env import data
from auction_env.control.simulation import Simulation
from auction_env.data import SCHEMA_VERSION, TrajectoryData
from auction_env.data.manifest import code_version
from auction_env.files import unfinished_work
from auction_env.market.market import BatchMarket
from auction_env.market.params import MarketParams
from auction_env.market.population import Population
from auction_env.market.tracing import TracedTick, check_traceable, trace_tick
from auction_env.replay.market import FULL_LADDER, ReplayMarket, one_period, rank_bids
from auction_env.replay.params import ReplayParams
from auction_env.replay.storage import FORMAT_VERSION, join_replays, save_replay
from auction_env.replay.storage import MANIFEST as MARKET_MANIFEST
from auction_env.tasks import Task

SCRIPTS = "scripts"
"""The name of the policy of such trajectories."""


def write_periods(
    seeds: Mapping[int, int],
    *,
    trajectories: Path,
    market: Path,
    task: Task,
    params: MarketParams,
    population: Population,
    force: bool = False,
    note: Callable[[str], None] | None = None,
) -> None:
    """Writes episodes in which all follow the scripts of the population: their trajectories and a replay market.

    Both are what `import_auctionnet_impressions` and `import_replay` make of the files that
    `agents.logging.impressions.log_impressions` writes, but that trajectories know their seeds and have sums of 64-bit
    prices. It takes the memory of one period, and goes on after a kill at the first period that was not finished.

    Args:
        seeds: Market seed of each period by its number.
        trajectories, market: The directories to write; finished periods wait beside `market`.
        task: The task of the advertisers.
        params, population: The market.
        force: Whether what is there, or unfinished work with other arguments, is replaced.
        note: Gets which period is being made.

    Raises:
        FileExistsError: A directory holds files, or unfinished work with other arguments, and `force` is False; or
            another process makes them.
        ValueError: The market settles impressions later than they arrive (`trace_tick`).
    """
    check_traceable(params)
    plan = {
        "seeds": {str(period): seed for period, seed in seeds.items()},
        "task": task.to_json(),
        "market": json.loads(json.dumps(asdict(params))),
        "population": population.to_json(),
        "versions": {"code": code_version(), "schema": SCHEMA_VERSION, "replay": FORMAT_VERSION},
    }
    with unfinished_work(market, plan, force=force) as work:
        folders = [work / f"period-{period}" for period in seeds]
        for (period, seed), folder in zip(seeds.items(), folders, strict=True):
            if (folder / "market" / MARKET_MANIFEST).is_file():
                continue
            if note is not None:
                note(f"writing period {period}")
            log, replay = play_period(period, seed, task=task, params=params, population=population)
            data.write(folder / "logs", log, force=True)
            save_replay(replay, folder / "market")
        metadata = {"source": "simulation", "policy": SCRIPTS}
        data.write(trajectories, (data.load(folder / "logs") for folder in folders), metadata=metadata, force=force)
        join_replays([folder / "market" for folder in folders], market, force=force)


def play_period(
    period: int, seed: int, *, task: Task, params: MarketParams, population: Population
) -> tuple[TrajectoryData, ReplayMarket]:
    """Trajectories and replay market of one episode in which all follow their scripts; see `write_periods`."""
    n = population.n_advertisers
    simulation = Simulation(
        params,
        population,
        controlled_market=np.zeros(n, np.int64),
        controlled_advertiser=np.arange(n),
        task=task,
    )
    simulation.reset([seed])
    campaigns, market = simulation.campaigns(), simulation.market
    played, recorded = [], _Recorded(market)
    for _ in range(params.n_ticks):
        features, left, active = simulation.observe().copy(), simulation.budget_left.copy(), simulation.active
        everyone = simulation.decide(None)
        recorded.add(trace_tick(market, everyone.multipliers[0]))
        played.append(PlayedTick(features, left, active, simulation.play(everyone)[0]))
    log = to_trajectories(episodes_of(simulation, campaigns, played), period=period, policy=SCRIPTS)
    return log, recorded.market(period)


class _Recorded:
    """The impressions of an episode that has started, tick by tick, as a replay market holds them."""

    def __init__(self, market: BatchMarket) -> None:
        self._market = market
        params, self._targets = market.params, market.episode_targets
        self._rules = ReplayParams(**{name: getattr(params, name) for name in ReplayParams.__slots__})
        self._parts: list[tuple[NDArray[Any], ...]] = []

    def add(self, traced: TracedTick) -> None:
        """Adds the current tick; for use before it is played."""
        n_slots, market = self._rules.n_slots, self._market
        ladder = rank_bids(traced.bid.astype(np.float64), n_slots)
        sigma = np.stack([market.sigmas_of(0, j) for j in range(market.n_advertisers)]).astype(np.float32)
        holds = [traced.slot == slot for slot in range(1, n_slots + 1)]
        seen = _bits([hold & traced.exposed for hold in holds])
        self._parts.append((*ladder, np.ascontiguousarray(traced.value.T), sigma, seen, _bits(holds)))

    def market(self, period: int) -> ReplayMarket:
        """The market of the episode as a period."""
        bid, holder, value, sigma, exposed, known = (
            np.concatenate(parts, axis=-1) for parts in zip(*self._parts, strict=True)
        )
        return one_period(
            rules=self._rules,
            assumption=FULL_LADDER,
            period=period,
            numbers=np.arange(self._market.n_advertisers),
            ladder=(bid, holder),
            value=value,
            sigma=sigma,
            exposed=exposed,
            known=known,
            tick_counts=np.array([len(parts[4]) for parts in self._parts]),
            budget=self._targets.budget[0],
            cpa_target=self._targets.cpa[0],
            category=np.asarray(self._market.population.category, np.int64),
        )


def _bits(holds: list[NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """(n,) a bit a slot: whether any advertiser holds it; `holds` has (n, n_advertisers) of each."""
    return (np.stack([hold.any(axis=1) for hold in holds], axis=1) @ (1 << np.arange(len(holds)))).astype(np.uint8)
