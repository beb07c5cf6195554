"""The subcommands of `vamo`, a module a command; each has `add(commands)` and imports what it needs when it runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from auction_env.market.params import TrafficParams
    from auction_env.market.shapes.value_distribution import ValueDistribution
    from auction_env.tasks import Task

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What a parser gets its subcommands from."""


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Adds `--workers` and `--ray`, which `agents.parallel.run_jobs` takes as `n_workers` and `ray`."""
    workers = "jobs at a time, each on one thread; default: one a core"
    parser.add_argument("--workers", type=int, metavar="N", help=workers)
    ray = "work on a Ray cluster whose machines share the files: auto, ray://HOST:PORT, or local"
    parser.add_argument("--ray", metavar="ADDRESS", help=ray)


def add_impressions(parser: argparse.ArgumentParser) -> None:
    """Adds `--impressions`, which `n_impressions` reads."""
    parser.add_argument("--impressions", type=int, metavar="N", help="of a market episode; default: 4,800")


def n_impressions(arguments: argparse.Namespace) -> int:
    """The impressions of a market episode: those of the arguments, or the default of all commands."""
    from auction_env.market.params import LOG_IMPRESSIONS

    return LOG_IMPRESSIONS if arguments.impressions is None else int(arguments.impressions)


def add_values(parser: argparse.ArgumentParser) -> None:
    """Adds `--values`, which `traffic` reads."""
    values = (
        "distribution of the predicted values: lognormal:SD, mixture:WEIGHT,MEAN,SD/..., FILE (.npy, .csv, .parquet),"
        " advertiser=FILE or category=FILE (docs/market.md); default: normal"
    )
    parser.add_argument("--values", metavar="SPEC", help=values)


def traffic(arguments: argparse.Namespace) -> TrafficParams:
    """The traffic of a market episode, with the values of the arguments."""
    from auction_env.market.params import TrafficParams

    return TrafficParams(values=None if arguments.values is None else read_values(arguments.values))


def read_values(text: str) -> ValueDistribution:
    """A distribution of predicted values as the command line names it.

    Raises:
        ValueError: Numbers that are none, or a file that holds no predicted values.
        OSError: The file cannot be read.
    """
    from auction_env.market.shapes.value_distribution import ValueDistribution, load_values

    kind, _, numbers = text.partition(":")
    if kind in ("lognormal", "mixture"):
        try:
            parts = [tuple(map(float, part.split(","))) for part in numbers.split("/")]
        except ValueError:
            parts = []
        if kind == "lognormal" and len(parts) == 1 and len(parts[0]) == 1:
            return ValueDistribution.lognormal(parts[0][0])
        if kind == "mixture" and parts and all(len(part) == 3 for part in parts):
            return ValueDistribution.mixture(*((weight, mean, sd) for weight, mean, sd in parts))
        rule = "lognormal:SD" if kind == "lognormal" else "mixture:WEIGHT,MEAN,SD/WEIGHT,MEAN,SD"
        raise ValueError(f"`--values` must be {rule} with numbers, found {text!r}")
    per, is_per, path = text.partition("=")
    return load_values(path, per=per) if is_per and per in ("advertiser", "category") else load_values(text)


TASK_HELP = "a registered task or FILE.json of your own (docs/tasks.md)"


def read_task(text: str) -> Task:
    """A task as the command line names it: a registered one, or a JSON file as `Task.from_json` reads it.

    Raises:
        ValueError: No such task, with the nearest; or a file that is no task, with its path.
        OSError: The file cannot be read.
    """
    from auction_env.tasks import Task, get_task

    if not text.endswith(".json"):
        return get_task(text)
    try:
        return Task.from_json(Path(text).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error


def data_sets(directory: Path) -> list[Path]:
    """The data sets at a directory: those of the members of a family, or the directory itself."""
    from agents.families.storage import FAMILY_FILE, read_family

    if not (directory / FAMILY_FILE).is_file():
        return [directory]
    return [directory / name for name in read_family(directory).names]


def task_or_name(text: str) -> Task | str:
    """A task of a JSON file, or the name of a task that the data have."""
    return read_task(text) if text.endswith(".json") else text
