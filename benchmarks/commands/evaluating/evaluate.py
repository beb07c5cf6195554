"""`vamo evaluate`: plays any bidders on the same episodes beside the hindsight reference.

It imports what it needs only when it runs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks.commands import AGENT_HELP, Commands, add_episodes, add_workers, read_episodes
from benchmarks.commands.warm_up import MARKET, prepare
from benchmarks.console import console, progress_bar


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "evaluate",
        help="play any bidders on the same episodes: rows, table, page",
        description=f"{AGENT_HELP} Scores are shares of the best constant in hindsight of the same episodes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_episodes(parser)
    option = parser.add_argument
    option("--against", metavar="NAME", help="whom the others are compared with; default: the first agent")
    metrics = "further tables: regret, welfare (of all advertisers; live markets only, plays every episode once more)"
    option("--metrics", nargs="+", default=[], metavar="NAME", help=metrics)
    add_workers(parser)
    option("--out", type=Path, default=Path("runs/evaluate"), metavar="DIR", help="default: %(default)s")
    option("--force", action="store_true", help="drop the episodes of a stopped evaluation with other arguments")
    parser.set_defaults(run=_run, kept="finished episodes")


def _run(arguments: argparse.Namespace) -> None:
    from benchmarks.evaluation.evaluate import evaluate
    from benchmarks.evaluation.named import named_bidders
    from benchmarks.evaluation.result import PAGE, RECORD

    bidders = named_bidders(arguments.agent)
    sets = read_episodes(arguments)
    if arguments.replay is None:
        prepare(MARKET)
    n, started = sum(map(len, sets)), time.perf_counter()
    with progress_bar("evaluating", n, "episodes", label_width=10) as bar:
        found = evaluate(
            bidders,
            sets,
            against=arguments.against,
            metrics=arguments.metrics,
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
