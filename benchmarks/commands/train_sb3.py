"""`vamo train-sb3`: a training with a progress bar, and what came out."""

from __future__ import annotations

from pathlib import Path

from agents.sb3.training import TrainingJob, Validation, train
from benchmarks.console import console, progress_bar


def run(job: TrainingJob, out: Path, *, log_dir: Path | None = None, force: bool = False) -> None:
    """Trains and says which policy was kept.

    Raises:
        FileExistsError: `out` is that of a finished run and `force` is False.
        ValueError: Bad settings, or the state of another run beside `out`.
    """
    is_resumed = out.with_name(f"{out.name}.run").exists()
    if out.exists() and not (force or is_resumed):
        raise FileExistsError(f"{out} must not exist unless --force is given, found a file")
    out.parent.mkdir(parents=True, exist_ok=True)
    with progress_bar(job.settings.name, job.steps, "steps", label_width=14) as bar:

        def tell(step: int, validation: Validation | None) -> None:
            bar.update(step, max(job.steps, step))
            if validation is not None:
                bar.note(f"validation: score {validation.score:.4g}, share {validation.share:.3f}")

        result = train(job, out=out, log_dir=log_dir, tell=tell)
    best = result.best
    console.print(
        f"best validation: score {best.score:.4g} of predicted amounts, {best.share:.3f} of what the budget buys at the"
        f" target, after {best.step:,} steps"
    )
    console.print(f"checkpoint: {out}", soft_wrap=True)
