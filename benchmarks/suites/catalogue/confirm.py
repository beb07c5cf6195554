"""`confirm/v1`: the registered confirmation, on ten families that no choice has seen.

Written down, with its contrasts, before a run of it was made, and run once. Settings are chosen on families with seeds
below 100; these have the seeds 100 to 109, each with sound logs and with those of harm/v1, and test episodes of their
own. The ten families of a world are drawn alike: statistics treat them as a sample (`Variant.group`).

What size `cpu` may cost on 2 cores is 45 to 55 minutes, so there are few methods: each has 10 families x 10 training
seeds = 100 runs in a world. A run trains in about 3 s with the MLP and 8 s with the transformer, and then plays
3 tasks x (6 conditions x 16 validation + 32 test episodes) = 384 episodes, 2 s.

| what | amount | seconds of one core |
| --- | --- | ---: |
| MLP, sound: uniform, integral | 200 runs x 5 s | 1,000 |
| MLP, harm/v1: uniform, softmax, integral, response check, validation only, oracle | 600 runs x 5 s | 3,000 |
| transformer, harm/v1: uniform, integral | 200 runs x 10 s | 2,000 |
| references: 20 variants x 3 tasks x 32 episodes | 60 x 2.8 s | 170 |
| logs: 20 variants x 1,300 trajectories | 26,000 x 3 ms | 80 |

That is 6,250 s, or 52 minutes on 2 cores. Single-task learning trains a model a task, 300 runs for each world: it is
compared in `data-scarce/v2`.
"""

from __future__ import annotations

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.arms import with_backbone
from benchmarks.suites.catalogue.shared.families import HARM_V1, protocol
from benchmarks.suites.spec import Contrast, FamilyData, Seeds, Size, Suite, Variant

ID = "confirm/v1"

FAMILIES: dict[Size, tuple[int, ...]] = {
    "full": tuple(range(100, 110)),
    "cpu": tuple(range(100, 110)),
    "testing": (100, 101),
}
"""Seeds of the families; no other suite has a seed of 100 or more."""
WORLDS = {"sound": ("none", "sound logs"), "harm-v1": (HARM_V1, "a third of the logs harm")}
"""Harms and label by the name of the world."""

FIRST_TEST, FIRST_VALIDATION = 8_000_000, 7_500_000
"""First market seeds of its episodes, apart from those of all other suites."""
N_VALIDATION: dict[Size, int] = {"full": 64, "cpu": 16, "testing": 2}
N_TEST: dict[Size, int] = {"full": 256, "cpu": 32, "testing": 3}

UNIFORM, SOFTMAX, INTEGRAL, RESPONSE_CHECK, VALIDATION_ONLY, ORACLE = (
    with_backbone(arm, "mlp")
    for arm in (arms.UNIFORM, arms.VAO, arms.INTEGRAL, arms.RESPONSE_CHECK, arms.VALIDATION_ONLY, arms.ORACLE)
)
PLAIN = (UNIFORM, INTEGRAL)
"""What is run where all logs are sound: whether weighting costs anything there."""
TRANSFORMERS = tuple(with_backbone(arm, "transformer") for arm in (arms.UNIFORM, arms.INTEGRAL))
ALIKE = 0.01
"""Share of the best constant multiplier below which two methods are called equal."""


def _family(seed: int, harms: str, size: Size) -> FamilyData:
    most, fewest, n_impressions, n_collected = {
        "full": (1000, 30, 50_000, 100),
        "cpu": (400, 20, 4_800, 40),
        "testing": (24, 8, 480, 6),
    }[size]
    return FamilyData(
        n_tasks=9, seed=seed, shift=0.5, most=most, fewest=fewest, n_groups=6, n_impressions=n_impressions,
        n_collected=n_collected, n_validation=n_collected, n_scored=3, harms=harms,
    )  # fmt: skip


def _variants(size: Size) -> tuple[Variant, ...]:
    plain = tuple(arm.name for arm in PLAIN)
    return tuple(
        Variant(
            name=f"{world}-{seed}",
            label=f"family {seed}, {label}",
            data=_family(seed, harms, size),
            arms=plain if world == "sound" else (),
            group=world,
        )
        for world, (harms, label) in WORLDS.items()
        for seed in FAMILIES[size]
    )


def make(size: Size) -> Suite:
    """The suite at a size."""
    sound, harmed = (tuple(f"{world}-{seed}" for seed in FAMILIES[size]) for world in WORLDS)
    settings = protocol(size) | {
        "validation": Seeds(first=FIRST_VALIDATION, n=N_VALIDATION[size]),
        "test": Seeds(first=FIRST_TEST, n=N_TEST[size]),
    }
    return Suite(
        id=ID,
        size=size,
        title="Confirmation",
        question="Does integral VAO keep out what harms, on families that no choice has seen, with both backbones?",
        variants=_variants(size),
        arms=(UNIFORM, SOFTMAX, INTEGRAL, RESPONSE_CHECK, VALIDATION_ONLY, ORACLE, *TRANSFORMERS),
        **settings,
        n_viewed=0,
        baseline=UNIFORM.name,
        ours=(INTEGRAL.name, TRANSFORMERS[1].name),
        contrasts=(
            Contrast(name="integral-against-uniform", first=INTEGRAL.name, second=UNIFORM.name, variants=harmed),
            Contrast(name="integral-against-softmax", first=INTEGRAL.name, second=SOFTMAX.name, variants=harmed),
            Contrast(
                name="integral-against-response-check",
                first=INTEGRAL.name,
                second=RESPONSE_CHECK.name,
                variants=harmed,
            ),
            Contrast(
                name="integral-against-validation-only",
                first=INTEGRAL.name,
                second=VALIDATION_ONLY.name,
                variants=harmed,
            ),
            Contrast(
                name="transformer-integral-against-uniform",
                first=TRANSFORMERS[1].name,
                second=TRANSFORMERS[0].name,
                variants=harmed,
            ),
            Contrast(
                name="no-cost-on-sound-logs",
                first=INTEGRAL.name,
                second=UNIFORM.name,
                variants=sound,
                kind="equivalence",
                margin=ALIKE,
            ),
        ),
    )
