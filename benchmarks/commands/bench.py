"""`vamo bench`: suites, their statistics and pages, speed figures. Imports what it needs only when it runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from auction_env.files import write_atomically
from benchmarks.commands import Commands, add_workers
from benchmarks.console import console, print_table


def add(commands: Commands) -> None:
    """Adds the command."""
    bench = commands.add_parser("bench", help="benchmarks", description="Benchmarks.")
    kinds = bench.add_subparsers(title="benchmarks", required=True, metavar="BENCHMARK")
    speed = kinds.add_parser(
        "speed",
        help="speed figures as ratios against stated references",
        description="Measures speed. Stopped and started again with the same options, code and machine, it goes on.",
    )
    speed.add_argument("--quick", action="store_true", help="fewer repetitions and figures; under 60 s")
    speed.add_argument(
        "--only",
        choices=("market", "env", "agents", "training", "inference", "data", "process", "scaling"),
        help="one part of the table; scaling, of processes and Ray, is measured on request only",
    )
    speed.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to FILE")
    speed.add_argument(
        "--save",
        type=Path,
        nargs="?",
        const=Path("benchmarks/results/speed"),
        metavar="DIR",
        help="also add the run to the history of this kind of machine in DIR; without DIR: %(const)s",
    )
    speed.add_argument(
        "--out",
        type=Path,
        default=Path("runs/bench/speed"),
        metavar="DIR",
        help="where a stopped run keeps what it has measured; default: %(default)s",
    )
    speed.set_defaults(run=_run_speed, kept=_kept_speed)
    fidelity = kinds.add_parser("fidelity", help="scores and ranking of methods against impressions per episode")
    fidelity.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, nothing more")
    fidelity.add_argument("--out", type=Path, default=Path("runs/fidelity"), metavar="DIR", help="default: %(default)s")
    fidelity.set_defaults(run=_run_fidelity)
    ope = kinds.add_parser(
        "ope",
        help="offline estimates of policies against their live scores",
        description="Logs, estimates and plays 14 policies (docs/ope.md). Killed and started again, it goes on.",
    )
    ope.add_argument("--size", choices=("full", "cpu", "testing"), default="full", help="default: %(default)s")
    ope.add_argument("--workers", type=int, metavar="N", help="jobs at a time; default: one a core")
    ope.add_argument("--out", type=Path, metavar="DIR", help="default: runs/bench/ope-v1-SIZE")
    ope.add_argument("--force", action="store_true", help="replace rows or unfinished work of other settings")
    ope.set_defaults(run=_run_ope, kept="finished jobs")
    _add_suites(kinds)


def _add_suites(kinds: Commands) -> None:
    runner = kinds.add_parser(
        "run",
        help="run a suite; killed and started again, it goes on",
        description="Runs a suite (vamo bench list). Finished runs are kept, missing and failed ones are done. The exit"
        " code is 1 where a run failed.",
    )
    runner.add_argument(
        "suite", metavar="SUITE", help="id, such as data-scarce/v2 or data-scarce/v2/testing, or FILE.py:NAME of yours"
    )
    runner.add_argument(
        "--size", choices=("full", "cpu", "testing"), help="default: full, or that of the suite in a file"
    )
    runner.add_argument("--seeds", type=int, metavar="N", help="only the first N training seeds; default: all")
    runner.add_argument(
        "--agents", nargs="+", metavar="NAME", help="only these methods of the suite; or agents of `vamo agents`"
    )
    runner.add_argument("--variants", nargs="+", metavar="NAME", help="only these variants of the suite")
    periods = runner.add_mutually_exclusive_group()
    periods.add_argument(
        "--data", type=Path, metavar="DIR", help="of auctionnet/v3: AuctionNet's periods, period-7.csv .. period-20.csv"
    )
    periods.add_argument(
        "--synthetic", action="store_true", help="of auctionnet/v3: periods that our market writes in that format"
    )
    add_workers(runner)
    runner.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where the transformer trains; default: %(default)s"
    )
    runner.add_argument("--out", type=Path, metavar="DIR", help="default: runs/bench/SUITE")
    runner.add_argument(
        "--reuse",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="take over the same runs, of any suite, from results in DIR, published ones too; may be repeated",
    )
    runner.add_argument(
        "--one-commit", action="store_true", help="do finished runs again that another commit of the code made"
    )
    runner.set_defaults(run=_run_suite, kept="finished runs")
    lister = kinds.add_parser("list", help="list the suites, or show all about some")
    lister.add_argument("names", nargs="*", metavar="SUITE", help="show sizes, methods and the whole question of these")
    lister.set_defaults(run=_run_list)
    table = kinds.add_parser("table", help="statistics of a suite's rows as tables")
    table.add_argument("directory", type=Path, metavar="DIR", help="what `vamo bench run` wrote")
    table.add_argument(
        "--metric", choices=("score_expected", "score_sampled"), default="score_expected", help="default: %(default)s"
    )
    table.add_argument(
        "--against", metavar="METHOD", help="instead: paired differences of all other methods from this one"
    )
    table.add_argument(
        "--variant", metavar="NAME", help="instead: the tables of one variant, such as one of many families"
    )
    table.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the comparisons to FILE, registered and exploratory"
    )
    table.set_defaults(run=_run_table)
    report = kinds.add_parser(
        "report",
        help="one self-contained interactive page of a suite's results",
        description="Writes one HTML page that needs no network: leaderboard, scores by task, profiles, weights over"
        " training, episodes, cost.",
    )
    report.add_argument("directory", type=Path, metavar="DIR", help="what `vamo bench run` or `publish` wrote")
    report.add_argument("--out", type=Path, metavar="FILE", help="default: DIR/report.html")
    report.set_defaults(run=_run_report)
    publish = kinds.add_parser(
        "publish",
        help="copy a suite's rows, compact, to where results are committed",
        description="Replaces what is published of the suite, with five significant digits. `make docs` shows it."
        " Rows of several commits are refused.",
    )
    publish.add_argument("directory", type=Path, metavar="DIR", help="what `vamo bench run` wrote")
    publish.add_argument(
        "--to", type=Path, default=Path("benchmarks/results"), metavar="DIR", help="default: %(default)s"
    )
    publish.add_argument(
        "--mixed", action="store_true", help="publish rows of several commits all the same; the pages name them all"
    )
    publish.set_defaults(run=_run_publish)


def _run_speed(arguments: argparse.Namespace) -> None:
    from benchmarks.speed import figures as speed

    speed.run(
        quick=arguments.quick,
        only=arguments.only,
        json_path=arguments.json,
        history_folder=arguments.save,
        out=arguments.out,
    )


def _kept_speed(arguments: argparse.Namespace) -> str:
    from benchmarks.speed.kept.unfinished import file_of

    path = file_of(arguments.out, quick=arguments.quick, only=arguments.only)
    return "finished measurements" if path.exists() else ""


def _run_fidelity(arguments: argparse.Namespace) -> None:
    from benchmarks.studies import fidelity

    fidelity.run(fidelity.QUICK if arguments.quick else None, out=arguments.out)


def _run_ope(arguments: argparse.Namespace) -> None:
    from benchmarks.studies.ope.run import run

    out = arguments.out or Path("runs/bench") / f"ope-v1-{arguments.size}"
    run(arguments.size, out, n_workers=arguments.workers, force=arguments.force)


def _run_suite(arguments: argparse.Namespace) -> None:
    from benchmarks.commands import suites as commands

    commands.run(
        arguments.suite,
        size=arguments.size,
        n_seeds=arguments.seeds,
        agents=arguments.agents,
        variants=arguments.variants,
        n_workers=arguments.workers,
        device=arguments.device,
        ray=arguments.ray,
        out=arguments.out,
        reuse=arguments.reuse,
        one_commit=arguments.one_commit,
        data=arguments.data,
        is_synthetic=arguments.synthetic,
    )


def _run_list(arguments: argparse.Namespace) -> None:
    from benchmarks.commands import suites as commands

    if not arguments.names:
        console.print(commands.suites_table())
        console.print("vamo bench list SUITE: question, sizes, methods")
    for name in arguments.names:
        for table in commands.suite_tables(name):
            print_table(table)


def _run_table(arguments: argparse.Namespace) -> None:
    from benchmarks.pages.tables import suite as tables

    for table in tables.tables(arguments.directory, arguments.metric, arguments.against, variant=arguments.variant):
        print_table(table)
    if arguments.json is not None:
        records = tables.comparison_records(arguments.directory, arguments.metric, variant=arguments.variant)
        write_atomically(arguments.json, (json.dumps(records, indent=1) + "\n").encode())


def _run_report(arguments: argparse.Namespace) -> None:
    from benchmarks.pages.suite.page import write_page

    page = write_page(arguments.directory, arguments.out)
    console.print(f"{page.stat().st_size / 1e6:,.1f} MB: {page}", soft_wrap=True)


def _run_publish(arguments: argparse.Namespace) -> None:
    from benchmarks.suites.storage.publishing import lacking, publish
    from benchmarks.suites.storage.store import Store

    target, n_bytes = publish(arguments.directory, arguments.to, is_mixed=arguments.mixed)
    missing = lacking(Store(target))
    if missing:
        console.print(f"note: published without runs that are missing or failed: {', '.join(missing)}", soft_wrap=True)
    console.print(f"{n_bytes / 1e6:,.2f} MB of rows: {target}", soft_wrap=True)
