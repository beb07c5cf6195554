"""`published-size/v1`: do the findings at 4,800 impressions an episode hold at 50,000, the size that papers report?

Written down, with its contrasts, before a run of it was made, and run once. The families have the seeds 120 to 124,
which no other suite has, and test episodes of their own; a third of the logs record tripled bids, as in `confirm/v1`.
Size `cpu` differs from that of `confirm/v1` in the impressions alone. Families are what is sampled: there are few
training seeds.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.suites.catalogue.harm.confirm import WORLDS, family, own_episodes
from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.arms import with_backbone
from benchmarks.suites.spec import Contrast, Size, Suite, Variant

ID = "published-size/v1"

FAMILIES: dict[Size, tuple[int, ...]] = {
    "full": tuple(range(120, 125)),
    "cpu": tuple(range(120, 125)),
    "testing": (120, 121),
}
N_IMPRESSIONS: dict[Size, int] = {"full": 50_000, "cpu": 50_000, "testing": 960}
FIRST_TEST, FIRST_VALIDATION = 8_800_000, 8_700_000
"""First market seeds of its episodes, apart from those of all other suites."""
N_SEEDS: dict[Size, int] = {"full": 10, "cpu": 3, "testing": 2}
"""Training seeds."""
METHODS = (arms.UNIFORM, arms.VAO, arms.INTEGRAL, arms.RESPONSE_CHECK, arms.ORACLE)


def make(size: Size) -> Suite:
    """The suite at a size."""
    settings = own_episodes(size, first_validation=FIRST_VALIDATION, first_test=FIRST_TEST, n_seeds=N_SEEDS[size])
    harms, label = WORLDS["scaled-bids"]
    return Suite(
        id=ID,
        size=size,
        title="Published size",
        question="Does what 4,800 impressions an episode show hold at 50,000?",
        variants=tuple(
            Variant(
                name=f"scaled-bids-{seed}",
                label=f"family {seed}, {label}",
                data=replace(family(seed, harms, size), n_impressions=N_IMPRESSIONS[size]),
                group="scaled-bids",
            )
            for seed in FAMILIES[size]
        ),
        arms=(
            arms.ONLINE_LP,
            *(with_backbone(arm, "mlp", size) for arm in METHODS),
            *(with_backbone(arm, "transformer", size) for arm in (arms.UNIFORM, arms.INTEGRAL)),
        ),
        **settings,
        n_viewed=0,
        baseline="uniform-mlp",
        ours=("integral-mlp", "integral-transformer"),
        contrasts=(
            Contrast(name="integral-against-uniform", first="integral-mlp", second="uniform-mlp"),
            Contrast(name="integral-against-softmax", first="integral-mlp", second="vao-mlp"),
            Contrast(name="backbone", first="integral-mlp", second="integral-transformer"),
            Contrast(name="integral-against-online-lp", first="integral-mlp", second="online-lp"),
        ),
    )
