"""`vamo train-generative`: trains one of the field's generative baselines on the logs of one task."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.commands import Commands


def add(commands: Commands) -> None:
    """Adds the command."""
    trainer = commands.add_parser(
        "train-generative",
        help="train a generative baseline (dt, cdt, diffbid, gave, gas) on one task",
        description="Trains on the training part of a data set and validates on its validation part (vamo data split)."
        " Killed and started again with the same arguments, it goes on where it was.",
    )
    trainer.add_argument("--algo", required=True, metavar="NAME", help="dt, cdt, diffbid, gave or gas")
    trainer.add_argument("--data", type=Path, required=True, metavar="DIR", help="data set, or family")
    trainer.add_argument("--task", metavar="NAME", help="needed where the data have several")
    trainer.add_argument("--out", type=Path, required=True, metavar="FILE", help="checkpoint of the trained bidder")
    trainer.add_argument("--steps", type=int, metavar="N", help="the same as --set train.steps=N")
    trainer.add_argument("--seed", type=int, metavar="S", help="the same as --set train.seed=S")
    trainer.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting; repeatable"
    )
    trainer.add_argument("--log-dir", type=Path, metavar="DIR", help="write scalars for TensorBoard to DIR")
    trainer.add_argument("--force", action="store_true", help="replace a checkpoint that is there")
    trainer.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    from benchmarks.commands.train_vamo import load
    from benchmarks.console import console, progress_bar
    from vamo import Record
    from vamo.baselines import read, save_baseline, train_baseline

    given = {"train.steps": arguments.steps, "train.seed": arguments.seed}
    settings = read(
        arguments.algo, [*arguments.set, *(f"{key}={value}" for key, value in given.items() if value is not None)]
    )
    out: Path = arguments.out
    if out.exists() and not arguments.force:
        raise FileExistsError(f"{out} must not exist unless --force is given, found a file")
    sources, validation = load([arguments.data])
    task = arguments.task if arguments.task or len(sources) > 1 else next(iter(sources))
    if task not in sources or task not in validation:
        raise ValueError(f"`--task` must be one of {sorted(sources)}, found {task!r}")
    out.parent.mkdir(parents=True, exist_ok=True)
    state = out.with_name(f"{out.name}.run")
    last: list[Record] = []
    with progress_bar("training", settings.train.steps, None, label_width=8) as bar:

        def tell(record: Record) -> None:
            last[:] = [record]
            bar.update(record.step, settings.train.steps)
            bar.note(f"validation loss {record.mean_validation_loss:.4f}")

        bidder = train_baseline(
            sources[task], validation[task], settings, callback=tell, checkpoint=state, log_dir=arguments.log_dir
        )
    save_baseline(out, bidder)
    state.unlink()
    for record in last:
        console.print(f"{settings.name} on {task}: validation loss {record.mean_validation_loss:.4f}")
    console.print(f"checkpoint: {out}", soft_wrap=True)
