"""`hidden-harm/v1`: harm that the totals of a log do not show, on ten families that no choice has seen.

Written down, with its contrasts, before a run of it was made, and run once. In `confirm/v1` a check of each log's total
cost against the target's response keeps out tripled bids as well as integral VAO does. Here four of nine logs record
bids before the platform's adjustment for the time of day (harm `dayparting`), which leaves the totals about right.

The world was chosen on the families 30 to 33 by the gap between the oracle and uniform sharing alone, which had to be
.03: it is .034 here, .024 with three such logs and .019 with three logs that record tripled bids in half of their
episodes. No other method was run there. The families have the seeds 110 to 119 and test episodes of their own. Families
are what is sampled: there are fewer training seeds than elsewhere.
"""

from __future__ import annotations

from benchmarks.suites.catalogue.harm.confirm import in_worlds, own_episodes
from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.arms import with_backbone
from benchmarks.suites.spec import Contrast, Size, Suite

ID = "hidden-harm/v1"

FAMILIES: dict[Size, tuple[int, ...]] = {
    "full": tuple(range(110, 120)),
    "cpu": tuple(range(110, 120)),
    "testing": (110, 111),
}
"""Seeds of the families; no other suite has one of them."""
N_HARMFUL = 4
HARMS = ",".join(["dayparting=1"] * N_HARMFUL)
WORLD = (HARMS, f"{N_HARMFUL} of 9 logs lack the adjustment for the time of day")
"""Harms and label."""
FIRST_TEST, FIRST_VALIDATION = 8_600_000, 8_500_000
"""First market seeds of its episodes, apart from those of all other suites."""
N_SEEDS: dict[Size, int] = {"full": 10, "cpu": 5, "testing": 2}
"""Training seeds."""
METHODS = (arms.UNIFORM, arms.VAO, arms.INTEGRAL, arms.RESPONSE_CHECK, arms.ORACLE)


def make(size: Size) -> Suite:
    """The suite at a size."""
    settings = own_episodes(size, first_validation=FIRST_VALIDATION, first_test=FIRST_TEST, n_seeds=N_SEEDS[size])
    against = {"uniform": "uniform-mlp", "softmax": "vao-mlp", "response-check": "response-check-mlp"}
    return Suite(
        id=ID,
        size=size,
        title="Hidden harm",
        question="Which way of sharing keeps out harm that the totals of a log do not show?",
        variants=in_worlds({"dayparting": WORLD}, FAMILIES[size], size),
        arms=tuple(with_backbone(arm, "mlp", size) for arm in METHODS),
        **settings,
        n_viewed=0,
        baseline="uniform-mlp",
        ours=("integral-mlp",),
        contrasts=tuple(
            Contrast(name=f"against-{name}", first="integral-mlp", second=other) for name, other in against.items()
        ),
    )
