"""`vamo train-offline`. It imports what it needs only when it runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from agents.offline.settings import ALGORITHMS
from benchmarks.commands import Commands


def add(commands: Commands) -> None:
    """Adds the command."""
    trainer = commands.add_parser(
        "train-offline",
        help="train an agent from logs, without playing",
        description="Trains on a data set, whatever task it was logged for. Killed and started again with the same"
        " arguments, it goes on where it was.",
    )
    trainer.add_argument("--algo", choices=ALGORITHMS, required=True, help="the algorithm")
    trainer.add_argument("--data", type=Path, required=True, metavar="DIR", help="data set")
    trainer.add_argument("--task", required=True, metavar="TASK", help="a registered task")
    trainer.add_argument("--out", type=Path, required=True, metavar="FILE", help="checkpoint of the trained bidder")
    trainer.add_argument("--steps", type=int, metavar="N", help="gradient steps; default: those of the settings")
    trainer.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML) over the algorithm's own")
    trainer.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting; may be repeated")
    trainer.add_argument("--seed", type=int, default=0, metavar="S", help="default: %(default)s")
    trainer.add_argument("--log-dir", type=Path, metavar="DIR", help="write losses for TensorBoard to DIR")
    trainer.add_argument("--force", action="store_true", help="replace a checkpoint that is there")
    trainer.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    from agents.offline.settings import read_settings
    from auction_env.tasks import get_task
    from benchmarks.commands import train_offline as offline_training

    assignments = [*arguments.set, *([] if arguments.steps is None else [f"steps={arguments.steps}"])]
    offline_training.run(
        arguments.algo,
        arguments.data,
        get_task(arguments.task),
        arguments.out,
        settings=read_settings(arguments.algo, arguments.config, assignments),
        seed=arguments.seed,
        log_dir=arguments.log_dir,
        force=arguments.force,
    )
