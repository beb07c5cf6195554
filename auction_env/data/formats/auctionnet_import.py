"""Imports AuctionNet's impression logs: one row of the trajectory schema per (period, advertiser, tick).

The features, the action and the rewards are those of AuctionNet's training data (arXiv 2412.10798); the
logs are read in bounded memory, whatever the order of their rows and columns.
"""

from __future__ import annotations

import io
import logging
import os
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from auction_env.control.observation import N_FEATURES, StateFeatures
from auction_env.data.dataset import Array, TrajectoryData
from auction_env.data.formats.auctionnet_csv import LOG_COLUMNS, parse_logs
from auction_env.data.formats.csv_blocks import BLOCK_BYTES, START, ParsedBlock, Position, row_error
from auction_env.data.formats.sources import AuctionNetLogError, Source, find_logs, import_plan
from auction_env.data.staging import open_stage
from auction_env.data.storage import write
from auction_env.files import write_atomically
from auction_env.kernels.logs import cells as kernels
from auction_env.kernels.logs.cells import N_TICKS, GroupTable
from auction_env.tasks import TASKS, Targets

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and in all, both of the files as stored."""

IMPORT_TASK = "TargetCPA"
CHECKPOINT_SECONDS = 5.0
_INITIAL_GROUPS = 1024
_CHECKPOINT = "sums.npz"
_CHECKPOINT_SHARE = 20  # a checkpoint is followed by so many times its own duration without another


class ImportSummary(NamedTuple):
    """What an import read and wrote."""

    n_rows: int  # rows of the logs
    n_ticks: int  # rows of the data set
    n_trajectories: int
    seconds: float


def import_auctionnet_impressions(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: Progress | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> ImportSummary:
    """Converts logs in AuctionNet's 18-column CSV schema into a trajectory data set.

    Trajectories get the task "TargetCPA" with the advertiser's CPAConstraint, and -1 for the unknown seed.
    A period may span files and a file may hold several periods. An import that was killed goes on, when it is called
    again with the same files, at its last checkpoint: the end of a file, or a few seconds before the kill. The data
    set has the same bytes as that of an uninterrupted import.

    Args:
        paths: Files that end in `.csv`, `.csv.gz`, `.zip` (of `.csv` files) or `.parquet`, or directories of them.
        out: Directory of the data set.
        force: Whether a data set at `out` is replaced.
        progress: Told after every block how far the import is.
        block_bytes: Size of the blocks in which the logs are read; memory grows with it.

    Raises:
        AuctionNetLogError: A log breaks the schema; nothing is left at `out`.
        FileExistsError: `out` holds files (see `auction_env.data.write`), or unfinished work on other files.
        FileNotFoundError: A path does not exist.
        ValueError: No path, a path with another ending, or the same path twice.
    """
    started = time.perf_counter()
    if block_bytes < 1:
        raise ValueError(f"`block_bytes` must be positive, found {block_bytes}")
    files = find_logs(paths)
    with open_stage(out, import_plan(files), force=force, hopeless=(AuctionNetLogError,)) as stage:
        table = _read_table(files, progress, block_bytes, _Checkpoints(stage.path / _CHECKPOINT))
        data = _to_trajectories(table)
        metadata = {
            "source": "AuctionNet log",
            "files": [file.path.name for file in files],
            "n_log_rows": int(table.counts.sum()),
        }
        write(out, data, metadata=metadata, force=force)
    summary = ImportSummary(int(table.counts.sum()), len(data), data.n_episodes, time.perf_counter() - started)
    logger.info("imported %d log rows in %.1f s", summary.n_rows, summary.seconds)
    return summary


class _Checkpoints:
    """The sums so far and where the logs were left, written now and then: what a killed import goes on from.

    Rows are added in their order, so the sums do not depend on where an import was interrupted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._due = time.perf_counter() + CHECKPOINT_SECONDS

    def last(self) -> tuple[GroupTable, Position] | None:
        """The last checkpoint; None where there is none or it is damaged."""
        try:
            with np.load(io.BytesIO(self._path.read_bytes()), allow_pickle=False) as saved:
                return GroupTable(*(saved[name] for name in GroupTable._fields)), Position(*saved["position"].tolist())
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
            return None

    def note(self, table: GroupTable, position: Position, *, is_file_end: bool) -> None:
        """Writes a checkpoint if one is due, as it is at the end of every file."""
        started = time.perf_counter()
        if started < self._due and not is_file_end:
            return
        buffer = io.BytesIO()
        np.savez(buffer, position=np.array(position), **table._asdict())
        write_atomically(self._path, buffer.getbuffer())
        now = time.perf_counter()
        self._due = now + max(CHECKPOINT_SECONDS, _CHECKPOINT_SHARE * (now - started))


def _read_table(
    files: Sequence[Source], progress: Progress | None, block_bytes: int, checkpoints: _Checkpoints
) -> GroupTable:
    """The sums of every cell of the logs; raises AuctionNetLogError on the first bad line."""
    n_bytes = sum(file.n_bytes for file in files)
    table, start = checkpoints.last() or (kernels.new_table(_INITIAL_GROUPS), START)
    file = start.file
    position = start
    with closing(parse_logs(files, block_bytes, start)) as parsed_blocks:
        for parsed in parsed_blocks:
            if parsed.block.is_first and position.offset:
                checkpoints.note(table, position, is_file_end=True)
                file += 1
            table = _add_block(table, parsed)
            position = Position(file, parsed.block.end, parsed.next_line)
            checkpoints.note(table, position, is_file_end=False)
            if progress is not None:
                progress(parsed.block.bytes_read, n_bytes)
    if progress is not None and position == start:  # nothing was left to read
        progress(n_bytes, n_bytes)
    _check_unique(table)
    return table


def _add_block(table: GroupTable, parsed: ParsedBlock) -> GroupTable:
    row, code = 0, kernels.TABLE_FULL
    while code == kernels.TABLE_FULL:
        row, code = kernels.accumulate(parsed.rows, row, table)
        if code == kernels.TABLE_FULL:
            table = kernels.grow_table(table)
    if code != kernels.OK:
        raise _changed_error(table, parsed, int(row), LOG_COLUMNS[code])
    if parsed.error is not None:
        raise parsed.error
    return table


def _changed_error(table: GroupTable, parsed: ParsedBlock, row: int, column: str) -> AuctionNetLogError:
    """The error of a cell that differs from an earlier row of its advertiser or tick."""
    key = ("deliveryPeriodIndex", "advertiserNumber", "timeStepIndex")
    period, advertiser, tick = (int(parsed.rows[row, LOG_COLUMNS.index(name)]) for name in key)
    group = table.slots[kernels.find_slot(table, period, advertiser)]
    scope = f"(period {period}, advertiser {advertiser})"
    constants = ("advertiserCategoryIndex", "budget", "CPAConstraint")
    if column in constants:
        first = table.constants[group, constants.index(column)]
    else:
        scope = f"(period {period}, advertiser {advertiser}, tick {tick})"
        first = table.start[group, tick, ("remainingBudget", "isEnd").index(column)]
    rule = f"must be {first} as on the first row of {scope}"
    return row_error(parsed.block, parsed.first_line, row, column, rule)


def _check_unique(table: GroupTable) -> None:
    """Finds impressions logged twice (a period in two files, say): a cell with more rows than its pvIndex range.

    A log that gives all impressions of a tick the same number says nothing about them and is let through.
    """
    n_distinct = table.impressions[:, :, 1] - table.impressions[:, :, 0] + 1
    groups, ticks = np.nonzero((n_distinct > 1) & (table.counts > n_distinct))
    if len(groups):
        group, tick = groups[0], ticks[0]
        period, advertiser = table.keys[group]
        low, high = table.impressions[group, tick]
        raise AuctionNetLogError(
            f"`pvIndex` must be unique in (period {period}, advertiser {advertiser}, tick {tick}), found "
            f"{table.counts[group, tick]} rows with `pvIndex` from {low} to {high}"
        )


def _to_trajectories(table: GroupTable) -> TrajectoryData:
    """One row per cell that the log has."""
    n = int(table.n_groups[0])
    counts, sums, start = table.counts[:n], table.sums[:n], table.start[:n]
    group, tick = np.nonzero(counts)
    category, budget, cpa_target = (table.constants[group, column] for column in range(3))
    cell = sums[group, tick]
    budget_left, is_ended = start[group, tick].T
    offered_conversions = cell[:, kernels.OFFERED_CONVERSIONS]
    action = np.zeros(len(group))
    np.divide(cell[:, kernels.BID], offered_conversions, out=action, where=offered_conversions > 0)
    task = TASKS[IMPORT_TASK]
    columns: dict[str, Array | int] = {
        "period": table.keys[group, 0],
        "advertiser": table.keys[group, 1],
        "tick": tick,
        "category": category,
        "seed": -1,
        "task": 0,
        "budget": budget,
        "cpa_target": cpa_target,
        "features": _features(table, n)[group, tick],
        "requirements": task.requirements(Targets.of(budget, cpa_target)),
        "action": action,
        "reward": cell[:, kernels.CONVERSIONS],
        "reward_expected": cell[:, kernels.EXPECTED_CONVERSIONS],
        "done": (tick == N_TICKS - 1) | (is_ended == 1),
        "n_impressions": counts[group, tick],
        "bid": cell[:, kernels.BID],
        "offered_conversions": offered_conversions,
        "wins": cell[:, kernels.WINS],
        "exposures": cell[:, kernels.EXPOSURES],
        "cost": cell[:, kernels.COST],
        "conversions": cell[:, kernels.CONVERSIONS],
        "expected_conversions": cell[:, kernels.EXPECTED_CONVERSIONS],
        "least_winning_cost": cell[:, kernels.LEAST_WINNING_COST] / counts[group, tick],
        "budget_left": budget_left,
    }
    return TrajectoryData.from_columns(columns, tasks=(task,))


def _features(table: GroupTable, n: int) -> Array:
    """The state features of every group and tick, (n, N_TICKS, 16); 0 where the log lacks the tick."""
    state = StateFeatures(n, N_TICKS)
    out = np.zeros((n, N_TICKS, N_FEATURES))
    for tick in range(N_TICKS):
        volume = table.counts[:n, tick]
        mean = table.sums[:n, tick] / np.maximum(volume, 1)[:, None]
        has_tick = volume > 0
        features = state.observe(
            tick,
            budget_left=table.start[:n, tick, 0] / table.constants[:n, 1],
            value_now=mean[:, kernels.OFFERED_CONVERSIONS],
            volume_now=volume,
        )
        out[has_tick, tick] = features[has_tick]
        state.update(
            bid=mean[:, kernels.BID],
            least_winning_cost=mean[:, kernels.LEAST_WINNING_COST],
            value=mean[:, kernels.OFFERED_CONVERSIONS],
            conversions=mean[:, kernels.ALL_CONVERSIONS],
            win_rate=mean[:, kernels.WINS],
            volume=volume,
            mask=has_tick,
        )
    return out
