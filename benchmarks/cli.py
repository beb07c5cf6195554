"""The `vamo` command. Subcommands are imported once signals stop it, and import what they need only when they run."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import NoReturn

from benchmarks.commands.stopping import stopping


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console command; exits with 2 on bad input, 130 on Ctrl-C, 143 on SIGTERM."""
    with stopping(None if argv is None else list(argv)) as stop:
        try:
            arguments = stop.arguments = _parser().parse_args(argv)
            logging.getLogger("auction_env.kernels").setLevel(logging.INFO)  # which need not be imported yet
            arguments.run(arguments)
        except KeyboardInterrupt as interrupt:
            stop.finish(interrupt)
        except Exception as error:
            if stop.is_signalled:  # a library made an error of its own of the interrupt
                stop.finish(error)
            if isinstance(error, ModuleNotFoundError):
                _fail(f"{error}; this command needs an extra: pip install 'vamo-bidding[all]'")
            if isinstance(error, ArithmeticError | ImportError | ValueError | OSError):
                _fail(str(error))
            raise


def _fail(message: str) -> NoReturn:
    print(f"vamo: error: {message}", file=sys.stderr)
    sys.exit(2)


class _Version(argparse.Action):
    """Imports the market only where its version is wanted: the command starts, and can be stopped, at once."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> None:
        import auction_env

        print(f"vamo {auction_env.__version__}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    from benchmarks.commands import (
        agents,
        bench,
        collect,
        data,
        demo,
        exporting,
        family,
        importing,
        train,
        warm_up,
    )
    from benchmarks.commands.evaluating import evaluate, ope, watch

    parser = argparse.ArgumentParser(prog="vamo", description="Auto-bidding: market, agents, training, benchmarks.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (
        demo, bench, collect, family, importing, exporting, data, train, evaluate, watch, ope, agents, warm_up,
    ):  # fmt: skip
        command.add(commands)
    return parser


if __name__ == "__main__":  # `torchrun -m benchmarks.cli`
    main()
