"""`checked/v1`: do integral weights among the logs that pass the response check keep out what either alone keeps out?

Written down, with its contrasts, before a run of it was made, and run once. In `confirm/v1` and `negative-transfer/v2`
the response check keeps out tripled bids better than integral weights do; in `hidden-harm/v1` it sees nothing, and
integral weights do. The families have the seeds 125 to 129, which no other suite has, each with the logs of either
suite, and test episodes of their own. One trial on the family of `negative-transfer/v2` came before it.
"""

from __future__ import annotations

from benchmarks.suites.catalogue.harm.confirm import WORLDS, family, own_episodes
from benchmarks.suites.catalogue.harm.hidden_harm import HARMS
from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.arms import with_backbone
from benchmarks.suites.catalogue.shared.families import ALIKE
from benchmarks.suites.spec import Contrast, Size, Suite, Variant

ID = "checked/v1"

FAMILIES: dict[Size, tuple[int, ...]] = {
    "full": tuple(range(125, 130)),
    "cpu": tuple(range(125, 130)),
    "testing": (125, 126),
}
FIRST_TEST, FIRST_VALIDATION = 9_000_000, 8_900_000
"""First market seeds of its episodes, apart from those of all other suites."""
N_SEEDS: dict[Size, int] = {"full": 10, "cpu": 3, "testing": 2}
"""Training seeds."""
WORLDS_HERE = {
    "scaled-bids": WORLDS["scaled-bids"],
    "dayparting": (HARMS, "4 of 9 logs lack the adjustment for the time of day"),
}
"""Harms and label by the name of the world."""
METHODS = (arms.UNIFORM, arms.INTEGRAL, arms.RESPONSE_CHECK, arms.CHECKED, arms.ORACLE)


def _contrast(name: str, second: str, world: str, size: Size, *, is_equivalence: bool = False) -> Contrast:
    """Of the combination with another method in one world."""
    where = tuple(f"{world}-{seed}" for seed in FAMILIES[size])
    if is_equivalence:
        return Contrast(name=name, first="checked-mlp", second=second, variants=where, kind="equivalence", margin=ALIKE)
    return Contrast(name=name, first="checked-mlp", second=second, variants=where)


def make(size: Size) -> Suite:
    """The suite at a size."""
    settings = own_episodes(size, first_validation=FIRST_VALIDATION, first_test=FIRST_TEST, n_seeds=N_SEEDS[size])
    return Suite(
        id=ID,
        size=size,
        title="Checked weights",
        question="Do integral weights among logs that pass the response check keep out what either alone keeps out?",
        variants=tuple(
            Variant(
                name=f"{world}-{seed}",
                label=f"family {seed}, {label}",
                data=family(seed, harms, size),
                group=world,
            )
            for world, (harms, label) in WORLDS_HERE.items()
            for seed in FAMILIES[size]
        ),
        arms=tuple(with_backbone(arm, "mlp", size) for arm in METHODS),
        **settings,
        n_viewed=0,
        baseline="uniform-mlp",
        ours=("checked-mlp", "integral-mlp"),
        contrasts=(
            _contrast("scaled-bids-against-integral", "integral-mlp", "scaled-bids", size),
            _contrast("scaled-bids-as-response-check", "response-check-mlp", "scaled-bids", size, is_equivalence=True),
            _contrast("dayparting-against-response-check", "response-check-mlp", "dayparting", size),
            _contrast("dayparting-as-integral", "integral-mlp", "dayparting", size, is_equivalence=True),
        ),
    )
