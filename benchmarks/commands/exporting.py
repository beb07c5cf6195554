"""`vamo export`: trajectories for other programs, AuctionNet's among them, and simulated impressions as its CSV."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.commands import Commands, task_or_name
from benchmarks.commands.collect import add_collection, collection
from benchmarks.console import console, progress_bar

OF_DATA = "one of the data by name or as FILE.json"


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser("export", help="write trajectories for other programs", description="Exports data.")
    formats = parser.add_subparsers(title="formats", required=True, metavar="FORMAT")
    for name, what, out in (
        ("numpy", "one .npz file of plain arrays", "FILE"),
        ("minari", "a data set of Minari (needs the extra `minari`)", "DIR"),
        (
            "auctionnet-trajectories",
            "AuctionNet's trajectory CSV, for forks of its repository",
            "FILE",
        ),
    ):
        of_data = formats.add_parser(name, help=what)
        of_data.add_argument("directory", type=Path, metavar="DATA", help="data set")
        of_data.add_argument("--out", type=Path, required=True, metavar=out)
        of_data.add_argument(
            "--task", action="append", metavar="NAME", help=f"only this task, {OF_DATA}; may be given again"
        )
        of_data.add_argument("--split", metavar="PART", help="only train, validation or test")
        of_data.add_argument("--force", action="store_true", help="replace what is there")
        of_data.set_defaults(run=_run, format=name)
    impressions = formats.add_parser(
        "auctionnet-impressions",
        help="simulate market episodes and write every impression as AuctionNet's CSV",
        description="Writes period-0.csv, ...: the episodes of `vamo collect --control all` with the same arguments.",
    )
    impressions.add_argument("--out", type=Path, required=True, metavar="DIR")
    add_collection(impressions, n_episodes=10)
    impressions.set_defaults(run=_run_impressions, replaces=True)


def _run(arguments: argparse.Namespace) -> None:
    from auction_env import data
    from auction_env.data.formats.minari_format import export_minari
    from auction_env.data.formats.numpy_file import export_numpy
    from auction_env.data.formats.trajectory_export import export_auctionnet_trajectories

    log = data.load(
        arguments.directory,
        tasks=arguments.task and [task_or_name(text) for text in arguments.task],
        split=arguments.split,
    )
    exporters = {
        "numpy": export_numpy,
        "minari": export_minari,
        "auctionnet-trajectories": export_auctionnet_trajectories,
    }
    exporters[arguments.format](arguments.out, log, force=arguments.force)
    console.print(f"{log.n_episodes:,} trajectories, {len(log):,} ticks: {arguments.out}")


def _run_impressions(arguments: argparse.Namespace) -> None:
    import numpy as np

    from agents.logging.impressions import log_impressions
    from agents.logging.policies import make_policy, parse_shares

    c = collection(arguments)
    policy = make_policy(parse_shares(c.policy), c.task, c.params, c.population)
    with progress_bar("writing impressions", c.n_episodes, "periods") as bar:
        files = log_impressions(
            policy,
            arguments.out,
            seeds=np.arange(c.seed, c.seed + c.n_episodes),
            task=c.task,
            params=c.params,
            population=c.population,
            force=arguments.force,
            progress=bar.advance,
        )
    n_bytes = sum(file.stat().st_size for file in files)
    console.print(f"{len(files):,} periods, {n_bytes / 1e6:,.1f} MB: {arguments.out}")
