"""Logs summed up by campaign and tick in pandas, as one writes it with merges and group-bys."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from auction_env.data.formats.ipinyou.columns import LAYOUTS

_DAY = 86_400


def bids_pandas(path: Path, n_ticks: int = 48) -> pd.DataFrame:
    """Sums of single bids; `sum_bids` is timed against it."""
    rows = pd.read_csv(path)
    return _sums(rows.rename(columns={"campaign": "advertiser"}), n_ticks, ["conversions"])


def ipinyou_pandas(folder: Path, n_ticks: int = 48) -> pd.DataFrame:
    """Bids joined with impressions and clicks, and their sums; `import_ipinyou` is timed against it."""
    frames = {}
    for kind, of in (("bid", "bids"), ("imp", "events"), ("clk", "events")):
        fields = list(LAYOUTS[of][0].fields)  # type: ignore[index]
        used = [
            name for name in ("bidid", "creative", "timestamp", "bidprice", "payprice", "advertiser") if name in fields
        ]
        path = folder / f"{kind}.20130606.txt"
        frames[kind] = pd.read_csv(path, sep="\t", names=fields, usecols=used, dtype={"bidid": str, "creative": str})
    key = ["bidid", "creative"]
    shown = frames["imp"].drop_duplicates(key)[[*key, "payprice"]]
    clicked = frames["clk"].drop_duplicates(key)[key].assign(clicks=1)
    rows = frames["bid"].drop_duplicates(key).merge(shown, on=key, how="left").merge(clicked, on=key, how="left")
    time = pd.to_datetime((rows["timestamp"] // 1000).astype(str), format="%Y%m%d%H%M%S")
    seconds = (time - pd.Timestamp(0)) // pd.Timedelta(seconds=1)
    rows = rows.assign(time=seconds, bid=rows["bidprice"] / 1000, price=rows["payprice"] / 1000)
    return _sums(rows.fillna({"clicks": 0}), n_ticks, ["clicks"])


def criteo_pandas(path: Path, n_ticks: int = 48) -> pd.DataFrame:
    """Sums of an attribution log, and the delays of its conversions; `import_criteo` is timed against it."""
    rows = pd.read_csv(path, sep="\t")
    is_last = (rows["click"] == 1) & (rows["click_pos"] == rows["click_nb"] - 1) & (rows["conversion"] == 1)
    delays = (rows["conversion_timestamp"] - rows["timestamp"])[is_last]
    own = rows.assign(
        period=rows["timestamp"] // _DAY,
        tick=rows["timestamp"] % _DAY * n_ticks // _DAY,
        impressions=1,
        conversions=(is_last & (rows["attribution"] == 1)).astype(int),
        delay=delays.mean(),
    )
    amounts = ["impressions", "click", "conversions", "cost", "cpo"]
    return own.groupby(["campaign", "period", "tick"])[amounts].sum().reset_index()


def _sums(rows: pd.DataFrame, n_ticks: int, amounts: list[str]) -> pd.DataFrame:
    own = rows.assign(period=rows["time"] // _DAY, tick=rows["time"] % _DAY * n_ticks // _DAY)
    groups = own.groupby(["advertiser", "period", "tick"])
    sums = groups.agg(
        bid=("bid", "mean"), volume=("bid", "size"), impressions=("price", "count"), cost=("price", "sum")
    )
    return sums.join(groups[amounts].sum()).reset_index()
