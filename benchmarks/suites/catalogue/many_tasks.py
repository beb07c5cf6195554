"""`many-tasks/v2`: score, stability, time and memory against the number of tasks (the paper's third open question)."""

from __future__ import annotations

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.families import ALIKE, FEW_SEEDS, protocol
from benchmarks.suites.spec import Contrast, FamilyData, Size, Suite, Variant

ID = "many-tasks/v2"

COUNTS: dict[Size, tuple[int, ...]] = {
    "full": (4, 8, 16, 32, 64, 128),
    "cpu": (4, 8, 16, 32, 64, 128),
    "testing": (4, 8),
}
N_SCORED = 4  # as many at every K, so that the averages compare
MANY = 64
"""From so many tasks on the cost is in relabelling every source for every target: fewer methods are run."""


def _family(n_tasks: int, size: Size) -> FamilyData:
    most, fewest, n_impressions, n_validation = {
        "full": (1000, 20, 20_000, 50),
        "cpu": (24, 6, 4_800, 6),
        "testing": (12, 4, 480, 4),
    }[size]
    return FamilyData(
        n_tasks=n_tasks, seed=2, shift=0.5, most=most, fewest=fewest, n_groups=n_tasks // 2,
        n_impressions=n_impressions, n_collected=n_validation, n_validation=n_validation, n_scored=N_SCORED,
    )  # fmt: skip


def _name(n_tasks: int) -> str:
    return f"k={n_tasks}"


def make(size: Size) -> Suite:
    """The suite at a size."""
    return Suite(
        id=ID,
        size=size,
        title="Many tasks",
        question="What happens to score, stability, time and memory as the number of tasks grows?",
        variants=tuple(
            Variant(
                name=_name(k),
                label=f"{k} tasks",
                data=_family(k, size),
                x=float(k),
                arms=("uniform", "vao", "integral") if k >= MANY and size != "full" else (),
            )
            for k in COUNTS[size]
        ),
        arms=(arms.PID, arms.SINGLE, arms.POOLED, arms.UNIFORM, arms.VAO, arms.INTEGRAL),
        **protocol(size, FEW_SEEDS),
        n_viewed=0,
        axis="tasks",
        baseline="single",
        ours=("integral", "vao"),
        contrasts=(
            Contrast(
                name="sharing",
                first="uniform",
                second="single",
                variants=tuple(_name(k) for k in COUNTS[size] if k < MANY),
            ),
            Contrast(
                name="no-cost-on-sound-logs", first="integral", second="uniform", kind="equivalence", margin=ALIKE
            ),
        ),
    )
