"""The episodes on which bidders are compared: of a live market, of a family's tasks, of a logged data set, of a log."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.families.storage import FAMILY_FILE, read_family
from auction_env.control.bidder import Bidder
from auction_env.control.controlled_market import PlayableMarket
from auction_env.control.simulation import LiveMarket
from auction_env.data import read_manifest
from auction_env.integers import check_integers
from auction_env.market.params import LOG_IMPRESSIONS, MarketParams
from auction_env.market.population import Population, auctionnet_population
from auction_env.names import check_name
from auction_env.replay.bat.market import BatMarket
from auction_env.replay.bat.storage import MANIFEST as BAT_MANIFEST
from auction_env.replay.bat.storage import load_bat
from auction_env.replay.fixed_prices import FixedPriceMarket
from auction_env.replay.logged_values import logged_values
from auction_env.replay.market import ReplayMarket
from auction_env.replay.simulation import LoggedMarket
from auction_env.replay.storage import load_replay
from auction_env.tasks import Task, get_task
from benchmarks.evaluation.named import NamedBidder

Int = NDArray[np.int64]

N_EPISODES = 96
"""Episodes of a task, unless somebody says otherwise: the fewest for a conclusion."""
FIRST_SEED = 400_000
"""First market seed, unless somebody says otherwise: logs and validation episodes of this package have others."""

LOGGED_BIDS, FIXED_PRICES, LIVE = "logged-bids", "fixed-prices", "live"
PROTOCOLS = {
    LOGGED_BIDS: "the others bid what they bid in the log",
    FIXED_PRICES: "the logged least winning costs alone: AuctionNet's offline evaluation",
    LIVE: "the others bid live on the logged values",
}
"""What an advertiser of a log plays against."""

Competitors = NamedBidder | Callable[[PlayableMarket, Task], Bidder]
"""The bidder of all other advertisers: named, or made for the market of the scripts and for the competitors' task."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EpisodeSet:
    """n episodes of one task in one market.

    Attributes:
        task: The task; a name in tables.
        market: What they are played in.
        seeds, advertisers: (n,) int64.
        days: (n,) int64, which day or period each is; None leaves it to the market.
        competitors: Who made the bidders of all other advertisers; None: nobody, they follow their scripts or the log.
        protocol: Of episodes of a log, one of `PROTOCOLS`.
    """

    task: Task
    market: PlayableMarket
    seeds: Int
    advertisers: Int
    days: Int | None = None
    competitors: Competitors | None = None
    protocol: str | None = None

    def __len__(self) -> int:
        return len(self.seeds)

    def part(self, start: int, stop: int) -> dict[str, Any]:
        """The arguments of `rollout` for some of the episodes."""
        rows = slice(start, stop)
        days = None if self.days is None else self.days[rows]
        shared = {"task": self.task, "market": self.market, "days": days}
        return {"seeds": self.seeds[rows], "advertisers": self.advertisers[rows], **shared}

    def one(self, which: int) -> EpisodeSet:
        """One of the episodes, by position; raises ValueError where there is no such one."""
        if not 0 <= which < len(self):
            raise ValueError(f"`episode` must lie in 0..{len(self) - 1}, found {which}")
        days = None if self.days is None else self.days[[which]]
        return replace(self, seeds=self.seeds[[which]], advertisers=self.advertisers[[which]], days=days)

    @property
    def description(self) -> dict[str, Any]:
        """What is played, for the record."""
        found: dict[str, Any] = {"task": json.loads(self.task.to_json()), "n_episodes": len(self)}
        found |= {"seeds": self.seeds.tolist(), "advertisers": self.advertisers.tolist()}
        if isinstance(self.market, LiveMarket):
            found["params"] = json.loads(self.market.params.to_json())
            found["population"] = json.loads(self.market.population.to_json())
            competing = {bidder.name for bidder in (self.market.competitors or {}).values()}
            found["competitors"] = sorted(competing) or "scripts"
        elif isinstance(self.market, BatMarket):
            found |= {"market": "BAT", "mechanism": self.market.mechanism}
        else:
            found["days"] = None if self.days is None else self.days.tolist()
        return found | ({} if self.protocol is None else {"protocol": self.protocol})


def in_market(
    tasks: str | Task | Sequence[str | Task],
    *,
    n_episodes: int = N_EPISODES,
    seeds: ArrayLike | None = None,
    advertisers: ArrayLike | None = None,
    params: MarketParams | None = None,
    population: Population | None = None,
    n_impressions: int | None = None,
    competitors: Competitors | None = None,
) -> list[EpisodeSet]:
    """Episodes of registered or own tasks in the live market.

    Args:
        tasks: A task or several, by name or as objects.
        n_episodes: Episodes of each task.
        seeds: Market seeds, in place of `n_episodes` of them from `FIRST_SEED` on.
        advertisers: Whom the bidder controls, in turn; all by default.
        params, population: The market; by default the standard one, with what the task needs.
        n_impressions: Of an episode, in place of `params`; `LOG_IMPRESSIONS` by default.
        competitors: Makes the bidder of all other advertisers; by default they follow the population's script.

    Raises:
        ValueError: An unknown task, two tasks of one name, or numbers that do not fit.
    """
    listed = [tasks] if isinstance(tasks, str | Task) else list(tasks)
    if params is not None and n_impressions is not None:
        raise ValueError("give `params` or `n_impressions`, not both")
    population = population or auctionnet_population()
    out = []
    for task in _distinct([get_task(task) for task in listed]):
        own = params or MarketParams.for_task(task, n_impressions=n_impressions or LOG_IMPRESSIONS)
        own.check_task(task)
        market = _live(own, population, competitors)
        everybody = np.arange(population.n_advertisers) if advertisers is None else advertisers
        out.append(_drawn(task, market, n_episodes, seeds, everybody, competitors))
    return out


def of_data(
    directory: str | os.PathLike[str],
    *,
    tasks: Sequence[str] | None = None,
    n_episodes: int = N_EPISODES,
    seeds: ArrayLike | None = None,
    competitors: Competitors | None = None,
) -> list[EpisodeSet]:
    """New episodes of the markets in which simulated logs were made, as the logged advertisers.

    Args:
        directory: A family (`vamo family`) or a collected data set (`vamo collect`).
        tasks: Names, of those that it has; None: all.
        n_episodes, seeds, competitors: As of `in_market`.

    Raises:
        FileNotFoundError: No data set.
        ValueError: Imported logs, which tell of no market; or an unknown task.
    """
    path = Path(directory)
    if (path / FAMILY_FILE).is_file():
        found = [(m.task, m.params, m.population, m.advertisers) for m in read_family(path).members]
    else:
        found = [_collected(path)]
    names = [task.name for task, *_ in found]
    for name in tasks or ():
        if name not in names:
            raise ValueError(f"`task` must be one of {path}, {names}, found {name!r}")
    return [
        _drawn(task, _live(params, population, competitors), n_episodes, seeds, np.asarray(advertisers), competitors)
        for task, params, population, advertisers in found
        if not tasks or task.name in tasks
    ]


def in_log(
    market: ReplayMarket | BatMarket | str | os.PathLike[str],
    tasks: str | Task | Sequence[str | Task],
    *,
    protocol: str = LOGGED_BIDS,
    n_episodes: int | None = None,
    seeds: ArrayLike | None = None,
    competitors: Competitors | None = None,
) -> list[EpisodeSet]:
    """Episodes of a replay market: an advertiser of a period against what the others bid in the log.

    Of BAT's campaigns each is an episode, in turn.

    Args:
        market: The log or BAT's market, or the directory of a saved one (`save_replay`, `import_bat`).
        tasks: As of `in_market`; a log has conversions only, BAT has clicks as well.
        protocol: One of `PROTOCOLS`: what the advertiser plays against.
        n_episodes: Of each task; None: every advertiser of every period once. They are taken in turn, spread over all.
        seeds: Of the draws, in place of `n_episodes` of them from `FIRST_SEED` on.
        competitors: As of `in_market`, with the protocol `live`.

    Raises:
        ValueError: An unknown protocol, or competitors with one that has none of them live.
    """
    check_name("protocol", protocol, PROTOCOLS)
    if competitors is not None and protocol != LIVE:
        raise ValueError(f"`competitors` must be given with `protocol` {LIVE!r} only, found {protocol!r}")
    log = market if isinstance(market, ReplayMarket | BatMarket) else _opened(Path(market))
    listed = [tasks] if isinstance(tasks, str | Task) else list(tasks)
    if isinstance(log, BatMarket):
        if protocol != LOGGED_BIDS:
            raise ValueError(f"`protocol` must be {LOGGED_BIDS!r} in BAT's market, found {protocol!r}")
        numbers = _seeds(log.n_campaigns if n_episodes is None else n_episodes, seeds)
        turn = np.arange(len(numbers)) % log.n_campaigns
        return [
            EpisodeSet(task=task, market=log, seeds=numbers, advertisers=turn)
            for task in _distinct([get_task(task) for task in listed])
        ]
    row, column = log.episodes.T
    numbers = _seeds(len(row) if n_episodes is None else n_episodes, seeds)
    n = len(numbers)
    chosen = np.arange(n) % len(row) if n >= len(row) else np.linspace(0, len(row) - 1, n).round().astype(np.int64)
    played = _of_log(log, protocol, competitors)
    return [
        EpisodeSet(
            task=task,
            market=played,
            seeds=numbers,
            advertisers=log.advertisers[column[chosen]],
            days=log.periods[row[chosen]],
            competitors=competitors,
            protocol=protocol,
        )
        for task in _distinct([get_task(task) for task in listed])
    ]


def _opened(directory: Path) -> ReplayMarket | BatMarket:
    """The saved market of a directory."""
    return load_bat(directory) if (directory / BAT_MANIFEST).is_file() else load_replay(directory, mmap=True)


def _collected(path: Path) -> tuple[Task, MarketParams, Population, tuple[int, ...]]:
    record: Mapping[str, Any] = read_manifest(path).parameters
    if "market" not in record or "population" not in record:
        raise ValueError(
            f"{path} must be a simulated data set or family, whose market can be played again; found imported logs:"
            " make a replay market of them (`save_replay`) and give it as --replay DIR"
        )
    params = MarketParams.from_json(json.dumps(record["market"]))
    population = Population.from_json(record["population"])
    return Task.from_json(record["task"]), params, population, tuple(record["advertisers"])


def _of_log(log: ReplayMarket, protocol: str, competitors: Competitors | None) -> PlayableMarket:
    if protocol == LIVE:
        return _with(logged_values(log), competitors)
    return LoggedMarket(market=log) if protocol == LOGGED_BIDS else FixedPriceMarket(market=log)


def _live(params: MarketParams, population: Population, competitors: Competitors | None) -> LiveMarket:
    return _with(LiveMarket(params=params, population=population), competitors)


def _with(scripts: LiveMarket, competitors: Competitors | None) -> LiveMarket:
    """The market in which a bidder controls all other advertisers, or they follow their scripts."""
    if competitors is None:
        return scripts
    make = competitors.make if isinstance(competitors, NamedBidder) else competitors
    bidder = make(scripts, get_task(scripts.competitor_task))
    return replace(scripts, competitors=dict.fromkeys(range(scripts.population.n_advertisers), bidder))


def _drawn(
    task: Task,
    market: PlayableMarket,
    n_episodes: int,
    seeds: ArrayLike | None,
    advertisers: ArrayLike,
    competitors: Competitors | None,
) -> EpisodeSet:
    """The advertisers take turns."""
    numbers, who = _seeds(n_episodes, seeds), check_integers("advertisers", advertisers)
    if who.ndim != 1 or not len(who):
        raise ValueError(f"`advertisers` must hold at least one index, found {who.tolist()}")
    turn = np.arange(len(numbers)) % len(who)
    return EpisodeSet(task=task, market=market, seeds=numbers, advertisers=who[turn], competitors=competitors)


def _seeds(n_episodes: int, seeds: ArrayLike | None) -> Int:
    if seeds is None:
        if n_episodes < 1:
            raise ValueError(f"`n_episodes` must be at least 1, found {n_episodes}")
        return FIRST_SEED + np.arange(n_episodes)
    numbers = check_integers("seeds", seeds)
    if numbers.ndim != 1 or not len(numbers) or len(np.unique(numbers)) != len(numbers):
        raise ValueError(f"`seeds` must be different integers, at least one, found {numbers.tolist()}")
    return numbers


def _distinct(tasks: list[Task]) -> list[Task]:
    names = [task.name for task in tasks]
    if not tasks or len(set(names)) != len(names):
        raise ValueError(f"`tasks` must hold tasks of different names, at least one, found {names}")
    return tasks
