"""`validation-harm/v1`: how many validation trajectories keep harmful logs out, where a third of the logs harm.

With sound logs the weights may follow noise at no cost (`validation-size/v2`). Here they may not: the logs of
`negative-transfer/v3` that record tripled bids, with fewer or more trajectories behind the validation gradient. Whoever
trains on the validation data themselves has as many.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.suites.catalogue.harm.negative_transfer import N_HARMFUL, N_TASKS, SCALED_BIDS, harmed
from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.families import FEW_SEEDS, protocol
from benchmarks.suites.spec import Contrast, Size, Suite, Variant

ID = "validation-harm/v1"

COUNTS: dict[Size, tuple[int, ...]] = {
    "full": (5, 10, 20, 50, 100, 200),
    "cpu": (5, 10, 20, 50, 100, 200),
    "testing": (2, 6),
}


def make(size: Size) -> Suite:
    """The suite at a size; simulated episodes to tune on are as many for all, so that one thing varies."""
    counts = COUNTS[size]
    family = harmed(size, SCALED_BIDS)
    return Suite(
        id=ID,
        size=size,
        title="Validation sets against harm",
        question="How few validation trajectories a task keep out the logs that harm?",
        variants=tuple(
            Variant(
                name=f"n={n}",
                label=f"{n} validation trajectories, {N_HARMFUL} of {N_TASKS} logs record tripled bids",
                data=replace(family, n_collected=counts[-1], n_validation=n),
                x=float(n),
            )
            for n in counts
        ),
        arms=(
            arms.UNIFORM,
            arms.ORACLE,
            arms.VALIDATION_ONLY,
            arms.RESPONSE_CHECK,
            arms.VAO,
            arms.INTEGRAL,
            arms.CHECKED,
        ),
        **protocol(size, FEW_SEEDS),
        n_viewed=0,
        axis="validation trajectories a task",
        baseline="uniform",
        ours=("integral", "vao"),
        contrasts=(
            Contrast(name="integral-against-uniform", first="integral", second="uniform"),
            Contrast(name="integral-against-softmax", first="integral", second="vao"),
            Contrast(name="integral-against-validation-only", first="integral", second="validation-only"),
        ),
    )
