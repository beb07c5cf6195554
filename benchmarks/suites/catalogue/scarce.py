"""`scarce/v1`: true scarcity: tasks with two to ten trajectories, beside others with hundreds."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.families import SIX, protocol
from benchmarks.suites.spec import Contrast, Size, Suite, Variant

ID = "scarce/v1"

FEWEST = (2, 4, 10)
"""Trajectories of the smallest task."""
N_VALIDATION = 4
"""Validation trajectories of a task: who has two trajectories to train on has no forty to validate on."""
SEED = 4


def make(size: Size) -> Suite:
    """The suite at a size.

    The sizes of the tasks lie on a geometric scale, so that with `fewest` 2 the four smallest of six tasks have 2 to 60
    trajectories at size cpu. Validation data are as scarce as training data.
    """
    data = replace(SIX[size], seed=SEED, n_collected=N_VALIDATION, n_validation=N_VALIDATION)
    return Suite(
        id=ID,
        size=size,
        title="Scarce tasks",
        question="Does a task with two to ten trajectories gain from the logs of others?",
        variants=tuple(
            Variant(
                name=f"fewest={n}",
                label=f"{n} trajectories of the smallest task",
                data=replace(data, fewest=n),
                x=float(n),
            )
            for n in FEWEST
        ),
        arms=(
            arms.PID,
            arms.ONLINE_LP,
            arms.SINGLE,
            arms.BOTH_SINGLE,
            arms.POOLED,
            arms.UNIFORM,
            arms.BOTH_UNIFORM,
            arms.VALIDATION_ONLY,
            arms.VAO,
            arms.INTEGRAL,
            arms.CROSS_FITTED,
        ),
        **protocol(size),
        axis="trajectories of the smallest task",
        baseline="single",
        ours=("integral", "vao"),
        contrasts=(
            Contrast(name="sharing", first="uniform", second="single"),
            Contrast(name="integral-against-single-both", first="integral", second="single-both"),
            Contrast(name="integral-against-validation-only", first="integral", second="validation-only"),
        ),
    )
