"""Imports iPinYou's logs: bids joined with what they brought, summed up to ticks as `vamo import bids` sums them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from auction_env.data.formats.ipinyou.joining import Bucketed, Joined, join_bucket, recorded, write_buckets
from auction_env.data.formats.ipinyou.lines import BLOCK_BYTES, LogBlock, read_blocks
from auction_env.data.formats.ipinyou.logs import IpinyouLog, find_ipinyou_logs
from auction_env.data.formats.sources import import_plan
from auction_env.data.formats.table.bids import added_sums, mean_bids, tick_sums
from auction_env.data.formats.table.kept import kept_table
from auction_env.data.formats.table.trajectories import TableSummary, import_table
from auction_env.data.staging import open_stage
from auction_env.tasks import Task, get_task

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and in all, both of the files as stored."""

PRICE_UNIT = 1000.0  # impressions that the log's prices are for
_BYTES_A_BUCKET, _MOST_BUCKETS = 32 << 20, 512
_COUNTS = b"joined"


class IpinyouSummary(NamedTuple):
    """What an import read and wrote.

    Attributes:
        table: Rows, trajectories, what the log lacks.
        joined: Bids, and lines that the join left out.
        n_left_out: Lines that lack a bid, a time, a price or an advertiser.
        n_free_days: Days of a campaign that paid nothing and have no budget, left out.
    """

    table: TableSummary
    joined: Joined
    n_left_out: int
    n_free_days: int


def import_ipinyou(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    task: str | Task,
    ticks: int = 48,
    constants: Mapping[str, float] | None = None,
    budget_factor: float | None = None,
    force: bool = False,
    progress: Progress | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> IpinyouSummary:
    """Writes iPinYou's logs as a trajectory data set: an episode is a day of an advertiser.

    Raw logs of all seasons (`bid.*`, `imp.*`, `clk.*`, `conv.*`, also `.bz2`), test logs, and the `train.log.txt` and
    `test.log.txt` of make-ipinyou-data. Prices are those of 1,000 impressions in the files and of one in the data set.
    Without bid logs every impression is a won bid and nothing is known of lost ones: the volume is missing. Season 1
    does not say who bids: it is one campaign.

    The join needs disk beside `out`, about as much as the compressed logs, and memory for one bucket of bids. An import
    that was killed goes on, when it is called again with the same arguments and files, behind the last file that was
    read or the last bucket that was joined. The data set has the same bytes as that of an uninterrupted import.

    Args:
        paths: Files, or directories that are searched.
        out: Directory of the data set.
        task: What the campaigns were for.
        ticks: Ticks of a day.
        constants: Columns that are the same for all ticks, such as `budget`; as of `from_table`.
        budget_factor: In place of a constant budget, which the logs do not tell: this times what the campaign paid that
            day, at least 1.
        force: Whether a data set at `out`, or unfinished work with other arguments, is replaced.
        progress: Told after every block how far the reading is.
        block_bytes: Text read at once.

    Raises:
        FileExistsError: `out` holds files (see `auction_env.data.write`), or unfinished work with other arguments.
        FileNotFoundError: A path does not exist, or a directory holds no log.
        TableError: A file is truncated or damaged, or a line breaks a rule; nothing is left at `out`.
        ValueError: Other arguments that do not fit.
    """
    chosen, given = get_task(task), dict(constants or {})
    if ("budget" in given) == (budget_factor is not None):
        raise ValueError("give a `budget` (--constant budget=NUMBER) or `budget_factor` (--budget-factor), one of them")
    if budget_factor is not None and not (np.isfinite(budget_factor) and budget_factor >= 1):
        raise ValueError(f"`budget_factor` must be at least 1, found {budget_factor}")
    if ticks < 1 or block_bytes < 1:
        raise ValueError(f"`ticks` and `block_bytes` must be at least 1, found {ticks} and {block_bytes}")
    logs = find_ipinyou_logs(paths)
    if not any(log.kind in ("bid", "imp") for log in logs):
        raise ValueError("`paths` must name logs of bids or impressions, found clicks and conversions only")
    n_bytes = sum(log.source.n_bytes for log in logs)
    n_buckets = min(max(n_bytes // _BYTES_A_BUCKET, 1), _MOST_BUCKETS)
    plan = import_plan([log.source for log in logs]) | {"ticks": ticks, "constants": given, "task": chosen.to_json()}
    plan |= {"budget_factor": budget_factor, "n_buckets": n_buckets}
    with open_stage(out, plan, force=force, hopeless=(ValueError,)) as stage:
        bucketed = _bucketed(logs, stage.path, n_buckets, block_bytes, progress, n_bytes)
        sums, joined = _joined(bucketed, stage.path, n_buckets, ticks)
        table = mean_bids(sums, logs[0].path)
        if not any(log.kind == "bid" for log in logs):
            table = table.drop_columns(["volume"])
        table, n_free_days = (table, 0) if budget_factor is None else _with_budgets(table, budget_factor)
        n_left_out = sum(log.n_left_out for log in bucketed)
        noted = {"source": "iPinYou", "files": [str(log.path) for log in logs], "joined": joined._asdict()}
        summary = import_table(
            table, out, task=chosen, ticks=ticks, constants=given, force=force,
            metadata=noted | {"n_lines_left_out": n_left_out},
        )  # fmt: skip
    return IpinyouSummary(summary, joined, n_left_out, n_free_days)


def _bucketed(
    logs: Sequence[IpinyouLog], folder: Path, n_buckets: int, block_bytes: int, progress: Progress | None, n_bytes: int
) -> list[Bucketed]:
    """All logs in buckets."""
    out, n_before = list[Bucketed](), 0
    for number, log in enumerate(logs):
        blocks = _told(read_blocks(log, block_bytes), n_before, n_bytes, progress)
        out.append(write_buckets(log, blocks, folder / f"log-{number:05d}.arrow", n_buckets))
        n_before += log.source.n_bytes
        if progress is not None:
            progress(n_before, n_bytes)
    return out


def _told(blocks: Iterator[LogBlock], n_before: int, n_bytes: int, progress: Progress | None) -> Iterator[LogBlock]:
    for block in blocks:
        yield block
        if progress is not None:
            progress(n_before + block.n_bytes, n_bytes)


def _joined(logs: Sequence[Bucketed], folder: Path, n_buckets: int, ticks: int) -> tuple[pa.Table, Joined]:
    """The sums of all buckets, and what became of their lines."""
    amounts, total, parts = recorded(logs), Joined(0, 0, 0), list[pa.Table]()
    for bucket in range(n_buckets):
        part = kept_table(folder / f"sums-{bucket:05d}.arrow", partial(_bucket_sums, logs, bucket, n_buckets, ticks))
        total = total.plus(Joined(**json.loads(part.schema.metadata[_COUNTS])))
        parts.append(part.replace_schema_metadata(None))
    return added_sums(parts, amounts), total


def _bucket_sums(logs: Sequence[Bucketed], bucket: int, n_buckets: int, ticks: int) -> pa.Table:
    block, counts = join_bucket(logs, bucket, n_buckets)
    sums = tick_sums(block, ticks, PRICE_UNIT)
    return sums.replace_schema_metadata({_COUNTS: json.dumps(counts._asdict()).encode()})


def _with_budgets(table: pa.Table, factor: float) -> tuple[pa.Table, int]:
    """The table with budgets, without the days of campaigns that paid nothing, and the number of these."""
    days = table.group_by(["campaign", "period"], use_threads=False).aggregate([("cost", "sum")])
    is_free = pc.less_equal(days.column("cost_sum"), 0.0)
    budgets = days.append_column("budget", pc.multiply(days.column("cost_sum"), factor)).filter(pc.invert(is_free))
    n_free = int(pc.sum(is_free).as_py() or 0)
    if n_free == days.num_rows:
        raise ValueError("`budget_factor` must have costs to multiply, found no bid that was paid: give a `budget`")
    joined: Any = table.join(
        budgets.select(["campaign", "period", "budget"]), ["campaign", "period"], join_type="inner"
    )
    return joined, n_free
