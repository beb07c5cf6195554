"""`optimisers/v1`: every way of training one model for all tasks, on the family of `data-scarce/v2`."""

from __future__ import annotations

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.families import protocol, six
from benchmarks.suites.spec import Size, Suite

ID = "optimisers/v1"


def make(size: Size) -> Suite:
    """The suite at a size."""
    return Suite(
        id=ID,
        size=size,
        title="Multi-task optimisers",
        question="Which way of training one model for all tasks gives the best policies, and what does a step cost?",
        variants=six(size),
        arms=(
            arms.SINGLE,
            arms.POOLED,
            arms.UNIFORM,
            *arms.RIVALS,
            *arms.multitask(),
            arms.VAO_TRAINING,
            arms.VAO,
            arms.INTEGRAL,
        ),
        **protocol(size),
        n_viewed=0,
        baseline="single",
        ours=("vao",),
    )
