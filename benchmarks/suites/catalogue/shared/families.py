"""Families that several suites share, by size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.suites.spec import TRAIN_SEEDS, FamilyData, Seeds, Size, Variant

VALIDATION, TEST = 5_000_000, 6_000_000
"""First market seeds of the episodes to tune on and to test on: apart from those of the demo and of its defaults."""

ALIKE = 0.01
"""Share of the best constant multiplier below which two methods are called equal."""

HARM_V1 = "harm/v1"
"""World of conditional harms, see `agents.make_task_family`."""

SIX: dict[Size, FamilyData] = {
    "full": FamilyData(
        n_tasks=6, seed=1, shift=0.5, most=2000, fewest=30, n_groups=6, n_impressions=50_000,
        n_collected=100, n_validation=100, n_scored=6,
    ),
    "cpu": FamilyData(
        n_tasks=6, seed=1, shift=0.5, most=600, fewest=20, n_groups=6, n_impressions=4_800,
        n_collected=40, n_validation=40, n_scored=6,
    ),
    "testing": FamilyData(
        n_tasks=6, seed=1, shift=0.5, most=24, fewest=8, n_groups=6, n_impressions=480,
        n_collected=6, n_validation=6, n_scored=6,
    ),
}  # fmt: skip
"""Six tasks with different objectives and constraints, a long tail of trajectories."""

TRAINING: dict[Size, tuple[str, ...]] = {
    "full": ("train.steps=2000",),
    "cpu": ("train.steps=750",),
    "testing": ("train.steps=8", "train.log_every=4", "train.batch_size=72", "train.evaluation_windows=16"),
}

N_VALIDATION: dict[Size, int] = {"full": 64, "cpu": 24, "testing": 2}
N_TEST: dict[Size, int] = {"full": 256, "cpu": 64, "testing": 3}
N_CANDIDATES: dict[Size, int] = {"full": 32, "cpu": 12, "testing": 2}
N_SEEDS: dict[Size, int] = {"full": 10, "cpu": 10, "testing": 2}
FEW_SEEDS: dict[Size, int] = {"full": 10, "cpu": 3, "testing": 2}
"""Of suites that vary something else many times over: what two cores train within an hour."""


def six(size: Size) -> tuple[Variant, ...]:
    """The six tasks as a suite's only variant."""
    return (Variant(name="family", label="six tasks, long tail", data=SIX[size]),)


def protocol(size: Size, n_seeds: Mapping[Size, int] = N_SEEDS) -> dict[str, Any]:
    """What all suites do alike, arguments of `Suite`: episodes to tune and to test on, training, tuning, seeds."""
    return {
        "validation": Seeds(first=VALIDATION, n=N_VALIDATION[size]),
        "test": Seeds(first=TEST, n=N_TEST[size]),
        "train_seeds": TRAIN_SEEDS[: n_seeds[size]],
        "training": TRAINING[size],
        "n_candidates": N_CANDIDATES[size],
    }
