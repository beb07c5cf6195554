"""`candidates/v1`: do the gains that the first suites hint at last on families that no decision has seen?

`ablation/v1` names the planner (+.009 over the action head, p = .03, one of 24 comparisons), `data-scarce/v1` sharing
with the nearest tasks (+.008 over VAO, p = .02, one of 24). Whoever picks the best of 24 picks luck as well. So this
suite was written down before a run of it was made, with families, logs and test episodes of its own, and with few
methods, so that Holm's adjustment takes little. The rule: the default becomes a candidate whose mean over the tasks
is above VAO's in one variant beyond chance after the adjustment, and not below it beyond chance in the other.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.suites.catalogue.negative_transfer import wrong_logs
from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.families import N_TEST, SIX, protocol
from benchmarks.suites.spec import Seeds, Size, Suite, Variant

ID = "candidates/v1"

FRESH_TEST = 7_000_000
"""First market seed of its test episodes, apart from those of all other suites."""


def make(size: Size) -> Suite:
    """The suite at a size."""
    settings = protocol(size) | {"test": Seeds(first=FRESH_TEST, n=N_TEST[size])}
    return Suite(
        id=ID,
        size=size,
        title="Candidates for the default",
        question="Do the planner and sharing with the nearest tasks gain on families that no decision has seen?",
        variants=(
            Variant(name="sound", label="six tasks, all logs sound", data=replace(SIX[size], seed=5)),
            wrong_logs(size, seed=6),
        ),
        arms=(
            arms.UNIFORM,
            arms.NEAREST,
            arms.VAO,
            arms.with_planner(arms.UNIFORM),
            arms.with_planner(arms.NEAREST),
            arms.with_planner(arms.VAO),
        ),
        **settings,
        baseline="uniform",
        ours=("vao", "vao-planner"),
    )
