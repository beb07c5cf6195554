"""The subcommands of `vamo`, a module a command; each has `add(commands)` and imports what it needs when it runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
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
