"""A directory of AuctionNet's files: its periods, and what a suite does with them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from auction_env.data.formats.sources import find_logs
from benchmarks.suites.periods import (
    TEST_PERIODS,
    TRAIN_PERIODS,
    VALIDATION_PERIODS,
    PeriodFiles,
    PeriodsData,
    Protocol,
)
from benchmarks.suites.spec import Size

TRAJECTORIES = "trajectories"
"""Folder, beside the logs of impressions, of AuctionNet's trajectories."""
_PERIOD = re.compile(r"period-(\d+)\D")


def found_periods(directory: Path) -> dict[int, list[Path]]:
    """The files of each period of a directory by the period's number, ascending.

    Raises:
        ValueError: A file's name does not say its period.
        FileNotFoundError: No files.
    """
    found: dict[int, list[Path]] = {}
    for source in find_logs(directory):
        named = _PERIOD.search(source.path.name)
        if named is None:
            rule = "`--data` must hold files named period-N.csv (.csv.gz, .zip, .parquet), N being the period"
            raise ValueError(f"{rule}, found {source.path}: rename it; trajectories go into {TRAJECTORIES}/")
        found.setdefault(int(named[1]), []).append(source.file)
    return dict(sorted(found.items()))


def describe(directory: Path, size: Size) -> PeriodsData:
    """What a suite does with a directory of AuctionNet's files, by size.

    Raises:
        ValueError: It lacks periods of the protocol.
        FileNotFoundError: It is not there or holds no files.
    """
    found = list(found_periods(directory))
    folder = directory / TRAJECTORIES
    sources = [*find_logs(directory), *(find_logs(folder) if folder.is_dir() else [])]
    told = "\n".join(f"{source.path.name} {source.n_bytes}" for source in sources)
    files = PeriodFiles(
        directory=str(directory.resolve()),
        digest=hashlib.sha256(told.encode()).hexdigest()[:16],
        has_trajectories=folder.is_dir(),
    )
    train, validation, test = (
        tuple(period for period in wanted if period in found)
        for wanted in (TRAIN_PERIODS, VALIDATION_PERIODS, TEST_PERIODS)
    )
    if not (train and validation and len(test) > 1):
        if size != "testing" or len(found) < 2:
            raise ValueError(
                f"{directory} must hold periods of {TRAIN_PERIODS[0]}..{TRAIN_PERIODS[-1]} to train on, period"
                f" {VALIDATION_PERIODS[0]} to validate on and at least two of {TEST_PERIODS[0]}..{TEST_PERIODS[-1]} to"
                f" test on, found {found}; size `testing` takes any two"
            )
        half = len(found) // 2
        train, validation, test = tuple(found[:half]), (), tuple(found[half:])
    n_stressed, n_tested = {"full": (len(test), 48), "cpu": (1, 48), "testing": (1, 3)}[size]
    protocols: tuple[Protocol, ...] = ("fixed-prices", "logged-bids", "live-rivals")
    return PeriodsData(
        source=files, train=train, validation=validation, test=test, protocols=protocols, n_stressed=n_stressed,
        n_tested=n_tested,
    )  # fmt: skip
