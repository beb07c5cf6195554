"""Imports AuctionNet's trajectories, on which most papers on generative bidding train.

Columns that the files do not have are derived from the states where they follow exactly, and are missing (NaN)
elsewhere (`LACKING`): nothing is guessed.
"""

from __future__ import annotations

import io
import logging
import os
import time
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from auction_env.control.observation import FEATURE_NAMES
from auction_env.data.dataset import DTYPES, VECTORS, TrajectoryData, is_sorted
from auction_env.data.formats.auctionnet_import import IMPORT_TASK, ImportSummary, Progress
from auction_env.data.formats.csv_blocks import BLOCK_BYTES, START, Position
from auction_env.data.formats.sources import AuctionNetLogError, Source, find_logs, import_plan
from auction_env.data.formats.trajectory_csv import (
    FIRST_NEXT,
    FIRST_STATE,
    HAS_NEXT,
    N_COLUMNS,
    PLAIN_RULES,
    parse_trajectory_logs,
)
from auction_env.data.manifest import read_shard
from auction_env.data.missing import MISSING
from auction_env.data.schema import UNRECORDED
from auction_env.data.staging import Block, Stage, open_stage, write_block
from auction_env.data.storage import ROWS_PER_SHARD
from auction_env.files import write_atomically
from auction_env.kernels.logs.cells import N_TICKS
from auction_env.tasks import TASKS, Targets

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Int = NDArray[np.int64]

LACKING = ("wins", "exposures", "cost", "least_winning_cost")
"""The columns that do not follow everywhere from what the files have."""

_CHECKPOINT = "behind-shards.npz"
_BUDGET_LEFT, _WIN_RATE_ALL, _LEAST_WINNING_COST_ALL, _VALUE_NOW, _VOLUME_NOW, _VOLUME_ALL = (
    FEATURE_NAMES.index(name)
    for name in ("budget_left", "win_rate_all", "least_winning_cost_all", "value_now", "volume_now", "volume_all")
)
_PERIOD, _ADVERTISER, _TICK = (
    list(PLAIN_RULES).index(name) for name in ("deliveryPeriodIndex", "advertiserNumber", "timeStepIndex")
)
_SLACK = 1e-6  # of the budget: rounding of the shares of it that states hold


def import_auctionnet_trajectories(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: Progress | None = None,
    block_bytes: int = BLOCK_BYTES,
    rows_per_shard: int = ROWS_PER_SHARD,
) -> ImportSummary:
    """Converts AuctionNet's trajectory files (`*-rlData.csv`, `trajectory_data*.csv`) into a trajectory data set.

    Trajectories get the task "TargetCPA" with the advertiser's CPAConstraint, and -1 for the unknown seed. The rows of
    a trajectory must follow each other, in any order. An import that was killed goes on, when it is called again with
    the same files, behind the last shard that was written; the data set has the same bytes as that of an uninterrupted
    import.

    Args:
        paths: Files that end in `.csv`, `.csv.gz`, `.zip` (of `.csv` files) or `.parquet`, or directories of them.
        out: Directory of the data set.
        force: Whether a data set at `out` is replaced.
        progress: Told after every block how far the import is.
        block_bytes: Size of the blocks in which the files are read; memory grows with it.
        rows_per_shard: Upper limit of the rows of a shard; memory grows with it.

    Raises:
        AuctionNetLogError: A file breaks the schema; nothing is left at `out`.
        FileExistsError: `out` holds files (see `auction_env.data.write`), or unfinished work on other files.
        FileNotFoundError: A path does not exist.
        ValueError: No path, a path with another ending, the same path twice, or a size that is too small.
    """
    started = time.perf_counter()
    for name, value, least in (("block_bytes", block_bytes, 1), ("rows_per_shard", rows_per_shard, N_TICKS)):
        if value < least:
            raise ValueError(f"`{name}` must be at least {least}, found {value}")
    files = find_logs(paths)
    plan = import_plan(files) | {"rows_per_shard": rows_per_shard}
    with open_stage(out, plan, force=force, hopeless=(AuctionNetLogError,)) as stage:
        with closing(_Shards(stage, rows_per_shard)) as shards:
            _read(files, shards, block_bytes, progress)
        metadata = {
            "source": "AuctionNet trajectories",
            "files": [file.path.name for file in files],
            MISSING: list(LACKING),
        }
        manifest = stage.publish(shards.blocks, metadata=metadata, parameters={})
    if shards.n_contradictions:
        logger.warning(
            "`realAllCost` contradicts the budgets in %d trajectories: the cost of their last tick is missing",
            shards.n_contradictions,
        )
    seconds = time.perf_counter() - started
    logger.info("imported %d rows in %.1f s", manifest.n_rows, seconds)
    return ImportSummary(manifest.n_rows, manifest.n_rows, manifest.n_episodes, seconds)


def _read(files: Sequence[Source], shards: _Shards, block_bytes: int, progress: Progress | None) -> None:
    n_bytes = sum(file.n_bytes for file in files)
    start = position = shards.resume()
    file = start.file
    with closing(parse_trajectory_logs(files, block_bytes, start)) as parsed_blocks:
        for parsed in parsed_blocks:
            if parsed.block.is_first and position.offset:
                file += 1
            position = Position(file, parsed.block.end, parsed.next_line)
            if parsed.error is not None:
                shards.add(parsed.rows, None)
                shards.settle()
                raise parsed.error
            shards.add(parsed.rows, position)
            if progress is not None:
                progress(parsed.block.bytes_read, n_bytes)
    if progress is not None and position == start:  # nothing was left to read
        progress(n_bytes, n_bytes)
    shards.finish(position)


class _Shards:
    """Rows on their way into shards, which a thread of its own makes and writes.

    A shard has as many whole trajectories as fit, wherever blocks of text end: it does not depend on interruptions.
    """

    def __init__(self, stage: Stage, rows_per_shard: int) -> None:
        self._stage, self._rows_per_shard = stage, rows_per_shard
        self._columns, self._spare = (np.empty((N_COLUMNS, rows_per_shard)) for _ in range(2))
        self._n = 0  # rows in `_columns`
        self._seen: set[int] = set()  # the trajectories that have ended
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="auctionnet-shard")
        self._pending: Future[tuple[Block, int]] | None = None
        self.blocks: list[Block] = []
        self.n_contradictions = 0

    def close(self) -> None:
        """Waits for the shard in work."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def resume(self) -> Position:
        """Takes up the last checkpoint, where there is a sound one."""
        try:
            with np.load(io.BytesIO((self._stage.path / _CHECKPOINT).read_bytes()), allow_pickle=False) as saved:
                columns, numbers = saved["columns"], saved["numbers"].tolist()
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return START
        *place, n_blocks, n_contradictions = numbers
        blocks = [block for index in range(n_blocks) if (block := self._stage.finished(index)) is not None]
        if len(blocks) < n_blocks:
            return START
        self.blocks, self.n_contradictions = blocks, n_contradictions
        for block in blocks:
            table = read_shard(self._stage.data, block.shard, columns=("period", "advertiser"))
            self._remember(np.unique(_keys(*(column.to_numpy() for column in table.columns))))
        self._hold(columns)
        return Position(*place)

    def add(self, rows: Float, position: Position | None) -> None:
        """Takes the rows (n, N_COLUMNS) of a block; begins shards where enough are there.

        `position` is behind the block: where an import goes on once they are written; None if it cannot.
        """
        self._hold(rows.T)
        while self._n > self._rows_per_shard:
            self._begin_shard(position)

    def finish(self, position: Position) -> None:
        """Writes what is left."""
        if self._n:
            self._begin_shard(position)
        self.settle()

    def settle(self) -> None:
        """Waits for the shard in work and takes it up, or raises what was wrong with it."""
        if self._pending is not None:
            block, n_contradictions = self._pending.result()
            self._pending = None
            self.blocks.append(block)
            self.n_contradictions += n_contradictions

    def _hold(self, columns: Float) -> None:
        n = self._n + columns.shape[1]
        if n > self._columns.shape[1]:
            grown = np.empty((N_COLUMNS, n + self._rows_per_shard // 4))
            grown[:, : self._n] = self._columns[:, : self._n]
            self._columns = grown
        self._columns[:, self._n : n] = columns
        self._n = n

    def _begin_shard(self, position: Position | None) -> None:
        keys = _keys(self._columns[_PERIOD, : self._n], self._columns[_ADVERTISER, : self._n])
        starts = np.append(0, np.flatnonzero(keys[1:] != keys[:-1]) + 1)
        ends = np.append(starts[1:], self._n)
        if (ends - starts).max() > N_TICKS:
            longest = int(np.argmax(ends - starts))
            raise AuctionNetLogError(
                f"a trajectory must have at most {N_TICKS} rows, one a tick, found {ends[longest] - starts[longest]} of"
                f" {_name(keys[starts[longest]])}"
            )
        n = int(ends[ends <= self._rows_per_shard][-1])
        self._remember(keys[starts[starts < n]])
        self.settle()
        full, rest = self._columns, self._columns[:, n : self._n].copy()
        self._columns, self._spare, self._n = self._spare, full, 0
        self._hold(rest)
        self._pending = self._executor.submit(self._make_shard, full[:, :n], len(self.blocks), position, rest)

    def _make_shard(self, columns: Float, index: int, position: Position | None, rest: Float) -> tuple[Block, int]:
        """Writes a shard, and then where an import that is killed goes on, with the rows that are read until there."""
        data, n_contradictions = to_trajectories(columns)
        block = write_block(self._stage.path, index, data)
        if position is not None:
            buffer = io.BytesIO()
            numbers = np.array([*position, index + 1, self.n_contradictions + n_contradictions])
            np.savez(buffer, columns=rest, numbers=numbers)
            write_atomically(self._stage.path / _CHECKPOINT, buffer.getbuffer())
        return block, n_contradictions

    def _remember(self, keys: Int) -> None:
        """Notes trajectories that have ended; one that comes again is an error."""
        for key in keys.tolist():
            if key in self._seen:
                raise AuctionNetLogError(
                    f"the rows of a trajectory must follow each other, found {_name(key)} again: sort the rows by"
                    " period and advertiser, and import files that use the same numbers for other periods apart"
                )
            self._seen.add(key)


def to_trajectories(columns: Float) -> tuple[TrajectoryData, int]:
    """The trajectories of parsed rows, the columns of which (N_COLUMNS, n) hold whole trajectories.

    The mean over k ticks seen is known before and after a tick, so that the mean of the tick itself is
    (k + 1) x mean after - k x mean before. What an episode paid is the fall of its budget; the last tick's share of
    `realAllCost` is what the other ticks leave of it. Who does not bid wins nothing.

    Returns:
        The data set, and the number of its trajectories whose `realAllCost` contradicts the budgets.

    Raises:
        AuctionNetLogError: Two rows of a tick, rows of a trajectory that differ in what belongs to it, or a budget left
            that rises.
    """
    key_columns = columns[[_PERIOD, _ADVERTISER, _TICK]]
    if not is_sorted(*key_columns).all():
        columns = columns[:, np.lexsort(key_columns[::-1])]
    named = {name: columns[index] for index, name in enumerate(PLAIN_RULES)}
    state, after = columns[FIRST_STATE:FIRST_NEXT], columns[FIRST_NEXT:]
    keys = _keys(named["deliveryPeriodIndex"], named["advertiserNumber"])
    outcome, n_contradictions = _derive(named, keys, state, after, columns[HAS_NEXT] == 1.0)
    offered = state[_VALUE_NOW] * state[_VOLUME_NOW]
    task, n = TASKS[IMPORT_TASK], len(keys)
    requirements = task.requirements(Targets.of(named["budget"], named["CPAConstraint"]))
    columns_of: dict[str, Float | Bool | int] = dict.fromkeys(UNRECORDED, 0) | {
        "period": named["deliveryPeriodIndex"],
        "advertiser": named["advertiserNumber"],
        "tick": named["timeStepIndex"],
        "category": named["advertiserCategoryIndex"],
        "seed": -1,
        "policy": 0,
        "task": 0,
        "budget": named["budget"],
        "cpa_target": named["CPAConstraint"],
        "action": named["action"],
        "reward": named["reward"],
        "reward_expected": named["reward_continuous"],
        "done": named["done"] == 1,
        "n_impressions": state[_VOLUME_NOW],
        "bid": named["action"] * offered,
        "offered_conversions": offered,
        "conversions": named["reward"],
        "expected_conversions": named["reward_continuous"],
        "budget_left": state[_BUDGET_LEFT] * named["budget"],
        **outcome,
    }
    arrays = {name: np.ascontiguousarray(np.broadcast_to(columns_of[name], n), DTYPES[name]) for name in VECTORS}
    arrays["observation"] = np.concatenate([state.T, requirements], axis=1)
    try:
        return TrajectoryData.from_arrays(
            arrays, (task,), {MISSING: list(LACKING)}, {"policy": ("",)}
        ), n_contradictions
    except ValueError as error:
        raise AuctionNetLogError(str(error)) from error


def _derive(
    named: dict[str, Float], keys: Int, state: Float, after: Float, has_next: Bool
) -> tuple[dict[str, Float], int]:
    """The columns of `LACKING`, (n,) each, and how many trajectories have a `realAllCost` that contradicts.

    Args:
        named: The plain columns, (n,) each.
        keys: (n,) `_keys`.
        state, after: (16, n) the states before and after a tick, the latter where `has_next` (n,).
    """
    n = len(keys)
    is_first = np.append(True, keys[1:] != keys[:-1])
    is_last = np.append(is_first[1:], True)
    seen_after = state[_VOLUME_ALL] + state[_VOLUME_NOW]
    is_followed = ~is_last & (np.roll(state[_VOLUME_ALL], -1) == seen_after)  # no row is missing before the next one

    def following(feature: int) -> Float:
        """The feature after the tick: of the next state, or of the next row."""
        return np.asarray(np.where(has_next, after[feature], np.roll(state[feature], -1)))

    is_known = (has_next | is_followed) & (following(_VOLUME_ALL) == seen_after)
    # ticks seen before a row: known where no row is missing since the trajectory's first
    begins = is_first | np.append(True, ~is_followed[:-1])
    start = np.maximum.accumulate(np.where(begins, np.arange(n), 0))
    n_seen = np.arange(n) - start
    is_counted = is_known & (is_first & (state[_VOLUME_ALL] == 0))[start]

    def of_tick(feature: int) -> Float:
        mean = (n_seen + 1) * following(feature) - n_seen * state[feature]
        return np.where(is_counted, np.maximum(mean, 0.0), np.nan)

    is_idle, budget = named["action"] == 0, named["budget"]
    wins = np.where(is_idle, 0.0, np.rint(of_tick(_WIN_RATE_ALL) * state[_VOLUME_NOW]))
    left_after = following(_BUDGET_LEFT)
    cost = np.where(is_known, budget * (state[_BUDGET_LEFT] - left_after), np.nan)
    rises = is_known & (cost < -_SLACK * budget)
    if rises.any():
        row = int(np.argmax(rises))
        raise AuctionNetLogError(
            f"the budget left, second in `state`, must not rise, found {left_after[row]} after"
            f" {state[_BUDGET_LEFT, row]} in tick {named['timeStepIndex'][row]:.0f} of {_name(int(keys[row]))}"
        )
    cost = np.where(is_idle & ~is_known, 0.0, np.maximum(cost, 0.0))
    n_contradictions = _add_last_cost(cost, named, state, np.flatnonzero(is_first), np.flatnonzero(is_last))
    return {
        "wins": wins,
        "exposures": np.where(wins == 0, 0.0, np.nan),  # the files do not say how many wins were seen
        "cost": cost,
        "least_winning_cost": of_tick(_LEAST_WINNING_COST_ALL),
    }, n_contradictions


def _add_last_cost(cost: Float, named: dict[str, Float], state: Float, first: Int, last: Int) -> int:
    """Fills in the cost of last rows from `realAllCost`; returns in how many trajectories it contradicts the rest.

    Rows missing in between do not matter: what was paid until the last row is the fall of the budget since the first.
    """
    left = state[_BUDGET_LEFT] * named["budget"]
    rest = named["realAllCost"][last] - (left[first] - left[last])
    slack = _SLACK * named["budget"][last]
    is_sound = (rest >= -slack) & (rest <= left[last] + slack)
    is_whole = state[_VOLUME_ALL, first] == 0  # elsewhere `realAllCost` has the cost of rows before them
    is_asked = np.isnan(cost[last]) & np.isfinite(rest) & is_whole
    cost[last[is_asked & is_sound]] = np.maximum(rest[is_asked & is_sound], 0.0)
    return int((is_asked & ~is_sound).sum())


def _keys(period: Float, advertiser: Float) -> Int:
    """A number for each (period, advertiser), which both have 31 bits."""
    return (period.astype(np.int64) << 31) + advertiser.astype(np.int64)


def _name(key: int) -> str:
    return f"(period {key >> 31}, advertiser {key & (2**31 - 1)})"
