"""Logs trajectories: episodes in which a policy controls one advertiser or several, in one process or in many."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from agents.learning.bars import Count, counted
from agents.logging.harm import Harm, sound_trajectories
from agents.logging.policies import MIXED, dealt_policies, make_policy, parse_shares
from agents.mixed import deal_campaigns
from agents.parallel import Failure, run_jobs, worker_count
from agents.rollouts import check_days, run_episode, to_trajectories
from auction_env.control.bidder import Bidder
from auction_env.control.simulation import Simulation
from auction_env.data import SCHEMA_VERSION, TrajectoryData
from auction_env.data.manifest import code_version
from auction_env.data.staging import Block, Stage, open_stage, write_block
from auction_env.integers import check_integer, check_integers
from auction_env.market.funnel import Funnel
from auction_env.market.params import LOG_IMPRESSIONS, MarketParams
from auction_env.market.population import Population, auctionnet_population
from auction_env.names import check_name
from auction_env.tasks import Task

logger = logging.getLogger(__name__)

ROWS_PER_BLOCK = 65_536  # a block is a shard: about 20 MB in memory, and what a kill may cost
IMPRESSIONS_PER_BLOCK = 8_000_000  # some seconds of work
_BLOCKS_WANTED = 16  # of a small collection, so that there is something for every worker


def collect(
    bidder: Bidder,
    *,
    seeds: ArrayLike,
    task: Task,
    params: MarketParams | None = None,
    population: Population | None = None,
    days: ArrayLike | None = None,
    first_period: int = 0,
    progress: Count | bool | None = None,
) -> Iterator[TrajectoryData]:
    """Logs episodes in which `bidder` controls every advertiser: one data set a market episode.

    Period p of the log is market `seeds[p - first_period]`, and day `days[p - first_period]` of it if `days` are
    given (`BatchMarket.reset`). Iterating keeps memory bounded; pass the iterator to `auction_env.data.write`.
    `progress` is called with 1 after each market episode; True, False and None are those of `agents.rollouts.rollout`.
    """
    check_days(seeds, days)
    params, population = params or MarketParams.for_task(task), population or auctionnet_population()
    simulation, numbers = _markets(task, params, population, 1), check_integers("seeds", seeds)
    with counted(progress, f"collecting {task.name}", len(numbers)) as tell:
        for position, seed in enumerate(numbers):
            day = None if days is None else check_integers("days", days)[position : position + 1]
            episode = run_episode(simulation, [int(seed)], bidder, day)
            yield to_trajectories(episode, period=first_period + position, policy=bidder.name)
            if tell is not None:
                tell(1)


def _markets(
    task: Task, params: MarketParams, population: Population, n_markets: int, controlled: ArrayLike | None = None
) -> Simulation:
    """Markets in which the same advertisers are controlled; all by default."""
    who = np.arange(population.n_advertisers) if controlled is None else np.asarray(controlled)
    return Simulation(
        params,
        population,
        controlled_market=np.repeat(np.arange(n_markets), len(who)),
        controlled_advertiser=np.tile(who, n_markets),
        n_markets=n_markets,
        task=task,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What is collected: the bytes of the data set depend on this and on nothing else.

    Attributes:
        task: The task of all trajectories.
        n_episodes: Market episodes; each logs a trajectory of every advertiser that is controlled in it.
        seed: Market seed of the first episode; period p of the log is market `seed + p`.
        advertisers: Who is controlled and logged; all others follow the population's script. None: everybody.
        control: "one": one of `advertisers` in each market episode, in turn, as in evaluations: the log shows the
            market in which the trained agent will bid. "all": all of them at once. That gives more trajectories an
            episode, but of another market where they are many: their policies move the prices.
        n_trajectories: How many of the trajectories are kept, in the order of the log; None: all.
        harm: What is wrong with the log; None: nothing.
        policy: "mixed", a name of `agents.logging.policies.POLICIES`, or shares: "random=1,noisy-pid=3".
        params, population: The market; by default of `LOG_IMPRESSIONS`, with a funnel, so that any other task can be
            made of the log.
    """

    task: Task
    n_episodes: int
    seed: int = 0
    policy: str = MIXED
    advertisers: tuple[int, ...] | None = None
    control: Literal["one", "all"] = "one"
    n_trajectories: int | None = None
    harm: Harm | None = None
    params: MarketParams = field(default_factory=lambda: MarketParams(funnel=Funnel(), n_impressions=LOG_IMPRESSIONS))
    population: Population = field(default_factory=auctionnet_population)

    def __post_init__(self) -> None:
        if self.n_episodes < 1:
            raise ValueError(f"`n_episodes` must be at least 1, found {self.n_episodes}")
        check_integers("advertisers", self.controlled)
        if check_integer("seed", self.seed) < 0:
            raise ValueError(f"`seed` must not be negative, found {self.seed}")
        check_name("control", self.control, ("one", "all"))
        self.params.check_population(self.population)
        self.params.check_task(self.task)
        n = self.population.n_advertisers
        if (
            len(set(self.controlled)) != len(self.controlled)
            or not all(0 <= j < n for j in self.controlled)
            or not self.controlled
        ):
            raise ValueError(f"`advertisers` must be different indices in 0..{n - 1}, found {self.advertisers}")
        most = self.n_episodes * self.n_at_once
        if self.n_trajectories is not None and not most - self.n_at_once < self.n_trajectories <= most:
            raise ValueError(
                f"`n_trajectories` of {self.n_episodes} episodes with {self.n_at_once} each must lie in"
                f" {most - self.n_at_once + 1}..{most}, found {self.n_trajectories}"
            )
        parse_shares(self.policy)

    @property
    def controlled(self) -> tuple[int, ...]:
        """The advertisers that the policy controls, ascending."""
        return tuple(range(self.population.n_advertisers) if self.advertisers is None else sorted(self.advertisers))

    @property
    def n_at_once(self) -> int:
        """Advertisers that are controlled in a market episode."""
        return 1 if self.control == "one" else len(self.controlled)

    def controlled_in(self, periods: NDArray[np.int64]) -> NDArray[np.int64]:
        """Who is controlled in these market episodes, (n, n_at_once), ascending in each.

        With `control` "one", every advertiser has its turn once in as many periods as there are, in an order that is
        drawn anew each time, so that its turns do not follow those of the policies.
        """
        who = np.array(self.controlled)
        if self.control == "all":
            return np.tile(who, (len(periods), 1))
        turn = [np.random.default_rng([self.seed, int(p) // len(who)]).permutation(who)[p % len(who)] for p in periods]
        return np.array(turn, np.int64)[:, None]

    @property
    def block_size(self) -> int:
        """Market episodes of a block; the last block may be smaller."""
        rows, impressions = self.n_at_once * self.params.n_ticks, self.params.n_impressions
        most = max(1, min(ROWS_PER_BLOCK // rows, IMPRESSIONS_PER_BLOCK // impressions))
        return min(most, -(-self.n_episodes // _BLOCKS_WANTED))

    @property
    def n_blocks(self) -> int:
        return -(-self.n_episodes // self.block_size)

    def periods(self, block: int) -> NDArray[np.int64]:
        """The periods of a block."""
        first = block * self.block_size
        return np.arange(first, min(first + self.block_size, self.n_episodes))

    def market(self, *, is_harmed: bool) -> tuple[MarketParams, Population]:
        """The market of the harmed, or of the sound, episodes."""
        if self.harm is None or not is_harmed:
            return self.params, self.population
        return self.harm.market(self.params, self.population, self.controlled)

    def harmed_mask(self, periods: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these market episodes are harmed, of their shape."""
        if self.harm is None:
            return np.zeros(periods.shape, bool)
        return self.harm.episode_mask(periods, self.n_episodes)

    @property
    def sound_trajectories(self) -> NDArray[np.bool_]:
        """Which trajectories of the log are sound, in its order."""
        periods = np.arange(self.n_episodes)
        sound = sound_trajectories(
            self.harm,
            np.repeat(periods, self.n_at_once),
            self.controlled_in(periods).ravel(),
            n_episodes=self.n_episodes,
            controlled=self.controlled,
            population=self.population,
        )
        return sound[: self.n_trajectories]

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as the manifest states them."""
        shares = parse_shares(self.policy)
        return {
            "task": self.task.to_json(),
            "n_episodes": self.n_episodes,
            "seed": self.seed,
            "advertisers": list(self.controlled),
            "control": self.control,
            "n_trajectories": self.n_trajectories,
            "harm": None if self.harm is None else self.harm.to_json(),
            "policies": {"shares": shares, "dealt": list(dealt_policies(shares))},
            "market": asdict(self.params),
            "population": self.population.to_json(),
        }

    @property
    def plan(self) -> dict[str, Any]:
        """All that the bytes of the data set depend on."""
        versions = {"code": code_version(), "schema": SCHEMA_VERSION, "arrow": pa.__version__}
        return {**self.parameters, "block_size": self.block_size, "versions": versions}


class CollectionSummary(NamedTuple):
    """What a collection did."""

    n_episodes: int  # market episodes, those of an earlier run included
    n_trajectories: int
    n_resumed: int  # trajectories that an earlier run had finished
    seconds: float

    @property
    def rate(self) -> float:
        """Trajectories per second of this run."""
        return (self.n_trajectories - self.n_resumed) / self.seconds


def collect_data_set(
    collection: Collection,
    out: str | os.PathLike[str],
    *,
    n_workers: int | None = 1,
    ray: str | None = None,
    force: bool = False,
    progress: Count | bool | None = None,
) -> CollectionSummary:
    """Collects a data set, block by block, in parallel.

    The bytes of the data set do not depend on the number of workers, nor on how often the collection was killed
    and started again: finished blocks wait beside `out` and are taken up by the next call with the same arguments.

    Args:
        collection: What.
        out: Directory of the data set.
        n_workers: Blocks that are made at a time, each on one thread; 1 works in this process, None is one a core.
        ray: Address of a Ray cluster that makes the blocks (`agents.parallel.run_jobs`); its machines must see `out`.
        force: Whether a data set at `out`, or unfinished work of another collection, is replaced.
        progress: Told the number of trajectories of each block as it is finished, those found finished included; True,
            False and None are those of `agents.rollouts.rollout`.

    Raises:
        FileExistsError: `out` holds files, unfinished work of another collection lies beside it, or another process
            is collecting into it.
        ChildProcessError: A block failed in a worker process, or its worker died again and again.
    """
    worker_count(n_workers)  # an error before anything is written
    if collection.n_at_once > collection.population.n_advertisers / 2:
        logger.warning(
            "%d of %d advertisers are controlled at once: the log shows another market than the one in which an agent"
            " bids against scripts; control='one' logs that one",
            collection.n_at_once,
            collection.population.n_advertisers,
        )
    started = time.perf_counter()
    n_all = collection.n_trajectories or collection.n_episodes * collection.n_at_once
    with (
        open_stage(out, collection.plan, force=force) as stage,
        counted(progress, f"collecting {collection.task.name}", n_all) as tell,
    ):
        found = {index: block for index in range(collection.n_blocks) if (block := stage.finished(index)) is not None}
        for block in found.values():
            _report(tell, block)

        def ended(index: int, result: int | Failure) -> None:
            if isinstance(result, Failure):
                rest = "finished blocks are kept for the next call"
                raise ChildProcessError(f"block {index} of {out} failed: {result.error}; {rest}")
            _report(tell, _block(stage, index))

        todo = [index for index in range(collection.n_blocks) if index not in found]
        maker = _BlockMaker(collection, stage.path.resolve())
        run_jobs(maker, todo, ended, n_workers=n_workers, ray=ray)
        blocks = [_block(stage, index) for index in range(collection.n_blocks)]
        metadata = {"source": "simulation", "policy": collection.policy}
        stage.publish(blocks, metadata=metadata, parameters=collection.parameters)
    n_resumed = sum(block.n_episodes for block in found.values())
    n_trajectories = sum(block.n_episodes for block in blocks)
    return CollectionSummary(collection.n_episodes, n_trajectories, n_resumed, time.perf_counter() - started)


def _report(progress: Count | None, block: Block) -> None:
    if progress is not None:
        progress(block.n_episodes)


def _block(stage: Stage, index: int) -> Block:
    block = stage.finished(index)
    if block is None:
        raise RuntimeError(f"block {index} in {stage.path} must be what its worker wrote, found none or another")
    return block


class _BlockMaker:
    """Simulates and writes blocks; builds the policy and the markets once, when it makes its first block."""

    def __init__(self, collection: Collection, stage: Path) -> None:
        self._collection, self._stage = collection, stage
        self._simulations: dict[tuple[int, bool], Simulation] = {}
        self._bidders: dict[bool, Bidder] = {}

    def __call__(self, index: int) -> int:
        """Makes the block; returns its index."""
        c = self._collection
        periods = c.periods(index)
        harmed = c.harmed_mask(periods)
        parts = [self._log(periods[harmed == kind], is_harmed=kind) for kind in (False, True) if kind in harmed]
        log = parts[0] if len(parts) == 1 else TrajectoryData.concat(parts)
        if c.n_trajectories is not None and index == c.n_blocks - 1:  # only the last market has too many
            log = log.select(np.arange(c.n_trajectories - int(periods[0]) * c.n_at_once))
        write_block(self._stage, index, log)
        return index

    def _log(self, periods: NDArray[np.int64], *, is_harmed: bool) -> TrajectoryData:
        """What the log says of market episodes that are all harmed, or all sound."""
        c, n = self._collection, len(periods)
        params, population = c.market(is_harmed=is_harmed)
        if (n, is_harmed) not in self._simulations:
            self._simulations[n, is_harmed] = _markets(c.task, params, population, n, c.controlled[: c.n_at_once])
        simulation = self._simulations[n, is_harmed]
        simulation.control(c.controlled_in(periods).ravel())
        if is_harmed not in self._bidders:
            self._bidders[is_harmed] = make_policy(parse_shares(c.policy), c.task, params, population)
        episodes = run_episode(simulation, c.seed + periods, self._bidders[is_harmed])
        policy = self._dealt[deal_campaigns(episodes.seed, episodes.advertiser, len(self._dealt))]
        log = to_trajectories(episodes, period=np.repeat(periods, c.n_at_once), policy=policy)
        return c.harm.record(log, c.controlled, population) if c.harm is not None and is_harmed else log

    @cached_property
    def _dealt(self) -> NDArray[np.str_]:
        return np.array(dealt_policies(parse_shares(self._collection.policy)))
