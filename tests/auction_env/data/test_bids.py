"""Logs of single bids: sums by tick whatever the blocks and files, units and times; bad cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from auction_env.data import TableError, from_table
from auction_env.data.formats.table import bids
from auction_env.data.formats.table.bids import sum_bids


def log(n: int = 400) -> pd.DataFrame:
    """Bids of three campaigns over two days, in any order; half of them win."""
    rng = np.random.default_rng(0)
    won = rng.random(n) < 0.5
    return pd.DataFrame(
        {
            "campaign": rng.choice(["a", "b", "NA"], n),
            "time": pd.Timestamp("2026-01-05") + pd.to_timedelta(rng.integers(0, 2 * 86_400, n), unit="s"),
            "bid": rng.uniform(1.0, 3.0, n),
            "price": np.where(won, rng.uniform(0.1, 1.0, n), np.nan),
            "clicks": np.where(won, rng.integers(0, 2, n), np.nan),
        }
    )


def sums(frame: pd.DataFrame, ticks: int) -> pd.DataFrame:
    """What the bids come to, by group-bys."""
    second = (frame.time - frame.time.dt.normalize()).dt.total_seconds()
    key = [frame.campaign, (frame.time.dt.normalize() - pd.Timestamp(0)).dt.days.rename("period"),
           (second * ticks // 86_400).astype(int).rename("tick")]  # fmt: skip
    groups = frame.groupby(key, sort=True)
    out = groups.agg(bid=("bid", "mean"), volume=("bid", "size"), impressions=("price", "count"), cost=("price", "sum"))
    return out.assign(clicks=groups.clicks.sum()).reset_index()


def in_order(table: Any) -> pd.DataFrame:
    return table.to_pandas().sort_values(["campaign", "period", "tick"], ignore_index=True)


def test_bids_are_summed_whatever_the_files_and_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, expected = log(), sums(log(), 24)
    frame.iloc[:150].to_csv(tmp_path / "1.csv", index=False)
    frame.iloc[150:].to_parquet(tmp_path / "2.parquet")
    monkeypatch.setattr(bids, "_ROWS_HELD", 10)
    told = list[int]()
    found = sum_bids([tmp_path / "1.csv", tmp_path / "2.parquet"], ticks=24, progress=told.append)
    pd.testing.assert_frame_equal(in_order(found), expected, check_dtype=False)
    assert sum(told) == len(frame)
    trajectories = from_table(
        found, task="MaxClicks", ticks=24, constants={"budget": 1e3, "cpa_target": 5.0, "cpc_target": 1.0}
    )
    assert (
        trajectories.cost.sum() == pytest.approx(frame.price.sum()) and trajectories.wins.sum() == frame.price.count()
    )
    assert trajectories.metadata["campaigns"] == ["NA", "a", "b"]


@pytest.mark.parametrize("unit", ["s", "ms", "yyyyMMddHHmmssSSS"])
def test_units_of_time_and_price(tmp_path: Path, unit: Any) -> None:
    frame = log().assign(campaign=lambda rows: rows.campaign.map({"a": 10, "b": 9, "NA": 2}))
    seconds = (frame.time - pd.Timestamp(0)) // pd.Timedelta(seconds=1)
    times = {"s": seconds, "ms": seconds * 1000 + 999, "yyyyMMddHHmmssSSS": frame.time.dt.strftime("%Y%m%d%H%M%S123")}
    cpm = frame.assign(time=times[unit], bid=frame.bid * 1000, price=frame.price * 1000)
    cpm.rename(columns={"time": "at", "price": "payprice"}).to_csv(tmp_path / "log.tsv", sep="\t", index=False)
    found = sum_bids(tmp_path / "log.tsv", mapping={"time": "at", "price": "payprice"}, time_unit=unit, price_unit=1000)
    pd.testing.assert_frame_equal(in_order(found), sums(frame, 48), check_dtype=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"bid": [1.0, -2.0, np.nan]},
            r"2 problems:\n.*row 2: `bid` must be a number that is .*, found -2\n.*row 3: `bid`",
        ),
        (
            {"price": [-1.0, 1.0, 1.0]},
            "row 1: `price` must be a number .* found -1; leave the price of a lost bid empty",
        ),
        ({"campaign": ["a", "", "b"]}, "row 2: `campaign` must not be empty"),
        ({"price": ["1", "x", "2"]}, "whole CSV file.*'x'"),
        ({"time": ["2026-01-05", "noon", "2026-01-05"]}, "whole CSV file.*'noon'"),
    ],
)
def test_bad_cells_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    log(3).assign(**changes).to_csv(tmp_path / "log.csv", index=False)
    with pytest.raises(TableError, match=message):
        sum_bids(tmp_path / "log.csv")


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    log(3).rename(columns={"price": "payprice"}).to_csv(tmp_path / "log.csv", index=False)
    with pytest.raises(TableError, match=r"`price` must be a column, .*nearest: payprice: --map price=YOURS"):
        sum_bids(tmp_path / "log.csv")
    with pytest.raises(ValueError, match="`price_unit` must be positive, found 0"):
        sum_bids(tmp_path / "log.csv", price_unit=0)
    with pytest.raises(ValueError, match="`time_unit` must be one of"):
        sum_bids(tmp_path / "log.csv", time_unit="hours")  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="must be a file"):
        sum_bids(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("campaign,time,bid,price\n")
    with pytest.raises(TableError, match="must have rows, found none"):
        sum_bids(tmp_path / "empty.csv")
