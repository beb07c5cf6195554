"""Opens the data of a variant, of whatever kind they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.suites.data import family, logs, market, periods
from benchmarks.suites.data.locking import locked
from benchmarks.suites.data.variant import VariantData
from benchmarks.suites.numbers import DATA_PACKAGES, versions
from benchmarks.suites.periods import PeriodsData
from benchmarks.suites.spec import Data, FamilyData, LogsData, Suite, Variant, digest, without_place


def open_variant(
    variant: Variant,
    suite: Suite,
    cache: Path,
    *,
    n_workers: int | None = 1,
    note: Callable[[str], None] | None = None,
) -> VariantData:
    """The data of a variant, whose logs are made below `cache` by `n_workers` where they are not there yet.

    `note` gets what is being done, where that takes long.
    """
    data, folder = variant.data, cache / log_key(variant.data)
    with locked(folder):
        if isinstance(data, LogsData):
            return logs.make(data, suite)
        if isinstance(data, FamilyData):
            return family.make(data, suite, folder / "logs", n_workers)
        if isinstance(data, PeriodsData):
            return periods.make(data, suite, folder, note)
        return market.make(data, suite, folder / "logs")


def log_key(data: Data) -> str:
    """Name of the folder of the logs: equal for variants that share them, another one for another numbers version."""
    record = without_place(asdict(data.source if isinstance(data, PeriodsData) else data))
    kind = type(data).__name__.removesuffix("Data").lower()
    for name in {"family": ("n_validation", "n_scored"), "market": ("conditions",)}.get(kind, ()):
        del record[name]
    return f"{kind}-{digest([record, versions(DATA_PACKAGES)])[:12]}"
