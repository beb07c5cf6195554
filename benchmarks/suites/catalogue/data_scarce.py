"""`data-scarce/v2`: six tasks with a long tail of trajectories (the paper's table 1 and figure 4)."""

from __future__ import annotations

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.families import ALIKE, protocol, six
from benchmarks.suites.spec import Contrast, Size, Suite

ID = "data-scarce/v2"


def make(size: Size) -> Suite:
    """The suite at a size."""
    return Suite(
        id=ID,
        size=size,
        title="Data-scarce tasks",
        question="Does sharing by validation-aligned weights help tasks with few logs, and does it beat tuned rules?",
        variants=six(size),
        arms=(
            *arms.RULES,
            *arms.offline(size, "bc", "iql", "cql"),
            *arms.generative(*arms.ONE_PASS),
            *arms.same_labels(size),
            arms.SINGLE,
            arms.POOLED,
            arms.UNIFORM,
            *arms.learners(size),
            *arms.REFERENCES,
            *arms.RIVALS,
            *arms.multitask("pcgrad", "famo"),
            arms.VAO_TRAINING,
            arms.vao_paper(size),
            arms.VAO,
            arms.INTEGRAL,
            arms.CROSS_FITTED,
            arms.DAGGER,
        ),
        **protocol(size),
        n_viewed=2 if size == "full" else 1,
        baseline="single",
        ours=("integral", "vao"),
        contrasts=(
            Contrast(name="integral-against-single", first="integral", second="single"),
            Contrast(name="integral-against-online-lp", first="integral", second="online-lp"),
            Contrast(name="labels", first="uniform", second="bc-hindsight"),
            Contrast(name="backbone", first="uniform-mlp", second="uniform-transformer"),
            Contrast(name="own-states", first="integral-dagger", second="integral"),
            Contrast(
                name="no-cost-on-sound-logs", first="integral", second="uniform", kind="equivalence", margin=ALIKE
            ),
        ),
    )
