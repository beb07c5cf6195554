"""Logs of bids and of impressions with made-up numbers: a table of bids, iPinYou's files, Criteo's attribution log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from auction_env.data.formats.ipinyou.columns import LAYOUTS

_DAY, _START = 86_400, 1_370_476_800  # seconds; 2013-06-06
_FILLER = (
    "mozilla/5.0 (windows nt 6.1) applewebkit/537.1"  # what the columns that nobody reads hold, about 50 bytes each
)


def write_bids(path: Path, n: int) -> None:
    """Writes a CSV file with a row a bid; half of them win."""
    rng = np.random.default_rng(0)
    columns = {
        "campaign": rng.integers(0, 50, n),
        "time": _START + np.sort(rng.integers(0, 7 * _DAY, n)),
        "bid": rng.uniform(0.1, 1.0, n).round(4),
        "price": pa.array(rng.uniform(0.0, 0.1, n).round(4), mask=rng.random(n) < 0.5),
        "conversions": rng.integers(0, 2, n),
    }
    pyarrow.csv.write_csv(pa.table(columns), path)


def write_ipinyou(folder: Path, n: int) -> None:
    """Writes bid, impression and click logs of a day; half of the bids win, a hundredth of these is clicked."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 2**62, n)
    seconds = np.sort(rng.integers(0, _DAY, n))
    clock_time = seconds // 3600 * 10_000 + seconds // 60 % 60 * 100 + seconds % 60
    columns = {
        "bidid": [f"{number:032x}" for number in ids.tolist()],
        "timestamp": (20130606 * 10**6 + clock_time) * 1000 + 500,
        "creative": rng.integers(7000, 7010, n),
        "bidprice": rng.integers(200, 301, n),
        "payprice": rng.integers(1, 200, n),
        "advertiser": rng.choice([1458, 3358, 3386, 3427, 3476], n),
    }
    bids, events = LAYOUTS["bids"][0].fields, LAYOUTS["events"][0].fields
    won = np.flatnonzero(rng.random(n) < 0.5)
    for kind, fields, rows in (("bid", bids, np.arange(n)), ("imp", events, won), ("clk", events, won[::100])):
        filler = pa.array(np.full(len(rows), _FILLER))
        table = pa.table({name: pa.array(columns[name]).take(rows) if name in columns else filler for name in fields})
        options = pyarrow.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
        pyarrow.csv.write_csv(table, folder / f"{kind}.20130606.txt", options)


def write_criteo(path: Path, n: int) -> None:
    """Writes an uncompressed attribution log of 30 days; a twentieth of the impressions leads to a conversion."""
    rng = np.random.default_rng(0)
    time, is_converted = np.sort(rng.integers(0, 30 * _DAY, n)), rng.random(n) < 0.05
    columns = {
        "timestamp": time,
        "uid": rng.integers(0, 10**7, n),
        "campaign": rng.integers(0, 700, n),
        "conversion": is_converted.astype(np.int64),
        "conversion_timestamp": np.where(is_converted, time + rng.exponential(_DAY, n).astype(np.int64), -1),
        "conversion_id": np.where(is_converted, np.arange(n), -1),
        "attribution": is_converted.astype(np.int64),
        "click": (is_converted | (rng.random(n) < 0.3)).astype(np.int64),
        "click_pos": np.where(is_converted, 0, -1),
        "click_nb": np.where(is_converted, 1, -1),
        "cost": rng.uniform(0.0, 1e-3, n).round(8),
        "cpo": rng.uniform(0.0, 0.5, n).round(8),
        "time_since_last_click": np.full(n, -1),
        **{f"cat{k}": rng.integers(0, 10**7, n) for k in range(1, 10)},
    }
    options = pyarrow.csv.WriteOptions(delimiter="\t", quoting_style="none")
    pyarrow.csv.write_csv(pa.table(columns), path, options)
