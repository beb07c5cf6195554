"""`vamo collect`: simulated trajectories of a task as a data set."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import (
    TASK_HELP,
    Commands,
    add_market,
    add_workers,
    read_market,
    read_task,
)
from benchmarks.commands.warm_up import MARKET, prepare
from benchmarks.console import console, progress_bar

if TYPE_CHECKING:
    from agents import Collection


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "collect",
        help="simulate trajectories of a task into a data set",
        description="Logs market episodes in which a policy controls one advertiser and all others follow scripts, as"
        " in evaluations. Killed and started again with the same arguments, it goes on where it was and leaves the same"
        " bytes.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the data set")
    add_collection(parser)
    who = "control and log these only; default: every advertiser has its turn"
    parser.add_argument("--advertisers", type=int, nargs="+", metavar="J", help=who)
    control = (
        "advertisers that are controlled in an episode: one in turn, or all at once, which gives more trajectories an"
        " episode, but of another market: their policies move the prices; default: %(default)s"
    )
    parser.add_argument("--control", choices=("one", "all"), default="one", help=control)
    add_workers(parser)
    parser.set_defaults(run=_run, kept="finished blocks")


def add_collection(parser: argparse.ArgumentParser, *, n_episodes: int = 1000) -> None:
    """Adds what `collection` reads; `n_episodes` is the default."""
    parser.add_argument("--task", default="MaxConversions", help=f"{TASK_HELP}; default: %(default)s")
    policy = "mixed, a policy, or shares: random=1,noisy-pid=3; default: %(default)s"
    parser.add_argument("--policy", default="mixed", help=policy)
    episodes = "market episodes; default: %(default)s"
    parser.add_argument("--episodes", type=int, default=n_episodes, metavar="N", help=episodes)
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the first market; default: %(default)s")
    add_market(parser)
    parser.add_argument("--force", action="store_true", help="replace what is there")


def collection(arguments: argparse.Namespace) -> Collection:
    """The collection that the arguments describe."""
    from agents import Collection
    from auction_env.market.funnel import Funnel

    return Collection(
        task=read_task(arguments.task),
        n_episodes=arguments.episodes,
        seed=arguments.seed,
        policy=arguments.policy,
        **read_market(arguments, funnel=Funnel())._asdict(),  # a funnel, so that any other task can be made of the log
    )


def _run(arguments: argparse.Namespace) -> None:
    from agents import collect_data_set

    who = arguments.advertisers and tuple(arguments.advertisers)
    wanted = replace(collection(arguments), advertisers=who, control=arguments.control)
    prepare(MARKET)
    n_trajectories = wanted.n_episodes * wanted.n_at_once
    with progress_bar(f"collecting {wanted.task.name}", n_trajectories, "traj") as bar:
        summary = collect_data_set(
            wanted,
            arguments.out,
            n_workers=arguments.workers,
            ray=arguments.ray,
            force=arguments.force,
            progress=bar.advance,
        )
    resumed = f", {summary.n_resumed:,} of them found finished" if summary.n_resumed else ""
    console.print(
        f"{summary.n_episodes:,} market episodes -> {summary.n_trajectories:,} trajectories{resumed}"
        f" in {summary.seconds:.1f} s ({summary.rate:,.0f} trajectories/s): {arguments.out}"
    )
