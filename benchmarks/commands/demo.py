"""`vamo demo`: runs the suite `demo/v2`, prints its table and writes its page and picture."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import Commands
from benchmarks.commands.warm_up import LABELS, MARKET, prepare
from benchmarks.console import console, print_table

if TYPE_CHECKING:
    from benchmarks.suites.spec import Size, Suite

PICTURE = "summary.png"


def add(commands: Commands) -> None:
    """Adds the command."""
    demo = commands.add_parser(
        "demo",
        help="collect logs, train, compare and report in a few minutes",
        description="Runs the suite demo/v2 and writes its page. Killed and started again, it goes on.",
    )
    demo.add_argument("--out", type=Path, metavar="DIR", help="default: runs/demo, or runs/demo-logs with --logs")
    demo.add_argument("--logs", type=Path, metavar="DIR", help="train on a data set or on AuctionNet CSV logs in DIR")
    demo.add_argument("--quick", action="store_true", help="tiny sizes: shows that everything works, nothing more")
    demo.set_defaults(run=_run, kept="finished runs")


def _run(arguments: argparse.Namespace) -> None:
    out = arguments.out or Path("runs/demo-logs" if arguments.logs else "runs/demo")
    run(out=out, logs=arguments.logs, size="testing" if arguments.quick else "cpu")


def run(*, out: Path, logs: Path | None, size: Size) -> None:
    """Runs the suite; exits with 1 where a run failed.

    Args:
        out: Directory of rows, page and picture.
        logs: A trajectory data set, or a directory of AuctionNet CSV files, which is imported below `out` first.
        size: Of the suite.
    """
    from benchmarks.pages.suite.page import write_page
    from benchmarks.pages.suite.picture import write_picture
    from benchmarks.pages.tables import suite as tables
    from benchmarks.suites.catalogue import demo, get_suite
    from benchmarks.suites.running.suite import run_suite

    started = time.perf_counter()
    suite = get_suite(demo.ID, size) if logs is None else suite_of(logs, out, size)
    command = ["vamo", "demo", *(["--logs", str(logs)] if logs else []), *(["--quick"] if size == "testing" else [])]
    prepare((*MARKET, LABELS))
    outcome = run_suite(suite, out, command=shlex.join(command))
    if outcome.failed:
        sys.exit(1)
    for table in tables.tables(out, kinds=("scores", "tasks")):
        print_table(table)
    page = write_page(out)
    write_picture(out, out / PICTURE)
    console.print(f"page: [bold]{page}[/bold] ({time.perf_counter() - started:.0f} s in all)", soft_wrap=True)


def suite_of(logs: Path, out: Path, size: Size) -> Suite:
    """The suite on the logs of a directory."""
    from auction_env.data.manifest import MANIFEST
    from benchmarks.commands.importing import import_impressions
    from benchmarks.suites.catalogue import demo
    from benchmarks.suites.data.logs import describe

    if not logs.is_dir():
        raise ValueError(f"`LOGS` must be a directory of logs, found {logs}")
    if not (logs / MANIFEST).exists():
        import_impressions([logs], out / "imported", force=True)
        logs = out / "imported"
    found = describe(logs, n_scarce=demo.N_SCARCE[size], n_validation=demo.N_HELD_OUT[size])
    return demo.from_logs(found, size)
