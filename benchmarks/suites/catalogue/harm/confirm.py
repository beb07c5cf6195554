"""`confirm/v1`: the registered confirmation, on ten families that no choice has seen.

Written down, with its contrasts, before a run of it was made, and run once. Settings are chosen on families with seeds
below 100; these have the seeds 100 to 109, each with sound logs, with a third of the logs recording tripled bids, and
with the harms of harm/v1, and test episodes of their own. The ten families of a world are drawn alike: statistics treat
them as a sample (`Variant.group`).

Size `cpu` on 2 cores, at 8 s of a core for a run with the MLP and 30 s with the transformer:

| what | runs |
| --- | ---: |
| MLP, sound: uniform, integral | 200 |
| MLP, scaled bids: uniform, softmax, integral, response check, validation only, oracle | 600 |
| MLP, harm/v1: the same | 600 |
| transformer, scaled bids: uniform, integral | 200 |

That is 17,200 s, or two and a half hours; references and logs add ten minutes. Single-task learning trains a model a
task, 300 runs for each world: it is compared in `data-scarce/v2`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.arms import with_backbone
from benchmarks.suites.catalogue.shared.families import ALIKE, HARM_V1, protocol
from benchmarks.suites.spec import Arm, Contrast, FamilyData, Seeds, Size, Suite, Variant

ID = "confirm/v1"

FAMILIES: dict[Size, tuple[int, ...]] = {
    "full": tuple(range(100, 110)),
    "cpu": tuple(range(100, 110)),
    "testing": (100, 101),
}
"""Seeds of the families; no other suite has a seed of 100 or more."""
N_TASKS, N_HARMFUL = 9, 3
WORLDS = {
    "sound": ("none", "sound logs"),
    "scaled-bids": (",".join(["scaled_bid=1"] * N_HARMFUL), f"{N_HARMFUL} of {N_TASKS} logs record tripled bids"),
    "harm-v1": (HARM_V1, f"{N_HARMFUL} of {N_TASKS} logs harm conditionally"),
}
"""Harms and label by the name of the world."""

FIRST_TEST, FIRST_VALIDATION = 8_000_000, 7_500_000
"""First market seeds of its episodes, apart from those of all other suites."""
N_VALIDATION: dict[Size, int] = {"full": 64, "cpu": 16, "testing": 2}
N_TEST: dict[Size, int] = {"full": 256, "cpu": 32, "testing": 3}

PLAIN = (arms.UNIFORM, arms.INTEGRAL)
"""What is run where all logs are sound: whether weighting costs anything there."""
CHOOSING = (*PLAIN, arms.VAO, arms.RESPONSE_CHECK, arms.VALIDATION_ONLY, arms.ORACLE)
"""What is run where some are not."""


def family(seed: int, harms: str, size: Size) -> FamilyData:
    """Logs of one of the families of a confirmation."""
    most, fewest, n_impressions, n_collected = {
        "full": (1000, 30, 50_000, 100),
        "cpu": (400, 20, 4_800, 40),
        "testing": (24, 8, 480, 6),
    }[size]
    return FamilyData(
        n_tasks=N_TASKS, seed=seed, shift=0.5, most=most, fewest=fewest, n_groups=6, n_impressions=n_impressions,
        n_collected=n_collected, n_validation=n_collected, n_scored=3, harms=harms,
    )  # fmt: skip


def names_in(world: str, seeds: Sequence[int]) -> tuple[str, ...]:
    """Names of a world's variants, a family each."""
    return tuple(f"{world}-{seed}" for seed in seeds)


def in_worlds(
    worlds: Mapping[str, tuple[str, str]],
    seeds: Sequence[int],
    size: Size,
    methods: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Variant, ...]:
    """Families in several worlds, each world a group.

    Args:
        worlds: Harms and label by the name of the world.
        seeds: Of the families.
        size: Of the suite.
        methods: By world, those that are run there; all in worlds without an entry.
    """
    return tuple(
        Variant(
            name=name,
            label=f"family {seed}, {label}",
            data=family(seed, harms, size),
            group=world,
            arms=tuple((methods or {}).get(world, ())),
        )
        for world, (harms, label) in worlds.items()
        for seed, name in zip(seeds, names_in(world, seeds), strict=True)
    )


def own_episodes(size: Size, *, first_validation: int, first_test: int, n_seeds: int | None = None) -> dict[str, Any]:
    """The protocol of a registered suite: market seeds of its own, and some of the training seeds, by default all."""
    shared = protocol(size)
    return shared | {
        "validation": Seeds(first=first_validation, n=N_VALIDATION[size]),
        "test": Seeds(first=first_test, n=N_TEST[size]),
        "train_seeds": shared["train_seeds"][:n_seeds],
    }


def _arms(size: Size) -> dict[str, tuple[Arm, ...]]:
    """The methods of each world."""
    mlp = {arm.name: with_backbone(arm, "mlp", size) for arm in CHOOSING}
    plain = tuple(mlp[arm.name] for arm in PLAIN)
    transformers = tuple(with_backbone(arm, "transformer", size) for arm in PLAIN)
    every = tuple(mlp.values())
    return {"sound": plain, "scaled-bids": (*every, *transformers), "harm-v1": every}


def _contrasts(size: Size) -> tuple[Contrast, ...]:
    scaled, harm, sound = (names_in(world, FAMILIES[size]) for world in ("scaled-bids", "harm-v1", "sound"))
    pairs = (
        ("scaled-bids-against-softmax", "vao-mlp", scaled),
        ("scaled-bids-against-response-check", "response-check-mlp", scaled),
        ("harm-v1-against-uniform", "uniform-mlp", harm),
        ("harm-v1-against-response-check", "response-check-mlp", harm),
    )
    return (
        *(Contrast(name=name, first="integral-mlp", second=other, variants=where) for name, other, where in pairs),
        Contrast(
            name="scaled-bids-transformer-against-uniform",
            first="integral-transformer",
            second="uniform-transformer",
            variants=scaled,
        ),
        Contrast(
            name="no-cost-on-sound-logs",
            first="integral-mlp",
            second="uniform-mlp",
            variants=sound,
            kind="equivalence",
            margin=ALIKE,
        ),
    )


def make(size: Size) -> Suite:
    """The suite at a size."""
    of_world = _arms(size)
    settings = own_episodes(size, first_validation=FIRST_VALIDATION, first_test=FIRST_TEST)
    return Suite(
        id=ID,
        size=size,
        title="Confirmation",
        question="Does integral VAO keep out what harms, on families that no choice has seen, with both backbones?",
        variants=in_worlds(
            WORLDS, FAMILIES[size], size, {world: [arm.name for arm in own] for world, own in of_world.items()}
        ),
        arms=of_world["scaled-bids"],
        **settings,
        n_viewed=0,
        baseline="uniform-mlp",
        ours=("integral-mlp", "integral-transformer"),
        contrasts=_contrasts(size),
    )
