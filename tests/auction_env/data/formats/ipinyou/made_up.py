"""Made-up logs in iPinYou's formats: the lines of all kinds of files, from one frame of bids."""

from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np
import pandas as pd

from auction_env.data.formats.ipinyou.columns import LAYOUTS

BIDS, BIDS_1 = (layout.fields for layout in LAYOUTS["bids"])
EVENTS, EVENTS_1, TEST, TRAIN_LOG, TEST_LOG = (layout.fields for layout in LAYOUTS["events"])


def bids(n: int = 600, *, day: str = "2013-06-06", seed: int = 0) -> pd.DataFrame:
    """Bids of three advertisers in a day, some of two creatives on one request; half of them win, some are clicked."""
    rng = np.random.default_rng(seed)
    won = rng.random(n) < 0.5
    frame = pd.DataFrame(
        {
            "bidid": [f"{number:032x}" for number in rng.integers(0, 2**62, n)],
            "creative": rng.choice(["7323", "null", "b90c12ed2bd7950c6027bf9c6937c48a"], n),
            "time": pd.Timestamp(day) + pd.to_timedelta(rng.integers(0, 86_400, n), unit="s"),
            "advertiser": rng.choice([1458, 3358, 3476], n),
            "bidprice": rng.integers(200, 301, n),
            "payprice": np.where(won, rng.integers(1, 200, n), -1),
            "click": won & (rng.random(n) < 0.2),
            "conv": won & (rng.random(n) < 0.05),
        }
    )
    frame.loc[1, "bidid"] = frame.loc[0, "bidid"]  # one request, two creatives
    frame.loc[:1, "creative"] = ["7323", "7324"]
    return frame


def lines(frame: pd.DataFrame, fields: tuple[str, ...]) -> list[str]:
    """The lines of some rows; what is not used holds what such files hold: quotes, spaces, null and 255."""
    filler = dict.fromkeys(fields, "null") | {
        "useragent": 'mozilla/5.0 (compatible; "msie" 9.0,,', "slotvisibility": "255", "url": "ün/ïcode",
        "logtype": "1", "slotprice": "5", "hour": "0", "weekday": "4",
    }  # fmt: skip
    own = frame.assign(
        timestamp=frame.time.dt.strftime("%Y%m%d%H%M%S") + "170",
        nclick=frame.click.astype(int) * 2,
        nconversation=frame.conv.astype(int),
        click=frame.click.astype(int),
    )
    return ["\t".join(str(row.get(name, filler[name])) for name in fields) for row in own.to_dict("records")]


def write(path: Path, frame: pd.DataFrame, fields: tuple[str, ...], *, header: bool = False) -> Path:
    """Writes a file, compressed if its name says so."""
    text = "\n".join((["\t".join(fields)] if header else []) + lines(frame, fields)) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bz2.compress(text.encode()) if path.suffix == ".bz2" else text.encode())
    return path


def write_day(folder: Path, frame: pd.DataFrame, *, day: str = "20130606", season_1: bool = False) -> Path:
    """The four raw logs of a day."""
    of_bids, of_events = (BIDS_1, EVENTS_1) if season_1 else (BIDS, EVENTS)
    won = frame[frame.payprice >= 0]
    late = won.assign(time=won.time + pd.Timedelta(seconds=40))  # what a bid brings comes later
    for kind, rows, fields in (
        ("bid", frame, of_bids),
        ("imp", late, of_events),
        ("clk", late[late.click], of_events),
        ("conv", late[late.conv], of_events),
    ):
        write(folder / f"{kind}.{day}.txt.bz2", rows, fields)
    return folder


def sums(frame: pd.DataFrame, ticks: int = 48) -> pd.DataFrame:
    """What the bids come to by advertiser and tick, by group-bys; money is per impression."""
    second = (frame.time - frame.time.dt.normalize()).dt.total_seconds()
    key = [
        frame.advertiser.rename("campaign"),
        (frame.time.dt.normalize() - pd.Timestamp(0)).dt.days.rename("period"),
        (second * ticks // 86_400).astype(int).rename("tick"),
    ]
    own = frame.assign(price=frame.payprice.where(frame.payprice >= 0) / 1000, bid=frame.bidprice / 1000)
    groups = own.groupby(key, sort=True)
    out = groups.agg(bid=("bid", "sum"), n=("bid", "size"), wins=("price", "count"), cost=("price", "sum"))
    return out.assign(clicks=groups.click.sum(), conversions=groups.conv.sum()).reset_index()
