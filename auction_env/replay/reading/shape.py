"""The first pass over a log of impressions: its periods, their impressions and advertisers, without the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from auction_env.data.formats.auctionnet_csv import LOG_COLUMNS, parse_logs
from auction_env.data.formats.sources import AuctionNetLogError, Source
from auction_env.kernels.logs.cells import N_TICKS
from auction_env.kernels.logs.placing import KEY_BITS

Float = NDArray[np.float64]
Int = NDArray[np.int64]

PERIOD = LOG_COLUMNS.index("deliveryPeriodIndex")
ADVERTISER = LOG_COLUMNS.index("advertiserNumber")
_TICK, _IMPRESSION = LOG_COLUMNS.index("timeStepIndex"), LOG_COLUMNS.index("pvIndex")
_SLOT, _IS_EXPOSED = LOG_COLUMNS.index("adSlot"), LOG_COLUMNS.index("isExposed")
_VALUE = LOG_COLUMNS.index("pValue")
_CONSTANTS = ("budget", "CPAConstraint", "advertiserCategoryIndex")
_MOST_PENDING = 1 << 22  # keys of impressions before repeated ones are dropped: 32 MB


class PeriodShape(NamedTuple):
    """What must be known of a period before its rows can be put where they belong."""

    impressions: Int  # (k,) ascending: tick << KEY_BITS | pvIndex
    advertisers: Int  # (m,) ascending numbers
    constants: Float  # (m, 3): budget, target CPA, category
    files: Int  # (2,) indices of the first and the last file that holds rows
    slots: Int  # (3,) slots won, those of them that were seen, the lowest of them

    @property
    def tick_counts(self) -> Int:
        """(N_TICKS,) impressions of each tick."""
        return np.bincount(self.impressions >> KEY_BITS, minlength=N_TICKS)


def scan_logs(
    files: Sequence[Source], block_bytes: int, progress: Callable[[int], None] | None = None
) -> dict[int, PeriodShape]:
    """The shapes of all periods by number, in the order of their first rows; `progress` gets the bytes read.

    Raises:
        AuctionNetLogError: A log breaks the schema, or another file lies between those of a period.
    """
    found: dict[int, _Scan] = {}
    file = -1
    with closing(parse_logs(files, block_bytes)) as blocks:
        for parsed in blocks:
            if parsed.error is not None:
                raise parsed.error
            file += parsed.block.is_first
            for period, rows in _by_period(parsed.rows):
                scan = found.setdefault(period, _Scan(period, file))
                if file > scan.last_file + 1:
                    raise AuctionNetLogError(
                        f"the files of a period must follow each other, found period {period} again",
                        path=parsed.block.source.path,
                    )
                scan.add(rows, file)
            if progress is not None:
                progress(parsed.block.bytes_read)
    return {period: scan.shape() for period, scan in found.items()}


def _by_period(rows: Float) -> Iterator[tuple[int, Float]]:
    """The rows of a block by period; the block itself where it has one only."""
    period = rows[:, PERIOD]
    if not len(rows):
        return
    if (period == period[0]).all():
        yield int(period[0]), rows
        return
    for number in np.unique(period):
        yield int(number), rows[period == number]


@dataclass(slots=True)
class _Scan:
    """The shape of a period so far."""

    period: int
    first_file: int
    last_file: int = -1
    keys: list[Int] = field(default_factory=list)
    n_keys: int = 0
    constants: dict[int, tuple[float, ...]] = field(default_factory=dict)
    slots: Int = field(default_factory=lambda: np.zeros(3, np.int64))

    def __post_init__(self) -> None:
        self.last_file = self.first_file

    def add(self, rows: Float, file: int) -> None:
        self.last_file = file
        self._add_advertisers(rows)
        if rows[:, _VALUE].max() > 1:
            raise AuctionNetLogError(
                f"`pValue` must be at most 1 in period {self.period}, found {rows[:, _VALUE].max()}"
            )
        is_won = rows[:, _SLOT] > 0
        self.slots += (is_won.sum(), int(rows[is_won, _IS_EXPOSED].sum()), 0)
        self.slots[2] = max(self.slots[2], int(rows[:, _SLOT].max()))
        key = (rows[:, _TICK].astype(np.int64) << KEY_BITS) | rows[:, _IMPRESSION].astype(np.int64)
        is_new = np.append(True, key[1:] != key[:-1])
        self.keys.append(np.unique(key[is_new]))
        self.n_keys += len(self.keys[-1])
        if self.n_keys > _MOST_PENDING:
            self._merge()

    def _add_advertisers(self, rows: Float) -> None:
        encoded = pa.array(rows[:, ADVERTISER]).dictionary_encode()
        codes, numbers = encoded.indices.to_numpy(), encoded.dictionary.to_numpy().astype(np.int64)
        first = np.empty(len(numbers), np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        columns = [LOG_COLUMNS.index(name) for name in _CONSTANTS]
        for number, row in zip(numbers.tolist(), first.tolist(), strict=True):
            self.constants.setdefault(number, tuple(rows[row, columns].tolist()))
        expected = np.array([self.constants[number] for number in numbers.tolist()])
        for position, (name, column) in enumerate(zip(_CONSTANTS, columns, strict=True)):
            different = np.flatnonzero(rows[:, column] != expected[codes, position])
            if len(different):
                row = int(different[0])
                raise AuctionNetLogError(
                    f"`{name}` must be {expected[codes[row], position]} as on the first row of (period {self.period},"
                    f" advertiser {numbers[codes[row]]}), found {rows[row, column]}"
                )

    def _merge(self) -> None:
        self.keys = [np.unique(np.concatenate(self.keys))]
        self.n_keys = 0  # those that are new since

    def shape(self) -> PeriodShape:
        self._merge()
        numbers = sorted(self.constants)
        return PeriodShape(
            impressions=self.keys[0],
            advertisers=np.array(numbers, np.int64),
            constants=np.array([self.constants[number] for number in numbers]),
            files=np.array([self.first_file, self.last_file]),
            slots=self.slots,
        )
