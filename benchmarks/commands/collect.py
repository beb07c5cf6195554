"""`vamo collect`: simulated trajectories of a task as a data set."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import Commands, add_workers
from benchmarks.console import console, progress_bar

if TYPE_CHECKING:
    from agents import Collection


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "collect",
        help="simulate trajectories of a task into a data set",
        description="Logs market episodes in which a policy controls every advertiser, or some of them. Killed and"
        " started again with the same arguments, it goes on where it was and leaves the same bytes.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the data set")
    add_collection(parser)
    who = "control and log these only, beside scripts, as in evaluations; default: every advertiser"
    parser.add_argument("--advertisers", type=int, nargs="+", metavar="J", help=who)
    add_workers(parser)
    parser.set_defaults(run=_run, kept="finished blocks")


def add_collection(parser: argparse.ArgumentParser) -> None:
    """Adds what `collection` reads."""
    parser.add_argument("--task", default="MaxConversions", help="a registered task; default: %(default)s")
    policy = "mixed, a policy, or shares: random=1,noisy-pid=3; default: %(default)s"
    parser.add_argument("--policy", default="mixed", help=policy)
    episodes = "market episodes, a trajectory a controlled advertiser; default: %(default)s"
    parser.add_argument("--episodes", type=int, default=100, metavar="N", help=episodes)
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the first market; default: %(default)s")
    parser.add_argument("--impressions", type=int, metavar="N", help="an episode; default: full size, 500,000")
    parser.add_argument("--force", action="store_true", help="replace what is there")


def collection(arguments: argparse.Namespace) -> Collection:
    """The collection that the arguments describe."""
    from agents import Collection
    from auction_env import MarketParams, get_task
    from auction_env.market.funnel import Funnel

    sizes = {} if arguments.impressions is None else {"n_impressions": arguments.impressions}
    return Collection(
        task=get_task(arguments.task),
        n_episodes=arguments.episodes,
        seed=arguments.seed,
        policy=arguments.policy,
        params=MarketParams(funnel=Funnel(), **sizes),  # so that any other task can be made of the log
    )


def _run(arguments: argparse.Namespace) -> None:
    from agents import collect_data_set

    wanted = replace(collection(arguments), advertisers=arguments.advertisers and tuple(arguments.advertisers))
    n_trajectories = wanted.n_episodes * len(wanted.controlled)
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
