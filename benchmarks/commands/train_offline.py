"""`vamo train-offline`: a training with a progress bar and event files, and what came out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from rich.table import Table

from agents.offline.bidder import save
from agents.offline.settings import Settings
from agents.offline.training import train
from auction_env.data import load
from auction_env.tasks import Task
from benchmarks.console import console, progress_bar

LOG_EVERY = 20  # steps between two points of the event files


def run(
    algo: str,
    data_dir: Path,
    task: Task,
    out: Path,
    *,
    settings: Settings,
    seed: int = 0,
    log_dir: Path | None = None,
    force: bool = False,
) -> None:
    """Trains and writes the bidder; the state of the run lies beside it until it is done (`OUT.run`).

    Raises:
        FileExistsError: `out` is that of a finished run and `force` is False.
        ImportError: `log_dir` without tensorboard.
        ValueError: As `train`.
    """
    state = out.with_name(f"{out.name}.run")
    if out.exists() and not (force or state.exists()):
        raise FileExistsError(f"{out} must not exist unless --force is given, found a file")
    data = load(data_dir)
    out.parent.mkdir(parents=True, exist_ok=True)
    last: dict[str, float] = {}
    started = time.perf_counter()
    with ExitStack() as stack:
        writer = None
        if log_dir is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise ImportError("`--log-dir` needs tensorboard: pip install 'vamo-bidding[train]'") from error
            writer = SummaryWriter(str(log_dir))
            stack.callback(writer.close)
        bar = stack.enter_context(progress_bar(algo, settings.steps, "steps", label_width=14))

        def tell(step: int, losses: Mapping[str, float]) -> None:
            last.update(losses)
            bar.update(step, settings.steps)
            if step % LOG_EVERY == 0 or step == settings.steps:
                bar.note("  ".join(f"{name} {value:.4g}" for name, value in last.items()))
                if writer is not None:
                    for name, value in last.items():
                        writer.add_scalar(f"loss/{name}", value, step)

        bidder = train(algo, data, task, settings=settings, seed=seed, progress=tell, checkpoint=state)
    save(out, bidder)
    state.unlink()
    table = Table("what", "value", title=f"{algo} for {task.name}")
    for what, value in (
        ("trajectories", f"{data.n_episodes:,}"),
        ("ticks", f"{len(data):,}"),
        ("steps", f"{settings.steps:,}"),
        ("seconds of this run", f"{time.perf_counter() - started:.1f}"),
        *((f"last loss: {name}", f"{value:.4g}") for name, value in last.items()),
    ):
        table.add_row(what, value)
    console.print(table)
    console.print(f"checkpoint: {out}", soft_wrap=True)
