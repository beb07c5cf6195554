"""A directory of AuctionNet's files: its periods, and what a suite does with them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from auction_env.data.formats.sources import find_logs
from auction_env.files import sha256_of
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


def describe(directory: Path, size: Size, progress: Callable[[int, int], None] | None = None) -> PeriodsData:
    """What a suite does with a directory of AuctionNet's files, by size.

    Args:
        directory: Where they are.
        size: Of the suite.
        progress: Told how many bytes have been read, of how many: all files are read once for their digest.

    Raises:
        ValueError: It lacks periods of the protocol.
        FileNotFoundError: It is not there or holds no files.
    """
    by_period, folder = found_periods(directory), directory / TRAJECTORIES
    train, validation, test = _split(list(by_period), directory, size)
    files = [file for period in (*train, *validation, *test) for file in by_period[period]]
    files += [source.file for source in find_logs(folder)] if folder.is_dir() else []
    source = PeriodFiles(
        directory=str(directory.resolve()),
        digest=_digest(list(dict.fromkeys(files)), progress),
        has_trajectories=folder.is_dir(),
    )
    n_stressed, n_tested = {"full": (len(test), 48), "cpu": (1, 48), "testing": (1, 3)}[size]
    protocols: tuple[Protocol, ...] = ("fixed-prices", "logged-bids", "live-rivals")
    return PeriodsData(
        source=source, train=train, validation=validation, test=test, protocols=protocols, n_stressed=n_stressed,
        n_tested=n_tested,
    )  # fmt: skip


def _split(found: list[int], directory: Path, size: Size) -> tuple[tuple[int, ...], ...]:
    """The periods to train, to validate and to test on."""
    train, validation, test = (
        tuple(period for period in wanted if period in found)
        for wanted in (TRAIN_PERIODS, VALIDATION_PERIODS, TEST_PERIODS)
    )
    if train and validation and len(test) > 1:
        return train, validation, test
    if size != "testing" or len(found) < 2:
        raise ValueError(
            f"{directory} must hold periods of {TRAIN_PERIODS[0]}..{TRAIN_PERIODS[-1]} to train on, period"
            f" {VALIDATION_PERIODS[0]} to validate on and at least two of {TEST_PERIODS[0]}..{TEST_PERIODS[-1]} to"
            f" test on, found {found}; size `testing` takes any two"
        )
    half = len(found) // 2
    return tuple(found[:half]), (), tuple(found[half:])


def _digest(files: list[Path], progress: Callable[[int, int], None] | None) -> str:
    """First 16 digits of the SHA-256 of the files' contents, in order."""
    n_bytes = [file.stat().st_size for file in files]
    found = hashlib.sha256()
    for position, file in enumerate(files):
        found.update(sha256_of(file).encode())
        if progress is not None:
            progress(sum(n_bytes[: position + 1]), sum(n_bytes))
    return found.hexdigest()[:16]
