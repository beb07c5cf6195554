"""`vamo import`: logs of others as trajectory data sets."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import TASK_HELP, Commands, read_task
from benchmarks.console import console, progress_bar

if TYPE_CHECKING:
    from auction_env.data import ImportSummary
    from auction_env.replay.auctionnet import ReplaySummary
    from auction_env.replay.market import Assumption

_FILES = "Reads .csv, .csv.gz, .zip (of .csv files) and .parquet, and directories of them."


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser("import", help="convert logs into a trajectory data set", description="Imports logs.")
    formats = parser.add_subparsers(title="formats", required=True, metavar="FORMAT")
    for name, what, schema, kept in (
        (
            "auctionnet-impressions",
            "AuctionNet's logs of impressions",
            "Reads impressions in AuctionNet's public 18-column schema.",
            "the rows up to the last checkpoint",
        ),
        (
            "auctionnet-trajectories",
            "AuctionNet's trajectories, on which most papers train",
            "Reads AuctionNet's trajectories (*-rlData.csv, trajectory_data*.csv).",
            "the shards that are written",
        ),
    ):
        of_format = formats.add_parser(name, help=what, description=f"{schema} {_FILES}")
        of_format.add_argument("paths", type=Path, nargs="+", metavar="PATH")
        of_format.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the data set")
        of_format.add_argument("--force", action="store_true", help="replace a data set that is there")
        of_format.set_defaults(run=_run, format=name, kept=kept)
    replay = formats.add_parser(
        "auctionnet-replay",
        help="AuctionNet's logs of impressions as a market, for `vamo evaluate --replay`",
        description=f"Reads impressions in AuctionNet's public 18-column schema, twice. {_FILES}",
    )
    replay.add_argument("paths", type=Path, nargs="+", metavar="PATH")
    replay.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the market")
    replay.add_argument(
        "--assumption",
        metavar="NAME",
        help="of logs that lack bids: least_winning_cost or full_ladder (docs/replay.md); default: every bid is there",
    )
    replay.add_argument("--force", action="store_true", help="replace a market that is there")
    replay.set_defaults(run=_run_replay, kept="the periods that are finished")
    _add_table(formats)
    minari = formats.add_parser("minari", help="what `vamo export minari` wrote (needs the extra `minari`)")
    minari.add_argument("directory", type=Path, metavar="DATA", help="directory of the Minari data set")
    minari.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the data set")
    minari.add_argument("--force", action="store_true", help="replace a data set that is there")
    minari.set_defaults(run=_run_minari)


def _run_minari(arguments: argparse.Namespace) -> None:
    from auction_env import data
    from auction_env.data.formats.minari_format import import_minari
    from auction_env.data.storage import check_target

    check_target(arguments.out, force=arguments.force)
    log = import_minari(arguments.directory)
    data.write(arguments.out, log, force=arguments.force)
    console.print(f"{log.n_episodes:,} trajectories, {len(log):,} ticks: {arguments.out}", soft_wrap=True)


def _run_replay(arguments: argparse.Namespace) -> None:
    summary = import_replay(arguments.paths, arguments.out, assumption=arguments.assumption, force=arguments.force)
    console.print(
        f"{summary.n_rows:,} rows -> {summary.n_impressions:,} impressions of {summary.n_periods} periods,"
        f" {summary.n_bytes / 1e6:,.1f} MB in {summary.seconds:.1f} s: {arguments.out}",
        soft_wrap=True,
    )


def _add_table(formats: Commands) -> None:
    table = formats.add_parser(
        "table",
        help="a table of your own, CSV or Parquet: one row a campaign and tick",
        description="Reads tables with a row a campaign and tick. Columns: campaign, period and tick (or time), bid (or"
        " multiplier), cost, volume (or impressions), budget; and what you have of wins, conversions, clicks,"
        " add_to_carts, value, targets and predictions (docs/own-data.md).",
    )
    _add_own(table)
    table.set_defaults(run=_run_table)
    bids = formats.add_parser(
        "bids",
        help="a log of single bids of your own, CSV or Parquet, summed up to ticks",
        description="Reads logs with a row a bid. Columns: campaign, time, bid, price (empty where the bid lost); and"
        " what you have of clicks, conversions and value. Give the budget with --constant budget=NUMBER.",
    )
    _add_own(bids)
    bids.add_argument(
        "--price-unit", type=float, default=1.0, metavar="N", help="impressions of a bid and a price: 1000 for CPMs"
    )
    bids.add_argument(
        "--time-unit",
        default="timestamp",
        metavar="UNIT",
        help="timestamp (default), s or ms since 1970, or yyyyMMddHHmmssSSS",
    )
    bids.set_defaults(run=_run_bids)


def _add_own(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that tables and bids share."""
    option = parser.add_argument
    option("paths", type=Path, nargs="+", metavar="FILE", help=".csv, .tsv (also .gz) or .parquet")
    option(
        "--map", nargs="+", default=[], metavar="NAME=YOURS", help="what the file calls a column, such as cost=spend"
    )
    option("--constant", nargs="+", default=[], metavar="NAME=NUMBER", help="a column that is the same in all rows")
    option("--task", required=True, metavar="NAME", help=f"what the campaigns were for: {TASK_HELP}")
    option("--ticks", type=int, default=48, metavar="N", help="ticks of a period; default: %(default)s")
    option("--out", type=Path, required=True, metavar="DIR", help="directory of the data set")
    option("--force", action="store_true", help="replace a data set that is there")


def _run_table(arguments: argparse.Namespace) -> None:
    _import_table(arguments, arguments.paths, _pairs("--map", arguments.map))


def _run_bids(arguments: argparse.Namespace) -> None:
    from auction_env.data.formats.table.bids import sum_bids
    from auction_env.data.storage import check_target

    check_target(arguments.out, force=arguments.force)
    with progress_bar("reading bids", None, "rows") as bar:
        table = sum_bids(
            arguments.paths,
            ticks=arguments.ticks,
            mapping=_pairs("--map", arguments.map),
            price_unit=arguments.price_unit,
            time_unit=arguments.time_unit,
            progress=bar.advance,
        )
    _import_table(arguments, table, {})


def _import_table(arguments: argparse.Namespace, frame: object, mapping: dict[str, str]) -> None:
    """Writes a table as the data set of the arguments, and says what became of it."""
    from auction_env import data

    constants = {name: _number(name, text) for name, text in _pairs("--constant", arguments.constant).items()}
    started = time.perf_counter()
    with progress_bar("importing", None, "rows") as bar:
        summary = data.import_table(
            frame,
            arguments.out,
            task=read_task(arguments.task),
            ticks=arguments.ticks,
            mapping=mapping,
            constants=constants,
            force=arguments.force,
            progress=bar.update,
        )
    seconds = time.perf_counter() - started
    console.print(
        f"{summary.n_rows:,} rows -> {summary.n_trajectories:,} trajectories in {seconds:.1f} s: {arguments.out}",
        soft_wrap=True,
    )
    for name, value in summary.derived_targets.items():
        console.print(f"{name}: {value:.6g}, the log's own, because the table does not say it")
    for label, names in (("not used", summary.ignored), ("the log lacks", summary.missing)):
        if names:
            console.print(f"{label}: {', '.join(names)}", markup=False, highlight=False, soft_wrap=True)


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE texts by name."""
    pairs: dict[str, str] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not (name and separator and value):
            raise ValueError(f"`{option}` must be NAME=VALUE, found {text!r}")
        if name in pairs:
            raise ValueError(f"`{option}` must give {name!r} once, found it twice")
        pairs[name] = value
    return pairs


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"`--constant` {name} must be a number, found {text!r}") from None


def _run(arguments: argparse.Namespace) -> None:
    importer = {"auctionnet-impressions": import_impressions, "auctionnet-trajectories": import_trajectories}
    summary = importer[arguments.format](arguments.paths, arguments.out, force=arguments.force)
    console.print(
        f"{summary.n_rows:,} rows -> {summary.n_trajectories:,} trajectories, {summary.n_ticks:,} ticks"
        f" in {summary.seconds:.1f} s ({summary.n_rows / summary.seconds:,.0f} rows/s): {arguments.out}"
    )


def import_impressions(paths: Sequence[Path], out: Path, *, force: bool) -> ImportSummary:
    """Imports AuctionNet logs (`auction_env.data.import_auctionnet_impressions`) with a progress bar in megabytes."""
    from auction_env import data

    with progress_bar("importing AuctionNet logs", None, "MB") as bar:
        return data.import_auctionnet_impressions(
            paths, out, force=force, progress=lambda done, total: bar.update(done / 1e6, total / 1e6)
        )


def import_replay(
    paths: Sequence[Path], out: Path, *, assumption: Assumption | None = None, force: bool = False
) -> ReplaySummary:
    """Makes a replay market of AuctionNet logs (`auction_env.import_replay`) with a progress bar in megabytes."""
    import auction_env

    with progress_bar("importing AuctionNet logs", None, "MB") as bar:
        return auction_env.import_replay(
            paths,
            out,
            assumption=assumption,
            force=force,
            progress=lambda done, total: bar.update(done / 1e6, total / 1e6),
        )


def import_trajectories(paths: Sequence[Path], out: Path, *, force: bool) -> ImportSummary:
    """The same for trajectories (`auction_env.data.import_auctionnet_trajectories`); says what they lack."""
    import numpy as np

    from auction_env import data
    from auction_env.data.formats.trajectory_import import LACKING

    with progress_bar("importing trajectories", None, "MB") as bar:
        summary = data.import_auctionnet_trajectories(
            paths, out, force=force, progress=lambda done, total: bar.update(done / 1e6, total / 1e6)
        )
    missing = {name: int(np.isnan(values).sum()) for name, values in data.load_columns(out, LACKING).items()}
    said = ", ".join(f"{name} in {n / summary.n_ticks:.1%}" for name, n in missing.items() if n)
    if said:
        console.print(f"the log lacks, of its ticks: {said}", soft_wrap=True)
    return summary
