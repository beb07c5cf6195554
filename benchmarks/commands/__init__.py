"""The subcommands of `vamo`, a module a command; each has `add(commands)` and imports what it needs when it runs."""

from __future__ import annotations

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What a parser gets its subcommands from."""


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Adds `--workers` and `--ray`, which `agents.parallel.run_jobs` takes as `n_workers` and `ray`."""
    workers = "jobs at a time, each on one thread; default: one a core"
    parser.add_argument("--workers", type=int, metavar="N", help=workers)
    ray = "work on a Ray cluster whose machines share the files: auto, ray://HOST:PORT, or local"
    parser.add_argument("--ray", metavar="ADDRESS", help=ray)
