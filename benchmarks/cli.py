"""The `vamo` command. Subcommands import what they need only when they run."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import auction_env
from benchmarks.commands import (
    agents,
    bench,
    collect,
    data,
    demo,
    evaluate,
    exporting,
    family,
    importing,
    train,
)
from benchmarks.console import console


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends the work as Ctrl-C does."""


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console command; exits with 2 on bad input, 130 on Ctrl-C, 143 on SIGTERM."""
    arguments = _parser().parse_args(argv)
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        arguments.run(arguments)
    except ModuleNotFoundError as error:
        _fail(f"{error}; this command needs an extra: pip install 'vamo-bidding[all]'")
    except (ArithmeticError, ImportError, ValueError, OSError) as error:
        _fail(str(error))
    except KeyboardInterrupt as interrupt:
        line = "stopped"
        if "kept" in arguments:  # a command that goes on where it was
            again = shlex.join(["vamo", *(sys.argv[1:] if argv is None else argv)])
            line = f"stopped; {arguments.kept} are kept. To go on: {again}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
        sys.exit(143 if isinstance(interrupt, Terminated) else 130)
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _fail(message: str) -> NoReturn:
    print(f"vamo: error: {message}", file=sys.stderr)
    sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vamo", description="Auto-bidding: market, agents, training, benchmarks.")
    parser.add_argument("--version", action="version", version=f"vamo {auction_env.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (
        demo, bench, collect, family, importing, exporting, data, train, evaluate, agents,
    ):  # fmt: skip
        command.add(commands)
    return parser


if __name__ == "__main__":  # `torchrun -m benchmarks.cli`
    main()
