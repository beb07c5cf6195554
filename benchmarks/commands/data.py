"""`vamo data`: describe, check and split data sets."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.table import Table

from benchmarks.commands import Commands, data_sets
from benchmarks.console import console, print_table, progress_bar


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser("data", help="look at data sets", description="Looks at trajectory data sets.")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    describe = actions.add_parser("describe", help="sizes, tasks, policies, ranges, returns, constraints, actions")
    describe.add_argument("directory", type=Path, metavar="DIR", help="a data set or a family")
    describe.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        help="also write a page with plots to FILE; of a family its own page, and FILE-TASK for each data set",
    )
    weights = "a trained agent, whose weights of the sources are shown on the page of a family"
    describe.add_argument("--agent", type=Path, metavar="FILE", help=weights)
    describe.set_defaults(run=_run_describe)
    check = actions.add_parser("check", help="verify every file and row; exit code 1 when something is wrong")
    kinds = "data sets, or directories of task families, whose members are all checked"
    check.add_argument("directories", type=Path, metavar="DIR", nargs="+", help=kinds)
    responses = "also compare the tasks' logs: cost that the response of each task's validation part predicts for the"
    check.add_argument(
        "--responses", action="store_true", help=f"{responses} others' training parts, over their actual cost"
    )
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

    directories, page = data_sets(arguments.directory), arguments.page
    is_family = directories != [arguments.directory]
    if arguments.agent is not None and (page is None or not is_family):
        raise ValueError(
            f"`--agent` must be given with `--page` and a family, found {'no page' if page is None else 'a data set'}"
        )
    pages = dict.fromkeys(directories, page)
    if page is not None and is_family:
        pages = {path: page.with_name(f"{page.stem}-{path.name}{page.suffix}") for path in directories}
        _write_family_page(arguments, {path.name: own.name for path, own in pages.items()})
    for directory, own in pages.items():
        found = describe(directory)
        for table in tables(found):
            console.print(table)
        if own is not None:
            from benchmarks.pages.data_set.page import write_page

            write_page(own, found)
            console.print(f"page: {own}", soft_wrap=True)


def _write_family_page(arguments: argparse.Namespace, links: dict[str, str]) -> None:
    """Writes the page of a family, with links to those of its data sets."""
    from benchmarks.pages.data_set.family.describing import describe_family
    from benchmarks.pages.data_set.family.page import write_page

    with progress_bar("comparing tasks", 2 * len(links) ** 2, "pairs") as bar:
        found = describe_family(arguments.directory, arguments.agent, bar.advance)
    write_page(arguments.page, found, links)
    console.print(f"page: {arguments.page}", soft_wrap=True)


def _run_check(arguments: argparse.Namespace) -> None:
    directories = [member for given in arguments.directories for member in data_sets(given)]
    found = [_has_problems(directory) for directory in directories]
    if any(found):
        sys.exit(1)
    if arguments.responses:
        print_table(_response_table(directories))


def _has_problems(directory: Path) -> bool:
    """Prints what is wrong with a data set, or that it is sound."""
    from auction_env import data

    with progress_bar("checking", None, "shards") as bar:
        problems = data.check(directory, progress=bar.update)
    for problem in problems:
        console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
    verdict = f"{len(problems)} problems" if problems else "sound"
    console.print(f"{directory}: {verdict}", markup=False, highlight=False, soft_wrap=True)
    return bool(problems)


def _response_table(directories: list[Path]) -> Table:
    """A row a source: predicted over actual cost for the targets, and those that the response check keeps it from."""
    import numpy as np

    from agents.labels.response_check import check_sources
    from benchmarks.commands.train import read_logs
    from benchmarks.pages.tables.cells import Cells
    from vamo.config import SharingConfig

    factor = SharingConfig().response_factor
    sources, targets = read_logs(directories, needs_validation=True)
    rows = []
    for source, checks in zip(sources, zip(*check_sources(sources, targets), strict=True), strict=True):
        of_target = dict(zip(targets, checks, strict=True))
        ratios = np.array([check.ratio for check in checks])
        known = ratios[~np.isnan(ratios)]  # nan: neither costs nor should cost anything
        ends = ("-", "-") if known.size == 0 else (f"{known.min():.3g}", f"{known.max():.3g}")
        left_out = [target for target, check in of_target.items() if not check.agrees(factor)]
        own = f"{of_target[source].ratio:.3g}" if source in of_target else "-"
        named = left_out[0] if len(left_out) == 1 else f"{len(left_out)} of {len(targets)} targets"
        rows.append((source, own, *ends, named if left_out else ""))
    return Cells(
        kind="responses",
        title="Response check: predicted over actual cost, by the targets' responses",
        header=("source", "own", "least", "most", "left out for"),
        rows=tuple(rows),
        notes=(
            f"Left out for a target where its ratio is outside [{1 / factor:.2g}, {factor:.2g}]. A source that is left "
            "out for most targets is suspect; a target for which most sources are left out is, too.",
        ),
        text_columns=frozenset({0, 4}),
    ).to_rich()


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
