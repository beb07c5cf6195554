"""A suite that runs in seconds, and stand-ins for what a worker does: importable by spawned processes."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.suites.catalogue.shared.arms import rule, shared
from benchmarks.suites.running.run import Job, Tables, failure
from benchmarks.suites.spec import Arm, FamilyData, Seeds, Suite, Variant

DATA = FamilyData(
    n_tasks=2, seed=3, shift=0.2, most=6, fewest=4, n_groups=2, n_impressions=240, n_collected=3,
    n_validation=3, n_scored=2,
)  # fmt: skip
TRAINING = (
    "train.steps=4", "train.log_every=2", "train.batch_size=8", "train.warmup_steps=1", "train.evaluation_windows=4",
    "model.width=16",
)  # fmt: skip
RULES = (rule("fixed", "constant"), rule("pid", "PID"), rule("dual", "dual"), rule("random", "random"))
BROKEN = Arm(name="broken", label="broken", method="rule", settings=("agent=nobody",), is_trained=False)
VAO = shared("vao", "VAO", "train.method=vao")
UNIFORM = shared("uniform", "uniform sharing", "train.method=uniform")


def suite(*arms: Arm, seeds: tuple[int, ...] = (7, 9)) -> Suite:
    return Suite(
        id="tiny/v1",
        size="testing",
        title="Tiny",
        question="Does it run?",
        variants=(Variant(name="family", label="two tasks", data=DATA),),
        arms=arms or RULES,
        validation=Seeds(first=100, n=2),
        test=Seeds(first=200, n=3),
        train_seeds=seeds,
        training=TRAINING,
        n_candidates=2,
        n_viewed=1,
        ours=("pid",) if not arms else (),
    )


def jobs_of(of: Suite, cache: Path) -> list[Job]:
    return [Job(run=run, cache=str(cache), commit="") for run in of.runs()]


def fragile(job: Job) -> Tables:
    """Kills its process for the method `fixed`, always, and for `pid` at the first attempt."""
    mark = Path(job.cache) / f"{job.id}.begun"
    is_first = not mark.exists()
    mark.touch()
    if job.run.arm.name == "fixed" or (job.run.arm.name == "pid" and is_first):
        os._exit(3)
    return failure(job, "lives")
