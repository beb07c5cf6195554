"""`temperature/v1`: lambda on a fine grid and adaptive (the paper's figure 5)."""

from __future__ import annotations

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.arms import shared
from benchmarks.suites.catalogue.shared.families import protocol, six
from benchmarks.suites.spec import Size, Suite

ID = "temperature/v1"

GRID = (0.003, 0.006, 0.012, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0)
RAW = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Of raw inner products, as published."""
ENTROPIES = (0.5, 0.7, 0.9)

ARMS = (
    arms.SINGLE,
    arms.UNIFORM,
    *(
        shared(f"lambda={x:g}", f"lambda {x:g}", *arms.SOFTMAX, f"weighting.temperature={x}", x=x)
        for x in GRID
    ),
    *(
        shared(
            f"raw={x:g}", f"raw inner products, lambda {x:g}", *arms.SOFTMAX, "weighting.scaling=none",
            f"weighting.temperature={x}",
        )
        for x in RAW
    ),
    *(
        shared(
            f"entropy={x:g}", f"adaptive lambda, entropy {x:g}", "train.method=vao", "weighting.kind=entropy",
            f"weighting.target_entropy={x}",
        )
        for x in ENTROPIES
    ),
)  # fmt: skip


def make(size: Size) -> Suite:
    """The suite at a size."""
    return Suite(
        id=ID,
        size=size,
        title="Temperature",
        question="How does the score of majority and minority tasks depend on lambda, and can it be set by itself?",
        variants=six(size),
        arms=ARMS,
        **protocol(size),
        n_viewed=0,
        axis="lambda",
        baseline="single",
        ours=tuple(f"entropy={x:g}" for x in ENTROPIES),
    )
