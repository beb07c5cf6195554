"""`vamo train-sb3`. It imports what it needs only when it runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from agents.sb3.settings import ALGORITHMS
from benchmarks.commands import Commands


def add(commands: Commands) -> None:
    """Adds the command."""
    trainer = commands.add_parser(
        "train-sb3",
        help="train an agent of Stable-Baselines3 by playing",
        description="Trains on auction_env/Bidding-v0 and keeps the policy that validates best. Killed and started"
        " again with the same arguments, it goes on where it was.",
    )
    trainer.add_argument("--algo", choices=ALGORITHMS, required=True, help="the algorithm")
    trainer.add_argument("--task", required=True, metavar="TASK", help="a registered task")
    trainer.add_argument("--out", type=Path, required=True, metavar="FILE", help="checkpoint of the best policy")
    trainer.add_argument(
        "--steps", type=int, default=200_000, metavar="N", help="environment steps; default: %(default)s"
    )
    trainer.add_argument("--envs", type=int, default=64, metavar="N", help="copies; default: %(default)s")
    trainer.add_argument("--seed", type=int, default=0, metavar="S", help="default: %(default)s")
    trainer.add_argument(
        "--impressions", type=int, default=4_800, metavar="N", help="of an episode; default: %(default)s"
    )
    trainer.add_argument("--advertiser", type=int, metavar="I", help="who learns; default: drawn for each episode")
    trainer.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML) over the algorithm's own")
    trainer.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting; may be given again"
    )
    trainer.add_argument("--log-dir", type=Path, metavar="DIR", help="write scalars for TensorBoard to DIR")
    trainer.add_argument("--force", action="store_true", help="replace a checkpoint that is there")
    trainer.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    from agents.sb3.settings import read_settings
    from agents.sb3.training import TrainingJob
    from auction_env.market.params import MarketParams
    from auction_env.tasks import get_task
    from benchmarks.commands import train_sb3 as sb3_training

    task = get_task(arguments.task)
    job = TrainingJob(
        settings=read_settings(arguments.algo, arguments.config, arguments.set),
        task=task,
        steps=arguments.steps,
        n_envs=arguments.envs,
        seed=arguments.seed,
        params=MarketParams.for_task(task, n_impressions=arguments.impressions),
        advertiser=arguments.advertiser,
    )
    sb3_training.run(job, arguments.out, log_dir=arguments.log_dir, force=arguments.force)
