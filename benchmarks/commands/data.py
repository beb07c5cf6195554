"""`vamo data`: describe, check and split data sets."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.commands import Commands
from benchmarks.console import console, progress_bar


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser("data", help="look at data sets", description="Looks at trajectory data sets.")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    describe = actions.add_parser("describe", help="sizes, tasks, policies, ranges, returns, constraints, actions")
    describe.add_argument("directory", type=Path, metavar="DIR")
    describe.add_argument("--html", type=Path, metavar="FILE", help="also write a page with plots to FILE")
    describe.set_defaults(run=_run_describe)
    check = actions.add_parser("check", help="verify every file and row; exit code 1 when something is wrong")
    check.add_argument("directory", type=Path, metavar="DIR")
    check.set_defaults(run=_run_check)
    split = actions.add_parser("split", help="deal the episodes into train, validation and test, once and for all")
    split.add_argument("directory", type=Path, metavar="DIR")
    split.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    for name in ("validation", "test"):
        amount = "a share (0.1) or a number (20) of each task's episodes, or of the periods; default: %(default)s"
        split.add_argument(f"--{name}", type=_amount, default=0.1, metavar="X", help=amount)
    split.add_argument("--contiguous", action="store_true", help="hold out whole last periods")
    split.add_argument("--force", action="store_true", help="replace a split that is there")
    split.set_defaults(run=_run_split)


def _amount(text: str) -> float | int:
    return int(text) if text.isdigit() else float(text)


def _run_describe(arguments: argparse.Namespace) -> None:
    from benchmarks.pages.data_set.describing import describe, tables

    found = describe(arguments.directory)
    for table in tables(found):
        console.print(table)
    if arguments.html is not None:
        from benchmarks.pages.data_set.page import write_page

        write_page(arguments.html, found)
        console.print(f"page: {arguments.html}")


def _run_check(arguments: argparse.Namespace) -> None:
    from auction_env import data

    with progress_bar("checking", None, "shards") as bar:
        problems = data.check(arguments.directory, progress=bar.update)
    for problem in problems:
        console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
    if problems:
        console.print(f"{arguments.directory}: {len(problems)} problems")
        sys.exit(1)
    console.print(f"{arguments.directory}: sound")


def _run_split(arguments: argparse.Namespace) -> None:
    from auction_env import data

    counts = data.write_splits(
        arguments.directory,
        seed=arguments.seed,
        validation=arguments.validation,
        test=arguments.test,
        contiguous=arguments.contiguous,
        force=arguments.force,
    )
    console.print(", ".join(f"{name} {n:,}" for name, n in counts.items()) + " episodes")
