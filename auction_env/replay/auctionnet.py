"""Replay markets from impression logs in AuctionNet's schema, in memory or in files.

The logs are read twice, block by block: the first pass learns how many impressions and advertisers there are
(`reading.shape`), the second puts every row where it belongs (`reading.filling`). In memory is the market itself, or
what one period needs where the market's arrays are files (`import_replay`).
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from auction_env.data.formats.auctionnet_import import Progress
from auction_env.data.formats.csv_blocks import BLOCK_BYTES
from auction_env.data.formats.sources import Source, find_logs, import_plan
from auction_env.files import replace_directory, unfinished_work, write_atomically
from auction_env.replay.columns import Columns
from auction_env.replay.market import FULL_LADDER, LEAST_WINNING_COST, Assumption, ReplayMarket
from auction_env.replay.params import ReplayParams
from auction_env.replay.reading.filling import Filling, Finding
from auction_env.replay.reading.shape import PeriodShape, scan_logs
from auction_env.replay.storage import FORMAT_VERSION, check_target, write_market

LogPaths: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

_DATA, _SCAN, _FINISHED = "data", "scan.npz", "finished.json"


def replay_from_auctionnet(
    paths: LogPaths,
    *,
    assumption: Assumption | None = None,
    rules: ReplayParams | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> ReplayMarket:
    """Reads impression logs in AuctionNet's 18-column CSV schema into memory; `import_replay` makes files of them.

    Rows may come in any order within a period; the files of a period must follow each other. A period of 24
    million rows is a market of 210 MB, and reading it needs another 250 MB. Arrival order is that of `pvIndex`.

    Args:
        paths: Files that end in `.csv`, `.csv.gz`, `.zip` (of `.csv` files) or `.parquet`, or directories of them.
        assumption: `full_ladder` demands every advertiser's bid. `least_winning_cost` is for logs of one
            or some advertisers: an own bid above the logged least winning cost wins the only slot at that
            price. That price counts the own
            logged bid and is one rank too low where the advertiser lost; it is the best that such a log
            says. By default the log must have every bid, and an error names this argument where it does not.
        rules: How the market clears. By default AuctionNet's rules with the reserve price that the log shows: its
            smallest least winning cost, where losing bids are below it. With `least_winning_cost` they need
            one slot, and by default that slot is seen as often as the log's won slots are on average.
        block_bytes: Size of the blocks in which the logs are read.

    Raises:
        AuctionNetLogError: A log breaks the schema.
        FileNotFoundError: A path does not exist.
        ValueError: The log does not have every bid and `assumption` does not say what to do about it, its periods
            have different reserve prices, or `rules` have more than a slot with `least_winning_cost`.
    """
    reading = _Reading(paths, assumption, rules, block_bytes)
    return reading.market(scan_logs(reading.files, block_bytes), Columns(None))


class ReplaySummary(NamedTuple):
    """What an import read and wrote."""

    n_rows: int  # rows of the logs
    n_impressions: int
    n_periods: int
    n_bytes: int  # of the market's arrays
    seconds: float


def import_replay(
    paths: LogPaths,
    directory: str | os.PathLike[str],
    *,
    assumption: Assumption | None = None,
    rules: ReplayParams | None = None,
    force: bool = False,
    progress: Progress | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> ReplaySummary:
    """Makes a replay market on disk of AuctionNet's logs: what `load_replay` opens.

    Its arrays are written as memory-mapped files, so that memory does not grow with the number of periods. An import
    that was killed goes on, when it is called again with the same arguments, at the first period that was not finished.

    Args:
        paths, assumption, rules, block_bytes: As of `replay_from_auctionnet`.
        directory: Where the market will be.
        force: Whether a market that is there is replaced.
        progress: Told after every block how many bytes of the logs have been read; they are read twice.

    Raises:
        AuctionNetLogError, FileNotFoundError, ValueError: As of `replay_from_auctionnet`.
        FileExistsError: The directory holds files and `force` is False, or unfinished work with other arguments.
    """
    started, target = time.perf_counter(), check_target(directory, force=force)
    reading = _Reading(paths, assumption, rules, block_bytes)
    plan = import_plan(reading.files) | {"format": FORMAT_VERSION, "assumption": assumption, "rules": repr(rules)}
    with unfinished_work(target, json.loads(json.dumps(plan)), force=force) as work:
        (work / _DATA).mkdir(exist_ok=True)
        market = _continued(reading, work, progress)
        n_rows = int(sum(np.isfinite(market.budget[k]).sum() * n for k, n in enumerate(market.n_impressions)))
        summary = ReplaySummary(n_rows, int(market.n_impressions.sum()), market.n_periods, market.nbytes, 0.0)
        write_market(work / _DATA, market)
        del market
        replace_directory(work / _DATA, target)
    return summary._replace(seconds=time.perf_counter() - started)


def _continued(reading: _Reading, work: Path, progress: Progress | None) -> ReplayMarket:
    """The market whose files are in the work directory, from where an earlier call was stopped."""
    n_bytes = sum(file.n_bytes for file in reading.files)

    def tell(before: int) -> Callable[[int], None] | None:
        return None if progress is None else lambda done: progress(before + done, 2 * n_bytes)

    shapes = _read_shapes(work / _SCAN)
    if shapes is None:
        shapes = scan_logs(reading.files, reading.block_bytes, tell(0))
        write_atomically(work / _SCAN, _to_bytes(shapes))
    return reading.market(shapes, Columns(work / _DATA), kept=work / _FINISHED, progress=tell(n_bytes))


def _to_bytes(shapes: Mapping[int, PeriodShape]) -> memoryview:
    sink = io.BytesIO()
    named = {f"{period}.{name}": part for period, shape in shapes.items() for name, part in shape._asdict().items()}
    np.savez(sink, order=np.array(list(shapes)), **named)
    return sink.getbuffer()


def _read_shapes(path: Path) -> dict[int, PeriodShape] | None:
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as saved:
        return {
            int(period): PeriodShape(*(saved[f"{period}.{name}"] for name in PeriodShape._fields))
            for period in saved["order"]
        }


@dataclass(frozen=True)
class _Reading:
    """How logs become a market; see `replay_from_auctionnet`."""

    paths: LogPaths
    assumption: Assumption | None
    rules: ReplayParams | None
    block_bytes: int

    def __post_init__(self) -> None:
        if self.assumption not in (None, FULL_LADDER, LEAST_WINNING_COST):
            known = f"{FULL_LADDER!r}, {LEAST_WINNING_COST!r} or None"
            raise ValueError(f"`assumption` must be {known}, found {self.assumption!r}")
        if not self.is_ladder and self.rules is not None and self.rules.n_slots != 1:
            found = f"found {self.rules.n_slots}"
            raise ValueError(f"`rules` must have `n_slots` 1 with {LEAST_WINNING_COST!r}, {found}")

    @cached_property
    def files(self) -> Sequence[Source]:
        return find_logs(self.paths)

    @property
    def is_ladder(self) -> bool:
        return self.assumption != LEAST_WINNING_COST

    def market(
        self,
        shapes: Mapping[int, PeriodShape],
        columns: Columns,
        *,
        kept: Path | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ReplayMarket:
        """The market of the logs; `kept` is where finished periods are noted and found again."""
        rules = self.rules or (ReplayParams() if self.is_ladder else _observed_rules(list(shapes.values())))
        for shape in shapes.values():
            if self.is_ladder and shape.slots[2] > rules.n_slots:
                found = f"{shape.slots[2]}, found {rules.n_slots}"
                raise ValueError(f"`n_slots` must be at least the log's `adSlot`, {found}")
        filling = Filling(
            self.files, self.block_bytes, shapes, assumption=self.assumption, given=self.rules, rules=rules,
            columns=columns,
        )  # fmt: skip
        findings = _read_findings(kept)
        for period, finding in filling.fill(set(findings), progress):
            findings[period] = finding
            if kept is not None:
                write_atomically(kept, json.dumps(findings).encode())
        if self.is_ladder and self.rules is None:
            rules = replace(rules, reserve=filling.common_reserve(findings))
        return filling.whole(rules)


def _read_findings(kept: Path | None) -> dict[int, Finding]:
    if kept is None or not kept.is_file():
        return {}
    return {int(period): Finding(*found) for period, found in json.loads(kept.read_text(encoding="utf-8")).items()}


def _observed_rules(shapes: Sequence[PeriodShape]) -> ReplayParams:
    """A slot without a reserve price, seen with the average frequency of the slots that the logs' advertisers won."""
    n_won, n_seen, _ = np.sum([shape.slots for shape in shapes], axis=0).tolist()
    exposure = n_seen / n_won if n_won else 1.0
    return ReplayParams(n_slots=1, exposure=(exposure,), reserve=0.0, is_unsold_at_reserve=False)
