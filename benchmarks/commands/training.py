"""Commands that train agents. They import what they need only when they run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import Commands

if TYPE_CHECKING:
    pass


def add(commands: Commands) -> None:
    """Adds the commands."""
    _add_train(commands)


def _add_train(commands: Commands) -> None:
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


def _run_train(arguments: argparse.Namespace) -> None:
    from benchmarks.commands import train_vamo as training

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
