"""Commands that compare and measure. They import what they need only when they run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import Commands

if TYPE_CHECKING:
    pass


def add(commands: Commands) -> None:
    """Adds the commands."""
    _add_demo(commands)
    _add_bench(commands)


def _add_demo(commands: Commands) -> None:
    demo = commands.add_parser(
        "demo", help="simulate, train, compare and report in a few minutes", description="Runs the demo end to end."
    )
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="default: %(default)s")
    demo.add_argument("--logs", type=Path, metavar="DIR", help="train on a data set or on AuctionNet CSV logs in DIR")
    demo.add_argument("--seed", type=int, default=0, help="of training and splits; default: %(default)s")
    demo.add_argument("--quick", action="store_true", help="tiny sizes: shows that everything works, nothing more")
    demo.set_defaults(run=_run_demo)


def _add_bench(commands: Commands) -> None:
    bench = commands.add_parser("bench", help="benchmarks", description="Benchmarks.")
    kinds = bench.add_subparsers(title="benchmarks", required=True, metavar="BENCHMARK")
    speed = kinds.add_parser("speed", help="speed figures as ratios against stated references")
    speed.add_argument("--quick", action="store_true", help="fewer repetitions; under 45 s")
    speed.add_argument(
        "--only", choices=("market", "env", "training", "inference", "data"), help="one part of the table"
    )
    speed.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to FILE")
    speed.set_defaults(run=_run_speed)
    fidelity = kinds.add_parser("fidelity", help="scores and ranking of methods against impressions per episode")
    fidelity.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, nothing more")
    fidelity.add_argument("--out", type=Path, default=Path("runs/fidelity"), metavar="DIR", help="default: %(default)s")
    fidelity.set_defaults(run=_run_fidelity)


def _run_demo(arguments: argparse.Namespace) -> None:
    from benchmarks import demo
    from benchmarks.demo_data import QUICK_SIZES, DemoSettings

    sizes = QUICK_SIZES if arguments.quick else {}
    demo.run(DemoSettings(seed=arguments.seed, **sizes), out=arguments.out, logs=arguments.logs)


def _run_speed(arguments: argparse.Namespace) -> None:
    from benchmarks import speed

    speed.run(quick=arguments.quick, only=arguments.only, json_path=arguments.json)


def _run_fidelity(arguments: argparse.Namespace) -> None:
    from benchmarks import fidelity

    fidelity.run(fidelity.QUICK if arguments.quick else None, out=arguments.out)
