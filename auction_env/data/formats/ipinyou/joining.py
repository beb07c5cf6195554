"""Joins bids with their impressions, clicks and conversions, in bounded memory: by buckets of bids on disk.

A line belongs to a bid by its `bidid` and its `creative`, as in make-ipinyou-data: several creatives may bid at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
from numpy.typing import NDArray

from auction_env.data.formats.ipinyou.columns import SEASON_1, Kind
from auction_env.data.formats.ipinyou.lines import LogBlock
from auction_env.data.formats.ipinyou.logs import IpinyouLog
from auction_env.data.formats.table.bids import DIGITS, seconds_of
from auction_env.files import write_atomically, written_whole

Int = NDArray[np.int64]

_SCHEMA = pa.schema(
    {
        "key": pa.string(), "campaign": pa.string(), "time": pa.int64(), "bid": pa.float64(), "price": pa.float64(),
        "clicks": pa.float64(), "conversions": pa.float64(),
    }
)  # fmt: skip
_ROWS_AT_ONCE = 1 << 19  # of a log, before they are split into buckets
_HASHED_BYTES, _PRIME = 8, np.uint64(0x100000001B3)


class Bucketed(NamedTuple):
    """A log that lies on disk in buckets.

    Attributes:
        path: Arrow file of batches: those of the first rows bucket by bucket, then those of the next rows, and so on.
        kind: What it has a row for.
        has_clicks, has_conversions: Whether its rows tell of them.
        n_rows: Rows of the file.
        n_left_out: Lines of the log that lack a bid, a time, a price or an advertiser.
    """

    path: Path
    kind: Kind
    has_clicks: bool
    has_conversions: bool
    n_rows: int
    n_left_out: int


class Joined(NamedTuple):
    """What became of the lines of a bucket, or of all.

    Attributes:
        n_bids: Bids, or impressions where there are no bid logs.
        n_twice: Bids and impressions that are there again, and left out.
        n_strays: Impressions without their bid, and clicks and conversions without their impression, left out.
    """

    n_bids: int
    n_twice: int
    n_strays: int

    def plus(self, other: Joined) -> Joined:
        """The counts of both."""
        return Joined(*(a + b for a, b in zip(self, other, strict=True)))


def write_buckets(log: IpinyouLog, blocks: Iterator[LogBlock], path: Path, n_buckets: int) -> Bucketed:
    """Writes a log's rows into buckets, or finds those that an earlier call has written.

    Args:
        log: The log.
        blocks: Its lines.
        path: The file; a record of what it holds is written beside it, after it.
        n_buckets: Number of buckets.
    """
    used, record = log.layout.used, path.with_suffix(".json")
    described: dict[str, Any] = {
        "kind": log.kind,
        "has_clicks": "click" in used or "nclick" in used,
        "has_conversions": "nconversation" in used,
    }
    try:
        counts = json.loads(record.read_text(encoding="utf-8"))
        return Bucketed(path, **described, n_rows=counts["n_rows"], n_left_out=counts["n_left_out"])
    except (OSError, ValueError, KeyError, TypeError):  # none yet
        pass
    n_rows = n_left_out = 0
    options = pyarrow.ipc.IpcWriteOptions(compression="lz4")
    with written_whole(path) as temporary, pyarrow.ipc.new_file(str(temporary), _SCHEMA, options=options) as writer:
        for n_lines, rows in _gathered(log, blocks):
            for batch in _split(rows, n_buckets):
                writer.write_batch(batch)
            n_rows += rows.num_rows
            n_left_out += n_lines - rows.num_rows
    write_atomically(record, json.dumps({"n_rows": n_rows, "n_left_out": n_left_out}).encode())
    return Bucketed(path, **described, n_rows=n_rows, n_left_out=n_left_out)


def _gathered(log: IpinyouLog, blocks: Iterator[LogBlock]) -> Iterator[tuple[int, pa.Table]]:
    """Numbers of lines, and the sound rows of so many lines."""
    held, n_lines, n_rows = list[pa.Table](), 0, 0
    for block in blocks:
        held.append(_rows(log, block.columns))
        n_lines += block.columns.num_rows
        n_rows += held[-1].num_rows
        if n_rows >= _ROWS_AT_ONCE:
            yield n_lines, pa.concat_tables(held)
            held, n_lines, n_rows = [], 0, 0
    if n_lines:
        yield n_lines, pa.concat_tables(held)


def _rows(log: IpinyouLog, columns: pa.Table) -> pa.Table:
    """The rows of a block in the schema of the buckets; lines without what their kind needs are left out."""
    of_kind = {"bid": ("bidprice", "advertiser"), "imp": ("bidprice", "payprice", "advertiser")}.get(log.kind, ())
    mask = columns.column("bidid").is_valid()
    for name in ("timestamp", *(name for name in of_kind if name in columns.column_names)):
        mask = pc.and_(mask, columns.column(name).is_valid())
    kept, n = columns.filter(mask), int(pc.sum(mask).as_py() or 0)

    def of(name: str, otherwise: Any, dtype: pa.DataType) -> Any:
        return kept.column(name) if name in kept.column_names else pa.array([otherwise] * n, dtype)

    creative = pc.fill_null(of("creative", "", pa.string()), "")
    clicks = of("nclick", 0.0, pa.float64()) if "nclick" in kept.column_names else of("click", 0.0, pa.float64())
    rows = {
        "key": pc.binary_join_element_wise(creative, kept.column("bidid"), "-"),
        "campaign": of("advertiser", SEASON_1, pa.string()),
        "time": seconds_of(kept.column("timestamp").to_numpy(), DIGITS),
        "bid": of("bidprice", None, pa.float64()),
        "price": of("payprice", None, pa.float64()),
        "clicks": _flags(clicks),
        "conversions": _flags(of("nconversation", 0.0, pa.float64())),
    }
    return pa.table(rows, schema=_SCHEMA)


def _flags(counts: Any) -> Any:
    """1 where there is at least one, 0 elsewhere."""
    return pc.greater(pc.fill_null(counts, 0.0), 0.0).cast(pa.float64())


def _split(rows: pa.Table, n_buckets: int) -> Iterator[pa.RecordBatch]:
    """The rows of each bucket, in turn."""
    bucket = bucket_of(rows.column("key"), n_buckets)
    order = np.argsort(bucket, kind="stable")
    ordered = rows.take(pa.array(order)).combine_chunks()
    ends = np.searchsorted(bucket[order], np.arange(n_buckets + 1))
    for first, last in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        batches = ordered.slice(first, last - first).to_batches()
        yield batches[0] if batches else pa.RecordBatch.from_pylist([], schema=_SCHEMA)


def bucket_of(keys: pa.ChunkedArray, n_buckets: int) -> Int:
    """(n,) bucket of each text, from 0: a hash of its last bytes (FNV-1), the same on every machine."""
    array = keys.cast(pa.large_binary()).combine_chunks()
    ends = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(array.buffers()[2], np.uint8) if ends[-1] > 0 else np.zeros(1, np.uint8)
    hashed = np.zeros(len(array), np.uint64)
    for back in range(1, _HASHED_BYTES + 1):
        place = np.maximum(ends[1:] - back, ends[:-1])
        hashed = (hashed * _PRIME) ^ data[place]
    return (hashed % np.uint64(n_buckets)).astype(np.int64)


def join_bucket(logs: Sequence[Bucketed], bucket: int, n_buckets: int) -> tuple[dict[str, Any], Joined]:
    """The bids of a bucket, as `tick_sums` takes them: those of the bid logs, or the impressions without such.

    Clicks and conversions count once a bid; those of a bid without an impression are strays, as are impressions
    without a bid. What is there twice counts once: the first in the order of the logs.
    """
    rows = {kind: _bucket(logs, kind, bucket, n_buckets) for kind in ("bid", "imp", "clk", "conv")}
    has_bids = any(log.kind == "bid" for log in logs)
    ends = np.cumsum([0, *(table.num_rows for table in rows.values())])
    keys = pa.chunked_array([chunk for table in rows.values() for chunk in table.column("key").chunks], pa.string())
    every = keys.combine_chunks().dictionary_encode()
    codes_of_all = np.asarray(every.indices.to_numpy(zero_copy_only=False), np.int64)
    n_codes = len(every.dictionary)
    codes = {kind: codes_of_all[ends[k] : ends[k + 1]] for k, kind in enumerate(rows)}
    base: Kind = "bid" if has_bids else "imp"
    first, n_twice = _first(codes[base])
    shown, n_again = _first(codes["imp"])
    n_twice += n_again if has_bids else 0
    price, flags = np.full(n_codes, np.nan), np.zeros((2, n_codes))
    price[codes["imp"][shown]] = rows["imp"].column("price").to_numpy()[shown]
    np.maximum.at(flags[0], codes["imp"], rows["imp"].column("clicks").to_numpy())
    np.maximum.at(flags[1], codes["imp"], rows["imp"].column("conversions").to_numpy())
    flags[0, codes["clk"]], flags[1, codes["conv"]] = 1.0, 1.0
    own = codes[base][first]
    is_bid = np.zeros(n_codes, bool)
    is_bid[own] = True
    n_strays = int((~is_bid[codes["imp"][shown]]).sum())
    n_strays += sum(int(np.isnan(price[codes[kind]]).sum()) for kind in ("clk", "conv"))
    paid = price[own]
    is_lost = np.isnan(paid)
    table = rows[base].take(pa.array(first))
    block = {
        "campaign": table.column("campaign"),
        "time": table.column("time").to_numpy(),
        "bid": table.column("bid"),
        "price": pa.array(paid, mask=is_lost),
    }
    for name, values in (("clicks", flags[0]), ("conversions", flags[1])):
        if name in recorded(logs):
            block[name] = pa.array(np.where(is_lost, 0.0, values[own]))
    return block, Joined(len(first), n_twice, n_strays)


def recorded(logs: Sequence[Bucketed]) -> tuple[str, ...]:
    """Of clicks and conversions, those that the logs tell of."""
    tells: Mapping[str, bool] = {
        "clicks": any(log.kind == "clk" or log.has_clicks for log in logs),
        "conversions": any(log.kind == "conv" or log.has_conversions for log in logs),
    }
    return tuple(name for name, is_told in tells.items() if is_told)


def _bucket(logs: Sequence[Bucketed], kind: str, bucket: int, n_buckets: int) -> pa.Table:
    """The rows of a bucket of all logs of a kind."""
    batches = list[pa.RecordBatch]()
    for log in logs:
        if log.kind == kind:
            with pa.OSFile(str(log.path), "rb") as source, pa.ipc.open_file(source) as reader:
                batches += [reader.get_batch(k) for k in range(bucket, reader.num_record_batches, n_buckets)]
    return pa.Table.from_batches(batches, _SCHEMA)


def _first(codes: Int) -> tuple[Int, int]:
    """The first place of each code, ascending, and the number of the other places."""
    places = np.sort(np.unique(codes, return_index=True)[1])
    return places, len(codes) - len(places)
