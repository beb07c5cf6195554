"""`validation-size/v2`: how many validation trajectories the alignment needs (the paper's first open question)."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.families import FEW_SEEDS, SIX, protocol
from benchmarks.suites.spec import FamilyData, Size, Suite, Variant

ID = "validation-size/v2"

COUNTS: dict[Size, tuple[int, ...]] = {
    "full": (5, 10, 20, 50, 100, 200, 400),
    "cpu": (5, 10, 20, 50, 100, 200, 400),
    "testing": (2, 4, 6),
}
DEPENDING = (
    arms.VAO,
    arms.VAO_SHRUNK,
    arms.INTEGRAL,
    arms.DEFAULT,
)
"""Methods that see the validation trajectories; the others are run once, with the most of them."""


def make(size: Size) -> Suite:
    """The suite at a size; simulated episodes to tune on are as many for all, so that one thing varies."""
    counts = COUNTS[size]
    base: FamilyData = replace(SIX[size], n_collected=counts[-1])
    depending = tuple(arm.name for arm in DEPENDING)
    return Suite(
        id=ID,
        size=size,
        title="Size of the validation sets",
        question="How few validation trajectories a task do, before weights follow noise?",
        variants=tuple(
            Variant(
                name=f"n={n}",
                label=f"{n} validation trajectories",
                data=replace(base, n_validation=n),
                x=float(n),
                arms=() if n == counts[-1] else depending,
            )
            for n in counts
        ),
        arms=(*DEPENDING, arms.VAO_TRAINING, arms.UNIFORM, arms.SINGLE),
        **protocol(size, FEW_SEEDS),
        n_viewed=0,
        axis="validation trajectories a task",
        baseline="single",
        ours=("default", "integral", "vao", "shrinkage"),
    )
