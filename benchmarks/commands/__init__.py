"""The subcommands of `vamo`, a module a command; each has `add(commands)` and imports what it needs when it runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from auction_env.market.competitors.presets import Preset
    from auction_env.market.shapes.value_distribution import ValueDistribution
    from auction_env.tasks import Task
    from benchmarks.evaluation.episodes import Competitors, EpisodeSet

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What a parser gets its subcommands from."""


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Adds `--workers` and `--ray`, which `agents.parallel.run_jobs` takes as `n_workers` and `ray`."""
    workers = "jobs at a time, each on one thread; default: one a core"
    parser.add_argument("--workers", type=int, metavar="N", help=workers)
    ray = "work on a Ray cluster whose machines share the files: auto, ray://HOST:PORT, or local"
    parser.add_argument("--ray", metavar="ADDRESS", help=ray)


def add_market(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a live market that `read_market` reads."""
    option = parser.add_argument
    option("--impressions", type=int, metavar="N", help="of a market episode; default: 4,800")
    values = (
        "distribution of the predicted values: lognormal:SD, mixture:WEIGHT,MEAN,SD/..., FILE (.npy, .csv, .parquet),"
        " advertiser=FILE or category=FILE; with @SHARE behind it, in this share of the auctions only, in the others 0"
        " (docs/market.md); default: normal"
    )
    option("--values", metavar="SPEC", help=values)
    option(
        "--preset",
        metavar="NAME",
        help="sparse, dense or dense-pid: AuctionNet's rules and scale; default: ours",
    )
    population = "auctionnet, auctionnet-agents, or FILE.json of Population.to_json; default: auctionnet"
    option("--population", metavar="NAME", help=f"the advertisers: {population}, or the preset's")
    redraw = "budgets and target CPAs drawn anew each episode, uniform in 1 ± these shares; 0.5 is 0.5,0.5"
    option("--redraw", metavar="BUDGET[,CPA]", help=redraw)


MARKET_OPTIONS = ("impressions", "values", "preset", "population", "redraw")
"""What `add_market` adds."""


def read_market(arguments: argparse.Namespace, **fields: Any) -> Preset:
    """Rules and advertisers of a live market, as the options of `add_market` name them.

    Args:
        arguments: The options.
        fields: Further parameters of the market, in place of the preset's.

    Raises:
        ValueError: An unknown name, or numbers that break a rule.
        OSError: A file cannot be read.
    """
    from dataclasses import replace

    from auction_env.market.competitors.presets import Preset, preset, read_population
    from auction_env.market.params import LOG_IMPRESSIONS, MarketParams
    from auction_env.market.population import auctionnet_population

    name, n_impressions = arguments.preset, arguments.impressions
    params, population = Preset(MarketParams(), auctionnet_population()) if name is None else preset(name)
    if arguments.values is not None:
        fields["traffic"] = replace(params.traffic, values=read_values(arguments.values))
    if arguments.population is not None:
        population = read_population(arguments.population)
    if arguments.redraw is not None:
        budget_swing, cpa_swing = _swings(arguments.redraw)
        population = replace(population, budget_swing=budget_swing, cpa_swing=cpa_swing)
    n_impressions = LOG_IMPRESSIONS if n_impressions is None else n_impressions
    return Preset(replace(params, n_impressions=n_impressions, **fields), population)


def _swings(text: str) -> tuple[float, float]:
    budget, _, cpa = text.partition(",")
    try:
        return float(budget), float(cpa or budget)
    except ValueError as error:
        raise ValueError(f"`--redraw` must be BUDGET or BUDGET,CPA, shares in [0, 1), found {text!r}") from error


def read_values(text: str) -> ValueDistribution:
    """A distribution of predicted values as the command line names it.

    Raises:
        ValueError: Numbers that are none, a share outside (0, 1], or a file that holds no predicted values.
        OSError: The file cannot be read.
    """
    spec, _, share = text.rpartition("@")
    if spec and share.replace(".", "", 1).isdigit():
        return _read_values(spec).taking_part(float(share))
    return _read_values(text)


def _read_values(text: str) -> ValueDistribution:
    from auction_env.market.shapes.value_distribution import ValueDistribution, load_values

    kind, _, numbers = text.partition(":")
    if kind in ("lognormal", "mixture"):
        try:
            parts = [tuple(map(float, part.split(","))) for part in numbers.split("/")]
        except ValueError:
            parts = []
        if kind == "lognormal" and len(parts) == 1 and len(parts[0]) == 1:
            return ValueDistribution.lognormal(parts[0][0])
        if kind == "mixture" and parts and all(len(part) == 3 for part in parts):
            return ValueDistribution.mixture(*((weight, mean, sd) for weight, mean, sd in parts))
        rule = "lognormal:SD" if kind == "lognormal" else "mixture:WEIGHT,MEAN,SD/WEIGHT,MEAN,SD"
        raise ValueError(f"`--values` must be {rule} with numbers, found {text!r}")
    per, is_per, path = text.partition("=")
    return load_values(path, per=per) if is_per and per in ("advertiser", "category") else load_values(text)


TASK_HELP = "a registered task or FILE.json of your own (docs/tasks.md)"


def read_task(text: str) -> Task:
    """A task as the command line names it: a registered one, or a JSON file as `Task.from_json` reads it.

    Raises:
        ValueError: No such task, with the nearest; or a file that is no task, with its path.
        OSError: The file cannot be read.
    """
    from auction_env.tasks import Task, get_task

    if not text.endswith(".json"):
        return get_task(text)
    try:
        return Task.from_json(Path(text).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error


def data_sets(directory: Path) -> list[Path]:
    """The data sets at a directory: those of the members of a family, or the directory itself."""
    from agents.families.storage import FAMILY_FILE, read_family

    if not (directory / FAMILY_FILE).is_file():
        return [directory]
    return [directory / name for name in read_family(directory).names]


def task_or_name(text: str) -> Task | str:
    """A task of a JSON file, or the name of a task that the data have."""
    return read_task(text) if text.endswith(".json") else text


AGENT_HELP = """\
AGENT is one of
  pid  pid:i=0.4,start=0.8                an agent of vamo agents, with arguments
  agent.safetensors                       a trained agent's file
  mypackage:MyBidder  my.py:MyBidder:a=2  a class of yours
and mine=AGENT calls it `mine`."""


def add_episodes(parser: argparse.ArgumentParser) -> None:
    """Adds who plays and what is played: `--agent` and the options that `read_episodes` reads."""
    option = parser.add_argument
    option("--agent", action="append", required=True, metavar="AGENT", help="who plays; repeatable")
    option("--task", nargs="+", default=[], metavar="TASK", help="registered tasks, or JSON files of your own")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--data", type=Path, metavar="DIR", help="the tasks and markets of a family or a collected data set"
    )
    where.add_argument(
        "--replay",
        type=Path,
        metavar="DIR",
        help="a saved replay market, or one of vamo import bat, in place of a live one",
    )
    option("--protocol", metavar="NAME", help="of a replay: logged-bids (default), fixed-prices or live")
    option("--episodes", type=int, metavar="N", help="of each task; default: 96, of a replay all")
    option("--seeds", type=int, nargs="+", metavar="S", help="market seeds, in place of --episodes; default: 400000 ..")
    option("--advertisers", type=int, nargs="+", metavar="I", help="who is controlled, in turn; default: all")
    add_market(parser)
    option("--ticks", type=int, metavar="N", help="an episode; default: 48")
    option("--mechanism", metavar="NAME", help="gsp, first_price or vcg; default: gsp")
    option("--competitors", metavar="AGENT", help="the bidder of all other advertisers; default: their scripts")


def read_episodes(arguments: argparse.Namespace) -> list[EpisodeSet]:
    """The episodes that the options of `add_episodes` describe.

    Raises:
        ValueError: Options that would do nothing, or that describe no episodes.
        OSError: A file that cannot be read.
    """
    from benchmarks.evaluation.episodes import LOGGED_BIDS, N_EPISODES, in_log, in_market, of_data

    _check_episodes(arguments)
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
            **_market(arguments, task)._asdict(),
            competitors=_competitors(arguments),
        )
    ]


def _check_episodes(arguments: argparse.Namespace) -> None:
    """Refuses options that would do nothing."""
    if arguments.episodes is not None and arguments.seeds is not None:
        raise ValueError("give `--episodes` or `--seeds`, not both")
    if arguments.data is None and not arguments.task:
        raise ValueError("`--task` must be given, or `--data` with the tasks of a family or data set")
    if arguments.protocol is not None and arguments.replay is None:
        raise ValueError("`--protocol` says what a logged advertiser plays against: give `--replay DIR` with it")
    given = "data" if arguments.data is not None else "replay" if arguments.replay is not None else None
    of_market = (*MARKET_OPTIONS, "ticks", "mechanism", "advertisers")
    if arguments.competitors is not None and given == "replay" and arguments.protocol != "live":
        raise ValueError("`--competitors` must not be given with `--replay`, but for `--protocol live`: it has its own")
    for name in of_market:
        if given is not None and getattr(arguments, name) is not None:
            raise ValueError(f"`--{name}` must not be given with `--{given}`, which has its own")


def _market(arguments: argparse.Namespace, task: Task) -> Preset:
    from auction_env.market.params import MarketParams

    asked = {"n_ticks": arguments.ticks, "mechanism": arguments.mechanism}
    given = {name: value for name, value in asked.items() if value is not None}
    return read_market(arguments, funnel=MarketParams.for_task(task).funnel, **given)


def _competitors(arguments: argparse.Namespace) -> Competitors | None:
    from benchmarks.evaluation.named import named_bidder

    if arguments.competitors is None:
        return None
    return named_bidder(arguments.competitors)
