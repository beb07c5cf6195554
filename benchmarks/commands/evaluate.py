"""`vamo evaluate`: plays any bidders on the same episodes beside the hindsight reference.

It imports what it needs only when it runs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import Commands, add_impressions, add_values, add_workers, n_impressions, read_task, traffic
from benchmarks.console import console, progress_bar

if TYPE_CHECKING:
    from auction_env.market.params import MarketParams
    from auction_env.market.population import Population
    from auction_env.tasks import Task
    from benchmarks.evaluation.episodes import Competitors, EpisodeSet
    from benchmarks.evaluation.named import NamedBidder

_AGENTS = """\
AGENT is one of
  pid  pid:i=0.4,start=0.8                an agent of vamo agents, with arguments
  agent.safetensors                       a trained agent's file
  mypackage:MyBidder  my.py:MyBidder:a=2  a class of yours
and mine=AGENT calls it `mine`. Scores are shares of the best constant in hindsight of the same episodes."""


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "evaluate",
        help="play any bidders on the same episodes: rows, table, page",
        description=_AGENTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--agent", action="append", required=True, metavar="AGENT", help="who plays; repeatable")
    option("--task", nargs="+", default=[], metavar="TASK", help="registered tasks, or JSON files of your own")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--data", type=Path, metavar="DIR", help="the tasks and markets of a family or a collected data set"
    )
    where.add_argument("--replay", type=Path, metavar="DIR", help="a saved replay market in place of a live one")
    option("--protocol", metavar="NAME", help="of a replay: logged-bids (default), fixed-prices or live")
    option("--episodes", type=int, metavar="N", help="of each task; default: 96, of a replay all")
    option("--seeds", type=int, nargs="+", metavar="S", help="market seeds, in place of --episodes; default: 400000 ..")
    option("--advertisers", type=int, nargs="+", metavar="I", help="who is controlled, in turn; default: all")
    add_impressions(parser)
    option("--ticks", type=int, metavar="N", help="an episode; default: 48")
    option("--mechanism", metavar="NAME", help="gsp, first_price or vcg; default: gsp")
    add_values(parser)
    option("--population", type=Path, metavar="FILE", help="the advertisers, JSON of Population.to_json")
    option("--competitors", metavar="AGENT", help="the bidder of all other advertisers; default: their scripts")
    option("--against", metavar="NAME", help="whom the others are compared with; default: the first agent")
    add_workers(parser)
    option("--out", type=Path, default=Path("runs/evaluate"), metavar="DIR", help="default: %(default)s")
    option("--force", action="store_true", help="drop the episodes of a stopped evaluation with other arguments")
    parser.set_defaults(run=_run, kept="finished episodes")


def _run(arguments: argparse.Namespace) -> None:
    from benchmarks.evaluation.evaluate import evaluate
    from benchmarks.evaluation.named import named_bidder
    from benchmarks.evaluation.result import PAGE, RECORD

    bidders: dict[str, NamedBidder] = {}
    for text in arguments.agent:
        bidder = named_bidder(text)
        if bidder.label in bidders:
            raise ValueError(f"`--agent` must have different names, found {bidder.label!r} twice: write NAME={text}")
        bidders[bidder.label] = bidder
    sets = _episodes(arguments)
    n, started = sum(map(len, sets)), time.perf_counter()
    with progress_bar("evaluating", n, "episodes", label_width=10) as bar:
        found = evaluate(
            bidders,
            sets,
            against=arguments.against,
            n_workers=arguments.workers,
            ray=arguments.ray,
            out=arguments.out,
            force=arguments.force,
            progress=bar.advance,
        )
    console.print(found.table(), markup=False, highlight=False)
    page = arguments.out / PAGE
    shown = page if page.is_file() else f"{arguments.out / RECORD} (the page needs the extra `report`)"
    resumed = f", {found.n_resumed:,} of them found finished," if found.n_resumed else ""
    console.print(f"{n:,} episodes{resumed} in {time.perf_counter() - started:.1f} s: {shown}", soft_wrap=True)


def _episodes(arguments: argparse.Namespace) -> list[EpisodeSet]:
    from benchmarks.evaluation.episodes import LOGGED_BIDS, N_EPISODES, in_log, in_market, of_data

    _check(arguments)
    n_episodes = N_EPISODES if arguments.episodes is None else arguments.episodes
    if arguments.replay is not None:
        return in_log(
            arguments.replay,
            list(map(read_task, arguments.task)),
            protocol=arguments.protocol or LOGGED_BIDS,
            n_episodes=arguments.episodes,
            seeds=arguments.seeds,
            competitors=_competitors(arguments),
        )
    if arguments.data is not None:
        return of_data(
            arguments.data,
            tasks=arguments.task,
            n_episodes=n_episodes,
            seeds=arguments.seeds,
            competitors=_competitors(arguments),
        )
    return [
        of_task
        for task in map(read_task, arguments.task)
        for of_task in in_market(
            task,
            n_episodes=n_episodes,
            seeds=arguments.seeds,
            advertisers=arguments.advertisers,
            params=_params(arguments, task),
            population=_population(arguments.population),
            competitors=_competitors(arguments),
        )
    ]


def _check(arguments: argparse.Namespace) -> None:
    """Refuses options that would do nothing."""
    if arguments.episodes is not None and arguments.seeds is not None:
        raise ValueError("give `--episodes` or `--seeds`, not both")
    if arguments.data is None and not arguments.task:
        raise ValueError("`--task` must be given, or `--data` with the tasks of a family or data set")
    if arguments.protocol is not None and arguments.replay is None:
        raise ValueError("`--protocol` says what a logged advertiser plays against: give `--replay DIR` with it")
    given = "data" if arguments.data is not None else "replay" if arguments.replay is not None else None
    of_market = ("impressions", "ticks", "mechanism", "values", "population", "advertisers")
    if arguments.competitors is not None and given == "replay" and arguments.protocol != "live":
        raise ValueError("`--competitors` must not be given with `--replay`, but for `--protocol live`: it has its own")
    for name in of_market:
        if given is not None and getattr(arguments, name) is not None:
            raise ValueError(f"`--{name}` must not be given with `--{given}`, which has its own")


def _params(arguments: argparse.Namespace, task: Task) -> MarketParams:
    from auction_env.market.params import MarketParams

    asked = {"n_ticks": arguments.ticks, "mechanism": arguments.mechanism}
    given = {name: value for name, value in asked.items() if value is not None}
    return MarketParams.for_task(task, n_impressions=n_impressions(arguments), traffic=traffic(arguments), **given)


def _population(path: Path | None) -> Population | None:
    from auction_env.market.population import Population

    return None if path is None else Population.from_json(path.read_text(encoding="utf-8"))


def _competitors(arguments: argparse.Namespace) -> Competitors | None:
    from benchmarks.evaluation.named import named_bidder

    if arguments.competitors is None:
        return None
    return named_bidder(arguments.competitors)
