"""`vamo ope`: what policies are worth, from logs of other policies, without a market.

It imports what it needs only when it runs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from auction_env.files import write_atomically
from benchmarks.commands import AGENT_HELP, Commands, read_task
from benchmarks.console import console, print_table, progress_bar

if TYPE_CHECKING:
    from agents.labels.off_policy.estimate import PolicyEstimate


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "ope",
        help="estimate what policies are worth from logs, without a market",
        description=f"{AGENT_HELP} Estimates are expected scores of an episode like the logged ones, with"
        "\nintervals and warnings (docs/ope.md).",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("data", type=Path, metavar="DATA", help="a data set: collected, or imported (vamo import)")
    option("--agent", action="append", required=True, metavar="AGENT", help="whose worth; repeatable")
    methods = "direct (default), importance, self_normalised, doubly_robust or fitted_q; repeatable, all: each"
    option("--method", action="append", default=[], metavar="NAME", help=methods)
    option("--task", metavar="TASK", help="what they are scored by; default: the task of the log")
    option("--split", metavar="NAME", help="only this part of a data set that is split: train, validation or test")
    option("--level", type=float, default=0.9, metavar="P", help="coverage of the intervals; default: %(default)s")
    option("--seed", type=int, default=0, metavar="S", help="of what is drawn; default: %(default)s")
    option("--json", type=Path, metavar="FILE", help="also write all numbers to FILE")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    from agents.labels.off_policy.estimate import DEFAULT_METHOD, METHODS, OfflineEvaluation
    from auction_env import data
    from auction_env.names import check_name
    from benchmarks.evaluation.named import named_bidders
    from benchmarks.evaluation.offline import estimate_cells, records, warning_lines

    methods = list(dict.fromkeys(arguments.method)) or [DEFAULT_METHOD]
    if "all" in methods:
        methods = list(METHODS)
    for method in methods:
        check_name("--method", method, METHODS)
    named = named_bidders(arguments.agent)
    task = None if arguments.task is None else read_task(arguments.task)
    log = OfflineEvaluation(data.load(arguments.data, split=arguments.split), task=task)
    bidders = {label: one.make(None, log.task) for label, one in named.items()}
    found: dict[str, list[PolicyEstimate]] = {}
    with progress_bar("estimating", len(bidders) * len(methods), None, label_width=10) as bar:
        for label, bidder in bidders.items():
            found[label] = []
            for method in methods:
                one = log.estimate(bidder, method=method, level=arguments.level, seed=arguments.seed)
                found[label].append(one)
                bar.advance(1)
    print_table(estimate_cells(found).to_rich())
    for line in warning_lines(found, n_left_out=log.n_left_out):
        console.print(line, markup=False, highlight=False)
    if arguments.json is not None:
        write_atomically(arguments.json, (json.dumps(records(found), indent=1) + "\n").encode())
