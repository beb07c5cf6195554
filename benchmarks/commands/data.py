"""Commands that make, convert and look at data sets. They import what they need only when they run."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import Commands
from benchmarks.console import console

if TYPE_CHECKING:
    from agents import Collection


def add(commands: Commands) -> None:
    """Adds the commands."""
    _add_collect(commands)
    _add_family(commands)
    _add_import(commands)
    _add_export(commands)
    _add_data(commands)


def _add_collect(commands: Commands) -> None:
    collector = commands.add_parser(
        "collect",
        help="simulate trajectories of a task into a data set",
        description="Logs market episodes in which a policy controls every advertiser, or some of them. Killed and"
        " started again with the same arguments, it goes on where it was and leaves the same bytes.",
    )
    collector.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the data set")
    _add_collection(collector)
    who = "control and log these only, beside scripts, as in evaluations; default: every advertiser"
    collector.add_argument("--advertisers", type=int, nargs="+", metavar="J", help=who)
    collector.add_argument("--workers", type=int, metavar="W", help="processes; default: one a core")
    collector.set_defaults(run=_run_collect)


def _add_family(commands: Commands) -> None:
    family = commands.add_parser(
        "family",
        help="make a synthetic suite of data-scarce tasks and log its trajectories",
        description="Makes K related tasks with very unequal amounts of data, and records which help and hurt which.",
    )
    family.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets a data set a task")
    family.add_argument("--tasks", type=int, default=6, metavar="K", help="2 to 128; default: %(default)s")
    family.add_argument("--seed", type=int, default=0, metavar="S", help="default: %(default)s")
    shift = "distance between groups of tasks: a level in [0, 1], or knobs as market=0.5,policy=1; default: %(default)s"
    family.add_argument("--shift", default="0.5", metavar="X", help=shift)
    family.add_argument("--most", type=int, default=5000, metavar="N", help="trajectories of the largest task")
    family.add_argument("--fewest", type=int, default=20, metavar="N", help="trajectories of the smallest task")
    family.add_argument("--groups", type=int, metavar="G", help="default: half the tasks")
    family.add_argument("--harmful", type=int, metavar="H", help="tasks that hurt the others; default: an eighth")
    family.add_argument("--impressions", type=int, default=4_800, metavar="N", help="an episode; default: %(default)s")
    for name in ("validation", "test"):
        family.add_argument(f"--{name}", type=int, default=50, metavar="N", help="trajectories of each task")
    family.add_argument("--workers", type=int, metavar="W", help="processes; default: one a core")
    family.add_argument("--force", action="store_true", help="replace what is there")
    family.set_defaults(run=_run_family)


def _add_collection(collector: argparse.ArgumentParser) -> None:
    collector.add_argument("--task", default="MaxConversions", help="a registered task; default: %(default)s")
    collector.add_argument(
        "--policy", default="mixed", help="mixed, a policy, or shares: random=1,noisy-pid=3; default: %(default)s"
    )
    collector.add_argument(
        "--episodes",
        type=int,
        default=100,
        metavar="N",
        help="market episodes, a trajectory a controlled advertiser; default: 100",
    )
    collector.add_argument("--seed", type=int, default=0, metavar="S", help="of the first market; default: %(default)s")
    collector.add_argument("--impressions", type=int, metavar="N", help="an episode; default: full size, 500,000")
    collector.add_argument("--force", action="store_true", help="replace what is there")


def _add_import(commands: Commands) -> None:
    importer = commands.add_parser(
        "import-auctionnet",
        help="convert AuctionNet's CSV logs into a trajectory data set",
        description="Reads logs in AuctionNet's public 18-column CSV schema (.csv, .csv.gz, or directories of them).",
    )
    importer.add_argument("paths", type=Path, nargs="+", metavar="PATH")
    importer.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the data set")
    importer.add_argument("--force", action="store_true", help="replace a data set that is there")
    importer.set_defaults(run=_run_import)


def _add_export(commands: Commands) -> None:
    parser = commands.add_parser("export", help="write trajectories for other programs", description="Exports data.")
    formats = parser.add_subparsers(title="formats", required=True, metavar="FORMAT")
    for name, what, out in (
        ("numpy", "one .npz file of plain arrays", "FILE"),
        ("minari", "a data set of Minari (needs the extra `minari`)", "DIR"),
    ):
        of_data = formats.add_parser(name, help=what)
        of_data.add_argument("directory", type=Path, metavar="DATA", help="data set")
        of_data.add_argument("--out", type=Path, required=True, metavar=out)
        of_data.add_argument("--task", action="append", metavar="NAME", help="only this task; may be given again")
        of_data.add_argument("--split", metavar="PART", help="only train, validation or test")
        of_data.add_argument("--force", action="store_true", help="replace what is there")
        of_data.set_defaults(run=_run_export, format=name)
    logs = formats.add_parser(
        "auctionnet",
        help="simulate market episodes and write every impression as AuctionNet's CSV",
        description="Writes period-0.csv, ...: the episodes that `vamo collect` with the same arguments logs.",
    )
    logs.add_argument("--out", type=Path, required=True, metavar="DIR")
    _add_collection(logs)
    logs.set_defaults(run=_run_export_impressions)


def _add_data(commands: Commands) -> None:
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


def _run_collect(arguments: argparse.Namespace) -> None:
    from benchmarks.commands.collect import collect

    collection = replace(_collection(arguments), advertisers=arguments.advertisers and tuple(arguments.advertisers))
    n_workers = len(os.sched_getaffinity(0)) if arguments.workers is None else arguments.workers
    summary = collect(collection, arguments.out, n_workers=n_workers, force=arguments.force)
    resumed = f", {summary.n_resumed:,} of them found finished" if summary.n_resumed else ""
    console.print(
        f"{summary.n_episodes:,} market episodes -> {summary.n_trajectories:,} trajectories{resumed}"
        f" in {summary.seconds:.1f} s ({summary.rate:,.0f} trajectories/s): {arguments.out}"
    )


def _run_family(arguments: argparse.Namespace) -> None:
    from agents.families.family import make_task_family
    from benchmarks.commands import family as families

    family = make_task_family(
        arguments.tasks,
        arguments.seed,
        families.parse_shift(arguments.shift),
        (arguments.most, arguments.fewest),
        n_groups=arguments.groups,
        n_harmful=arguments.harmful,
        n_impressions=arguments.impressions,
    )
    distances = families.collect(
        family,
        arguments.out,
        n_validation=arguments.validation,
        n_test=arguments.test,
        n_workers=len(os.sched_getaffinity(0)) if arguments.workers is None else arguments.workers,
        force=arguments.force,
    )
    for table in families.family_tables(family, distances):
        console.print(table)
    console.print(f"logs, splits and family.json: {arguments.out}")


def _collection(arguments: argparse.Namespace) -> Collection:
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


def _run_import(arguments: argparse.Namespace) -> None:
    from benchmarks.commands.importing import import_logs

    summary = import_logs(arguments.paths, arguments.out, force=arguments.force)
    console.print(
        f"{summary.n_rows:,} rows -> {summary.n_trajectories:,} trajectories, {summary.n_ticks:,} ticks"
        f" in {summary.seconds:.1f} s ({summary.n_rows / summary.seconds:,.0f} rows/s): {arguments.out}"
    )


def _run_export(arguments: argparse.Namespace) -> None:
    from auction_env import data
    from auction_env.data.formats.minari_format import export_minari
    from auction_env.data.formats.numpy_file import export_numpy

    log = data.load(arguments.directory, tasks=arguments.task, split=arguments.split)
    {"numpy": export_numpy, "minari": export_minari}[arguments.format](arguments.out, log, force=arguments.force)
    console.print(f"{log.n_episodes:,} trajectories, {len(log):,} ticks: {arguments.out}")


def _run_export_impressions(arguments: argparse.Namespace) -> None:
    from benchmarks.commands.collect import write_impressions

    files = write_impressions(_collection(arguments), arguments.out, force=arguments.force)
    n_bytes = sum(file.stat().st_size for file in files)
    console.print(f"{len(files):,} periods, {n_bytes / 1e6:,.1f} MB: {arguments.out}")


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
    from benchmarks.console import progress_bar

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
