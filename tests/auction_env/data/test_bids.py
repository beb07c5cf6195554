"""Logs of single bids: sums by tick whatever the blocks and files, units and times; bad cells."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from auction_env.data import TableError, from_table, import_bids
from auction_env.data.formats.table import sums
from auction_env.data.formats.table.bids import sum_bids
from auction_env.tasks import Task

CONSTANTS = {"budget": 1e3, "cpa_target": 5.0}


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


def summed(frame: pd.DataFrame, ticks: int) -> pd.DataFrame:
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
    frame, expected = log(), summed(log(), 24)
    frame.iloc[:150].to_csv(tmp_path / "1.csv", index=False)
    frame.iloc[150:].to_parquet(tmp_path / "2.parquet")
    monkeypatch.setattr(sums, "ROWS_HELD", 10)
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
    pd.testing.assert_frame_equal(in_order(found), summed(frame, 48), check_dtype=False)


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
        ({"price": ["1", "x", "2"]}, "row 2: `price` must be a number, found 'x'"),
        ({"time": ["2026-01-05", "2026-01-05", "noon"]}, r"row 3: `time` must be a time \(.*\), found 'noon'"),
    ],
)
def test_bad_cells_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    log(3).assign(**changes).to_csv(tmp_path / "log.csv", index=False)
    with pytest.raises(TableError, match=message):
        sum_bids(tmp_path / "log.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.csv.gz", gzip.compress(log().to_csv().encode())[:-400], "truncated or damaged: must be a whole .gz file"),
        ("log.csv.gz", log().to_csv().encode(), "must be a gzip file, as its name says, found bytes b',cam'"),
        ("log.csv", log().to_csv(index=False).encode("utf-16"), "must be text in UTF-8"),
        ("log.csv", log(9).assign(campaign="é").to_csv().encode("latin-1"), "row 1: `campaign` must be text in UTF-8"),
        ("log.parquet", b"PAR1" + bytes(40), "truncated or damaged: must be a whole Parquet file"),
    ],
)
def test_damaged_files_are_named_and_leave_nothing(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=message):
        import_bids(tmp_path / name, tmp_path / "set", task="MaxConversions", constants=CONSTANTS)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_killed_import_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{part}.csv" for part in range(3)]
    for part, path in enumerate(paths):
        log().iloc[part::3].to_csv(path, index=False)
    asked: dict[str, Any] = {"task": Task(name="clicks", objective="clicks"), "constants": CONSTANTS}
    import_bids(paths, tmp_path / "whole", **asked)
    told = list[int]()

    def dying(n: int) -> None:
        told.append(n)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_bids(paths, tmp_path / "set", **asked, progress=dying)
    assert not (tmp_path / "set").exists()
    with pytest.raises(FileExistsError, match=r"unfinished work with other arguments .`ticks` differs"):
        import_bids(paths, tmp_path / "set", **asked, ticks=24)
    import_bids(paths, tmp_path / "set", **asked, progress=told.append)
    assert len(told) == 4  # the last file alone is read again
    whole, again = (next((tmp_path / name).glob("*.parquet")).read_bytes() for name in ("whole", "set"))
    assert whole == again and sorted(path.name for path in tmp_path.iterdir())[-2:] == ["set", "whole"]


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
