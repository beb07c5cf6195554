"""`vamo watch`: one episode unfolds in the terminal, several bidders side by side.

It imports what it needs only when it runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import AGENT_HELP, Commands, add_episodes, read_episodes
from benchmarks.commands.warm_up import MARKET, prepare
from benchmarks.console import console

if TYPE_CHECKING:
    from benchmarks.evaluation.episodes import EpisodeSet


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "watch",
        help="watch one episode unfold: bids, prices, spend, limits",
        description=f"{AGENT_HELP} The episode is one of those that\n`vamo evaluate` plays with the same options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_episodes(parser)
    option = parser.add_argument
    option("--episode", type=int, default=0, metavar="K", help="which of the episodes; default: 0, the first")
    option("--speed", type=float, default=4.0, metavar="X", help="ticks per second, at most; default: %(default)g")
    option("--page", type=Path, metavar="FILE", help="also write a page on which the episode can be played")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    from benchmarks.evaluation.named import named_bidders
    from benchmarks.evaluation.watching.playing import unfold
    from benchmarks.evaluation.watching.terminal import show

    if not arguments.speed > 0:
        raise ValueError(f"`--speed` must be positive, found {arguments.speed:g}")
    if arguments.page is not None:  # before anything is played: the page needs plotly
        from benchmarks.evaluation.watching.page import write_page
    bidders, episodes = named_bidders(arguments.agent), _of_one_task(arguments)
    if arguments.replay is None:
        prepare(MARKET)
    watched = show(unfold(bidders, episodes, arguments.episode), console, arguments.speed)
    if arguments.page is not None:
        write_page(arguments.page, watched)
        console.print(f"page: {arguments.page}", soft_wrap=True)


def _of_one_task(arguments: argparse.Namespace) -> EpisodeSet:
    first, *others = read_episodes(arguments)
    if others:
        names = [of_task.task.name for of_task in (first, *others)]
        raise ValueError(f"`--task` must name the one task to watch, found {len(names)}: {', '.join(names)}")
    return first
