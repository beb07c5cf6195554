"""`data-scarce/v1`: six tasks with a long tail of trajectories (the paper's table 1 and figure 4)."""

from __future__ import annotations

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.families import protocol, six
from benchmarks.suites.spec import Size, Suite

ID = "data-scarce/v1"


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
            arms.SINGLE,
            arms.POOLED,
            arms.UNIFORM,
            *arms.SHARING,
            *arms.multitask("pcgrad", "cagrad", "nash_mtl", "fairgrad", "upgrad", "famo"),
            arms.VAO_TRAINING,
            arms.VAO_PAPER,
            arms.VAO,
        ),
        **protocol(size),
        n_viewed=2 if size == "full" else 1,
        baseline="single",
        ours=("vao", "vao-paper"),
    )
