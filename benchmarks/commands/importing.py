"""`vamo import`: logs of others as trajectory data sets."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import Commands
from benchmarks.console import console, progress_bar

if TYPE_CHECKING:
    from auction_env.data import ImportSummary


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser("import", help="convert logs into a trajectory data set", description="Imports logs.")
    formats = parser.add_subparsers(title="formats", required=True, metavar="FORMAT")
    impressions = formats.add_parser(
        "auctionnet-impressions",
        help="AuctionNet's CSV logs of impressions",
        description="Reads logs in AuctionNet's public 18-column CSV schema (.csv, .csv.gz, or directories of them).",
    )
    impressions.add_argument("paths", type=Path, nargs="+", metavar="PATH")
    impressions.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the data set")
    impressions.add_argument("--force", action="store_true", help="replace a data set that is there")
    impressions.set_defaults(run=_run, kept="the rows up to the last checkpoint")


def _run(arguments: argparse.Namespace) -> None:
    summary = import_impressions(arguments.paths, arguments.out, force=arguments.force)
    console.print(
        f"{summary.n_rows:,} rows -> {summary.n_trajectories:,} trajectories, {summary.n_ticks:,} ticks"
        f" in {summary.seconds:.1f} s ({summary.n_rows / summary.seconds:,.0f} rows/s): {arguments.out}"
    )


def import_impressions(paths: Sequence[Path], out: Path, *, force: bool) -> ImportSummary:
    """Imports AuctionNet logs (`auction_env.data.import_auctionnet`) with a progress bar in megabytes."""
    from auction_env import data

    with progress_bar("importing AuctionNet logs", None, "MB") as bar:
        return data.import_auctionnet(
            paths, out, force=force, progress=lambda done, total: bar.update(done / 1e6, total / 1e6)
        )
