"""Synthetic periods that several suites share, by size."""

from __future__ import annotations

from benchmarks.suites.periods import (
    STRESSES,
    TEST_PERIODS,
    TRAIN_PERIODS,
    VALIDATION_PERIODS,
    Kind,
    PeriodsData,
    Protocol,
    StressTest,
    SyntheticPeriods,
)
from benchmarks.suites.spec import Size

N_IMPRESSIONS: dict[Size, int] = {"full": 500_000, "cpu": 4_800, "testing": 480}
N_TESTED: dict[Size, int] = {"full": 48, "cpu": 48, "testing": 2}
"""Advertisers of a period that are tested."""
N_TRAIN: dict[Size, int] = {"full": len(TRAIN_PERIODS), "cpu": len(TRAIN_PERIODS), "testing": 2}
"""Periods to train on."""


def synthetic(
    kind: Kind,
    size: Size,
    *,
    seed: int,
    n_test: int,
    n_stressed: int,
    protocols: tuple[Protocol, ...],
    stresses: tuple[StressTest, ...] = STRESSES,
) -> PeriodsData:
    """Periods of a preset; `seed` is that of `SyntheticPeriods`, `n_test` counts the test periods."""
    return PeriodsData(
        source=SyntheticPeriods(preset=kind, n_impressions=N_IMPRESSIONS[size], seed=seed),
        train=TRAIN_PERIODS[: N_TRAIN[size]],
        validation=VALIDATION_PERIODS,
        test=TEST_PERIODS[:n_test],
        protocols=protocols,
        stresses=stresses,
        n_stressed=n_stressed,
        n_tested=N_TESTED[size],
    )
