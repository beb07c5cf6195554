"""`negative-transfer/v1`: a third of the sources are wrong; who is not misled?"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.arms import shared
from benchmarks.suites.catalogue.shared.families import SIX, protocol
from benchmarks.suites.spec import Size, Suite, Variant

ID = "negative-transfer/v1"

N_TASKS, N_HARMFUL, N_SCORED = 12, 4, 6
HARMS = ",".join(["scaled_bid=1"] * N_HARMFUL)


def wrong_logs(size: Size, *, seed: int) -> Variant:
    """A family a third of whose logs record three times the bid that was submitted; the others' tasks are played."""
    data = replace(SIX[size], n_tasks=N_TASKS, harms=HARMS, n_scored=N_SCORED, seed=seed)
    return Variant(name="harmful", label=f"{N_HARMFUL} of {N_TASKS} logs are wrong", data=data)


def make(size: Size) -> Suite:
    """The suite at a size."""
    return Suite(
        id=ID,
        size=size,
        title="Negative transfer",
        question="Where a third of the sources log wrong bids, which way of sharing keeps them out?",
        variants=(wrong_logs(size, seed=3),),
        arms=(
            arms.PID,
            arms.ONLINE_LP,
            arms.SINGLE,
            arms.POOLED,
            arms.UNIFORM,
            *arms.SHARING,
            *arms.multitask("pcgrad", "famo"),
            arms.VAO_TRAINING,
            arms.SINGLE_LOGGED,
            arms.UNIFORM_LOGGED,
            arms.VAO_PAPER,
            arms.VAO_LOGGED,
            arms.VAO_ONE_RESPONSE,
            arms.VAO_SHRUNK,
            shared("top1", "VAO, best source only", "train.method=vao", "weighting.kind=top1"),
            arms.VAO,
        ),
        **protocol(size),
        baseline="single",
        ours=("vao", "vao-paper"),
    )
