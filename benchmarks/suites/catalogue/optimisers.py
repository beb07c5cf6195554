"""`optimisers/v1`: every way of training one model for all tasks, on the family of `data-scarce/v1`."""

from __future__ import annotations

from benchmarks.suites.catalogue import arms
from benchmarks.suites.catalogue.families import N_CANDIDATES, SIX, TRAINING, test, train_seeds, validation
from benchmarks.suites.spec import Size, Suite, Variant

ID = "optimisers/v1"


def make(size: Size) -> Suite:
    """The suite at a size."""
    return Suite(
        id=ID,
        size=size,
        title="Multi-task optimisers",
        question="Which way of training one model for all tasks gives the best policies, and what does a step cost?",
        variants=(Variant(name="family", label="six tasks, long tail", data=SIX[size]),),
        arms=(
            arms.SINGLE,
            arms.POOLED,
            arms.UNIFORM,
            *arms.SHARING,
            *arms.multitask(),
            arms.VAO_TRAINING,
            arms.VAO,
        ),
        validation=validation(size),
        test=test(size),
        train_seeds=train_seeds(size),
        training=TRAINING[size],
        n_candidates=N_CANDIDATES[size],
        n_viewed=0,
        baseline="single",
        ours=("vao",),
    )
