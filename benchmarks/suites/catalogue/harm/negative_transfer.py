"""`negative-transfer/v3`: a third of the sources harm, plainly or conditionally; which methods keep them out?"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.arms import shared
from benchmarks.suites.catalogue.shared.families import HARM_V1, SIX, protocol
from benchmarks.suites.spec import Contrast, FamilyData, Size, Suite, Variant

ID = "negative-transfer/v3"

N_TASKS, N_HARMFUL, N_SCORED = 12, 4, 6
SCALED_BIDS = ",".join(["scaled_bid=1"] * N_HARMFUL)


def harmed(size: Size, harms: str) -> FamilyData:
    """Twelve tasks, a third of whose logs are harmful; six of the sound tasks are played."""
    return replace(SIX[size], n_tasks=N_TASKS, harms=harms, n_scored=N_SCORED, seed=3)


def make(size: Size) -> Suite:
    """The suite at a size."""
    return Suite(
        id=ID,
        size=size,
        title="Negative transfer",
        question="Where a third of the sources are harmful, which way of sharing keeps out what harms, and that alone?",
        variants=(
            Variant(
                name="scaled-bids",
                label=f"{N_HARMFUL} of {N_TASKS} logs record tripled bids",
                data=harmed(size, SCALED_BIDS),
            ),
            Variant(
                name="harm-v1",
                label=f"{N_HARMFUL} of {N_TASKS} logs harm conditionally",
                data=harmed(size, HARM_V1),
            ),
        ),
        arms=(
            arms.PID,
            arms.ONLINE_LP,
            arms.SINGLE,
            arms.POOLED,
            arms.UNIFORM,
            *arms.REFERENCES,
            *arms.RIVALS,
            arms.vao_paper(size),
            shared("top1", "VAO, best source only", *arms.SOFTMAX, "weighting.kind=top1"),
            arms.VAO,
            arms.INTEGRAL,
            arms.CROSS_FITTED,
            arms.CHECKED,
            arms.DEFAULT,
        ),
        **protocol(size),
        baseline="single",
        ours=("default", "integral", "vao"),
        contrasts=(
            Contrast(name="default-against-uniform", first="default", second="uniform"),
            Contrast(name="default-against-softmax", first="default", second="vao"),
            Contrast(name="default-against-integral", first="default", second="integral"),
            Contrast(name="default-against-validation-only", first="default", second="validation-only"),
            Contrast(name="oracle-against-default", first="oracle", second="default"),
        ),
    )
