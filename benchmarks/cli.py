"""The `vamo` command. Subcommands import what they need only when they run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import auction_env
from benchmarks.console import console

if TYPE_CHECKING:
    from agents import Collection


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console command; exits with 2 on bad input, 130 on Ctrl-C."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except ModuleNotFoundError as error:
        _fail(f"{error}; this command needs an extra: pip install 'vamo-bidding[all]'")
    except (ArithmeticError, ImportError, ValueError, OSError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        console.print("interrupted")
        sys.exit(130)


def _fail(message: str) -> None:
    print(f"vamo: error: {message}", file=sys.stderr)
    sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vamo", description="Auto-bidding: market, agents, training, benchmarks.")
    parser.add_argument("--version", action="version", version=f"vamo {auction_env.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_collect(commands)
    _add_family(commands)
    _add_import(commands)
    _add_export(commands)
    _add_data(commands)
    _add_train(commands)
    _add_agents(commands)
    _add_bench(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = commands.add_parser(
        "demo", help="simulate, train, compare and report in a few minutes", description="Runs the demo end to end."
    )
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="default: %(default)s")
    demo.add_argument("--logs", type=Path, metavar="DIR", help="train on a data set or on AuctionNet CSV logs in DIR")
    demo.add_argument("--seed", type=int, default=0, help="of training and splits; default: %(default)s")
    demo.add_argument("--quick", action="store_true", help="tiny sizes: shows that everything works, nothing more")
    demo.set_defaults(run=_run_demo)


def _add_collect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    collector = commands.add_parser(
        "collect",
        help="simulate trajectories of a task into a data set",
        description="Logs market episodes in which a policy steers every advertiser. Killed and started again with the"
        " same arguments, it goes on where it was and leaves the same bytes.",
    )
    collector.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the data set")
    _add_collection(collector)
    collector.add_argument("--workers", type=int, metavar="W", help="processes; default: one a core")
    collector.set_defaults(run=_run_collect)


def _add_family(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
        "--episodes", type=int, default=100, metavar="N", help="market episodes, 48 trajectories each; default: 100"
    )
    collector.add_argument("--seed", type=int, default=0, metavar="S", help="of the first market; default: %(default)s")
    collector.add_argument("--impressions", type=int, metavar="N", help="an episode; default: full size, 500,000")
    collector.add_argument("--force", action="store_true", help="replace what is there")


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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


def _add_import(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    importer = commands.add_parser(
        "import-auctionnet",
        help="convert AuctionNet's CSV logs into a trajectory data set",
        description="Reads logs in AuctionNet's public 18-column CSV schema (.csv, .csv.gz, or directories of them).",
    )
    importer.add_argument("paths", type=Path, nargs="+", metavar="PATH")
    importer.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the data set")
    importer.add_argument("--force", action="store_true", help="replace a data set that is there")
    importer.set_defaults(run=_run_import)


def _add_data(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    trainer = commands.add_parser(
        "train",
        help="train one model for all tasks of some data sets",
        description="Trains on the training part of each data set and validates on its validation part (vamo data"
        " split). Killed and started again with the same arguments, it goes on where it was. Several processes:"
        " torchrun --nproc-per-node N -m benchmarks.cli train ...",
    )
    trainer.add_argument(
        "--data",
        type=Path,
        action="append",
        required=True,
        metavar="DIR",
        help="data set, or family; repeatable",
    )
    trainer.add_argument("--out", type=Path, required=True, metavar="FILE", help="checkpoint of the trained bidder")
    trainer.add_argument("--config", type=Path, metavar="FILE", help="settings, TOML or JSON; default: the library's")
    trainer.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting; may be given again"
    )
    trainer.add_argument("--targets", nargs="+", metavar="TASK", help="tasks to train for; default: all")
    trainer.add_argument("--log-dir", type=Path, metavar="DIR", help="write scalars for TensorBoard to DIR")
    trainer.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    trainer.add_argument(
        "--checkpoint-every", type=int, default=100, metavar="N", help="steps between two states; default: %(default)s"
    )
    trainer.add_argument("--force", action="store_true", help="replace a checkpoint that is there")
    trainer.set_defaults(run=_run_train)


def _amount(text: str) -> float | int:
    return int(text) if text.isdigit() else float(text)


def _add_agents(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lister = commands.add_parser(
        "agents",
        help="list the agents: what each does, which tasks it serves, its paper",
        description="Lists this package's agents and those of installed entry points (`vamo_bidding.agents`).",
    )
    lister.set_defaults(run=_run_agents)


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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


def _run_collect(arguments: argparse.Namespace) -> None:
    from benchmarks.collecting import collect

    collection = _collection(arguments)
    n_workers = len(os.sched_getaffinity(0)) if arguments.workers is None else arguments.workers
    summary = collect(collection, arguments.out, n_workers=n_workers, force=arguments.force)
    resumed = f", {summary.n_resumed:,} of them found finished" if summary.n_resumed else ""
    console.print(
        f"{summary.n_episodes:,} market episodes -> {summary.n_trajectories:,} trajectories{resumed}"
        f" in {summary.seconds:.1f} s ({summary.rate:,.0f} trajectories/s): {arguments.out}"
    )


def _run_family(arguments: argparse.Namespace) -> None:
    from agents.families import make_task_family
    from benchmarks import families

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
    from auction_env.funnel import Funnel

    sizes = {} if arguments.impressions is None else {"n_impressions": arguments.impressions}
    return Collection(
        task=get_task(arguments.task),
        n_episodes=arguments.episodes,
        seed=arguments.seed,
        policy=arguments.policy,
        params=MarketParams(funnel=Funnel(), **sizes),  # so that any other task can be made of the log
    )


def _run_export(arguments: argparse.Namespace) -> None:
    from auction_env import data
    from auction_env.data.arrays import export_numpy
    from auction_env.data.minari_format import export_minari

    log = data.load(arguments.directory, tasks=arguments.task, split=arguments.split)
    {"numpy": export_numpy, "minari": export_minari}[arguments.format](arguments.out, log, force=arguments.force)
    console.print(f"{log.n_episodes:,} trajectories, {len(log):,} ticks: {arguments.out}")


def _run_export_impressions(arguments: argparse.Namespace) -> None:
    from benchmarks.collecting import write_impressions

    files = write_impressions(_collection(arguments), arguments.out, force=arguments.force)
    n_bytes = sum(file.stat().st_size for file in files)
    console.print(f"{len(files):,} periods, {n_bytes / 1e6:,.1f} MB: {arguments.out}")


def _run_import(arguments: argparse.Namespace) -> None:
    from benchmarks.importing import import_logs

    summary = import_logs(arguments.paths, arguments.out, force=arguments.force)
    console.print(
        f"{summary.n_rows:,} rows -> {summary.n_trajectories:,} trajectories, {summary.n_ticks:,} ticks"
        f" in {summary.seconds:.1f} s ({summary.n_rows / summary.seconds:,.0f} rows/s): {arguments.out}"
    )


def _run_describe(arguments: argparse.Namespace) -> None:
    from benchmarks.describing import describe, tables

    found = describe(arguments.directory)
    for table in tables(found):
        console.print(table)
    if arguments.html is not None:
        from benchmarks.describe_page import write_page

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


def _run_train(arguments: argparse.Namespace) -> None:
    from benchmarks import training

    training.run(
        arguments.data,
        arguments.out,
        config=training.read_config(arguments.config, arguments.set),
        targets=arguments.targets,
        log_dir=arguments.log_dir,
        device=arguments.device,
        checkpoint_every=arguments.checkpoint_every,
        force=arguments.force,
    )


def _run_agents(arguments: argparse.Namespace) -> None:
    from benchmarks.agent_entries import agents_table

    console.print(agents_table())


def _run_speed(arguments: argparse.Namespace) -> None:
    from benchmarks import speed

    speed.run(quick=arguments.quick, only=arguments.only, json_path=arguments.json)


def _run_fidelity(arguments: argparse.Namespace) -> None:
    from benchmarks import fidelity

    fidelity.run(fidelity.QUICK if arguments.quick else None, out=arguments.out)


if __name__ == "__main__":  # `torchrun -m benchmarks.cli`
    main()
