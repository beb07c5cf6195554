"""`vamo data`: describe, check and split data sets."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.commands import Commands, data_sets
from benchmarks.console import console, progress_bar


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser("data", help="look at data sets", description="Looks at trajectory data sets.")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    describe = actions.add_parser("describe", help="sizes, tasks, policies, ranges, returns, constraints, actions")
    describe.add_argument("directory", type=Path, metavar="DIR", help="a data set or a family")
    describe.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="also write a page with plots to FILE; of a family, FILE-TASK for each",
    )
    describe.set_defaults(run=_run_describe)
    check = actions.add_parser("check", help="verify every file and row; exit code 1 when something is wrong")
    check.add_argument("directory", type=Path, metavar="DIR", help="a data set or a family")
    check.set_defaults(run=_run_check)
    split = actions.add_parser("split", help="deal the episodes into train, validation and test, once and for all")
    split.add_argument("directory", type=Path, metavar="DIR", help="a data set or a family")
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

    directories = data_sets(arguments.directory)
    for directory in directories:
        found = describe(directory)
        for table in tables(found):
            console.print(table)
        if arguments.html is not None:
            from benchmarks.pages.data_set.page import write_page

            page = arguments.html
            if len(directories) > 1:  # a page a member
                page = page.with_name(f"{page.stem}-{directory.name}{page.suffix}")
            write_page(page, found)
            console.print(f"page: {page}", soft_wrap=True)


def _run_check(arguments: argparse.Namespace) -> None:
    from auction_env import data

    n_problems = 0
    for directory in data_sets(arguments.directory):
        with progress_bar("checking", None, "shards") as bar:
            problems = data.check(directory, progress=bar.update)
        for problem in problems:
            console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
        verdict = f"{len(problems)} problems" if problems else "sound"
        console.print(f"{directory}: {verdict}", markup=False, highlight=False, soft_wrap=True)
        n_problems += len(problems)
    if n_problems:
        sys.exit(1)


def _run_split(arguments: argparse.Namespace) -> None:
    from auction_env import data

    for directory in data_sets(arguments.directory):
        counts = data.write_splits(
            directory,
            seed=arguments.seed,
            validation=arguments.validation,
            test=arguments.test,
            contiguous=arguments.contiguous,
            force=arguments.force,
        )
        said = ", ".join(f"{name} {n:,}" for name, n in counts.items())
        console.print(f"{directory}: {said} episodes", markup=False, highlight=False, soft_wrap=True)
