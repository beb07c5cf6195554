"""The `vamo` command. Subcommands import what they need only when they run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import auction_env
from benchmarks.commands import agents, bench, data, train
from benchmarks.console import console


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
    for group in (bench, data, train, agents):
        group.add(commands)
    return parser


if __name__ == "__main__":  # `torchrun -m benchmarks.cli`
    main()
