"""Tables of a user's own: what becomes of each column, what is missing, and every problem with its row and column."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from agents import NoisyBidder, PidBidder, collect
from auction_env import TASKS, Funnel, MarketParams, data
from auction_env.data import TableError, TrajectoryData, from_table
from auction_env.data.formats.table import trajectories
from auction_env.tasks import BASES

EXACT = [name for name in data.COLUMN_NAMES if name not in ("seed", "policy", "done")]


@pytest.fixture(scope="module")
def log() -> TrajectoryData:
    params = MarketParams(n_impressions=480, funnel=Funnel())
    days = collect(NoisyBidder(PidBidder()), seeds=range(2), task=TASKS["TargetCPA"], params=params)
    return TrajectoryData.concat(list(days))


def table_of(log: TrajectoryData) -> dict[str, Any]:
    """All that a table can say of a simulated log."""
    names = ("tick", "period", "category", "budget", "cost", "wins", "conversions", "clicks", "add_to_carts")
    targets = ("cpa_target", "cpc_target", "cart_cost_target", "roas_target", "least_winning_cost")
    predicted = [f"{kind}_{basis}" for kind in ("offered", "expected") for basis in BASES]
    table = {name: log[name] for name in (*names, *targets, *predicted)}
    mean_bid = log.bid / np.maximum(log.n_impressions, 1)
    own = {"campaign": log.advertiser, "bid": mean_bid, "volume": log.n_impressions, "impressions": log.exposures}
    return table | own | {"value": log.gmv}


HEADER = "campaign,tick,bid,cost,volume,impressions,conversions,budget"
OWN = ("campaign", "period", "tick", "bid", "cost", "volume", "impressions", "conversions", "budget", "cpa_target")
"""What an advertiser's own log has."""


def small(**changes: Any) -> dict[str, Any]:
    """Two campaigns of two ticks."""
    table = {
        "campaign": ["b", "b", "a", "a"],
        "tick": [0, 1, 0, 1],
        "bid": [1.0, 2.0, 1.0, 1.0],
        "cost": [3.0, 4.0, 0.0, 5.0],
        "volume": [10, 10, 20, 20],
        "impressions": [5, 6, 0, 7],
        "conversions": [1, 0, 0, 2],
        "budget": [9.0, 9.0, 8.0, 8.0],
    }
    return {name: column for name, column in {**table, **changes}.items() if column is not None}


def test_a_full_table_gives_the_simulated_log_back_in_any_order(log: TrajectoryData) -> None:
    table = table_of(log)
    order = np.random.default_rng(0).permutation(len(log))
    found = from_table({name: np.asarray(column)[order] for name, column in table.items()}, task="TargetCPA")
    assert found.missing == ()
    for name in EXACT:
        np.testing.assert_allclose(found[name], log[name], rtol=1e-9, atol=1e-9, err_msg=name)
    assert (found.seed == -1).all() and found.tasks == (TASKS["TargetCPA"],)
    starts = found.episode_starts
    assert found.done[starts[1:] - 1].all() and not found.done[starts[:-1]].all()


def test_what_a_log_lacks_is_missing_and_all_else_is_exact(log: TrajectoryData, tmp_path: Path) -> None:
    full = table_of(log)
    found = from_table({name: full[name] for name in OWN} | {"spare": log.cost}, task="TargetCPA")
    assert {"action", "offered_conversions", "expected_conversions", "least_winning_cost"} < set(found.missing)
    assert "feature_value_now" in found.missing and "feature_bid_all" not in found.missing
    unrecorded = {"wins", "category", "feature_win_rate_all", "feature_win_rate_last_3"}
    unrecorded |= {name for name in data.COLUMN_NAMES if name in data.schema.UNRECORDED}
    for name in set(EXACT) - set(found.missing) - unrecorded:
        np.testing.assert_allclose(found[name], log[name], rtol=1e-9, atol=1e-9, err_msg=name)
    bids = found.bid > 0
    assert np.isnan(found.action[bids]).all() and (found.action[~bids] == 0).all()  # no bid is no bid
    np.testing.assert_array_equal(found.wins, found.exposures)
    data.write(tmp_path / "set", found)
    assert data.check(tmp_path / "set") == []
    for mmap in (False, True):
        back = data.load(tmp_path / "set", mmap=mmap)
        np.testing.assert_array_equal(back.observation, found.observation)
        assert back.missing == found.missing and back.select([0]).missing == found.missing
    assert TrajectoryData.concat([found.select([0]), found.select([1])]).missing == found.missing
    with pytest.raises(ValueError, match=r"`least_winning_cost` must be recorded, needed for a plot, found missing"):
        data.require(found, ["cost", "least_winning_cost"], "a plot")
    data.require(found, ["cost"], "a plot")


def test_a_hole_that_the_metadata_do_not_name_is_refused(log: TrajectoryData) -> None:
    found = from_table({name: table_of(log)[name] for name in OWN}, task="TargetCPA")
    columns = {name: found[name] for name in data.COLUMN_NAMES}
    arguments = {"tasks": found.tasks, "labels": found.labels}
    with pytest.raises(ValueError, match="must hold finite numbers, found nan; NaN only in columns that `metadata`"):
        TrajectoryData.from_columns(columns, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"must name columns that a log may lack, .*'budget'"):
        TrajectoryData.from_columns(columns, metadata={"missing": ["budget"]}, **arguments)  # type: ignore[arg-type]


def test_multipliers_are_actions_and_tell_the_predictions(log: TrajectoryData) -> None:
    full = table_of(log)
    given = {name: full[name] for name in OWN} | {"multiplier": log.action}
    found = from_table(given, task="TargetCPA")
    np.testing.assert_array_equal(found.action, log.action)
    bids = log.action > 0
    np.testing.assert_allclose(found.offered_conversions[bids], log.offered_conversions[bids])
    assert "offered_conversions" in found.missing and np.isnan(found.offered_conversions[~bids]).all()
    alone = from_table({name: column for name, column in given.items() if name != "bid"}, task="TargetCPA")
    assert "bid" in alone.missing and "action" not in alone.missing


class Stream:
    """What polars and others have: Arrow's C stream and nothing else."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def test_every_kind_of_table_is_read_alike(tmp_path: Path) -> None:
    expected = from_table(small(), task="MaxConversions", ticks=2)
    table = pa.table(small())
    pq.write_table(table, tmp_path / "t.parquet")
    pa.csv.write_csv(table, tmp_path / "t.csv")
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes().replace(b",", b"\t")))
    halves = [table.slice(0, 3), pd.DataFrame(small()).iloc[3:]]
    files = [tmp_path / name for name in ("t.parquet", "t.csv", "t.tsv.gz")]
    for frame in (table, pd.DataFrame(small()), Stream(table), halves, *files, str(files[0])):
        found = from_table(frame, task="MaxConversions", ticks=2)
        for name in data.COLUMN_NAMES:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert expected.metadata["campaigns"] == ["a", "b"]
    assert expected.advertiser.tolist() == [0, 0, 1, 1] and expected.budget_left.tolist() == [8, 8, 9, 6]
    assert expected.metadata["derived_targets"] == {"cpa_target": 4.0}  # 12 of cost, 3 conversions


def test_times_become_days_and_ticks() -> None:
    times = pd.to_datetime(["1970-01-02 00:00:00", "1970-01-02 23:59:59", "1970-01-03 11:59:59", "1970-01-03 12:00:00"])
    for index in (times, times.tz_localize("Asia/Kolkata")):
        found = from_table(
            small(time=index, tick=None, campaign=[1] * 4, budget=[20.0] * 4), task="MaxConversions", ticks=2
        )
        assert found.period.tolist() == [1, 1, 2, 2] and found.tick.tolist() == [0, 1, 0, 1]


def test_names_and_constants() -> None:
    renamed = small(cost=None, budget=None) | {"spend": small()["cost"]}
    found = from_table(
        renamed, task="TargetCPA", ticks=2, mapping={"cost": "spend"}, constants={"budget": 9, "cpa_target": 2}
    )
    assert found.cost.sum() == 12 and (found.budget == 9).all() and (found.cpa_target == 2).all()
    with pytest.raises(TableError, match=r"must have `cost` .*: name your column in `mapping` \(--map cost=YOURS\)"):
        from_table(renamed, task="TargetCPA", ticks=2)
    with pytest.raises(TableError, match=r"`spent` must be a column of the table, for `cost`: .*nearest: spend"):
        from_table(renamed, task="TargetCPA", ticks=2, mapping={"cost": "spent"}, constants={"budget": 9})
    with pytest.raises(ValueError, match=r"`mapping` must give columns of .*nearest: cost"):
        from_table(renamed, task="TargetCPA", ticks=2, mapping={"costs": "spend"})
    with pytest.raises(ValueError, match=r"`budget` of `constants` must be a positive number, found 0"):
        from_table(renamed, task="TargetCPA", ticks=2, mapping={"cost": "spend"}, constants={"budget": 0})


def test_all_problems_come_at_once_with_row_and_column(tmp_path: Path) -> None:
    rows = [HEADER.replace("campaign", "who")]
    rows += ["a,0,1,3,10,5,0,9", "a,1,-1,3,10,11,0,9", "a,1,1,x,10,5,0,9", "b,48,1,3,10,,0,9", "b,0,1,3,10,5,0.5,8"]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    with pytest.raises(TableError) as caught:
        from_table(tmp_path / "t.csv", task="MaxConversions", mapping={"campaign": "who"})
    found = [(problem.row, problem.column) for problem in caught.value.problems]
    assert found == [(2, "bid"), (2, "impressions"), (3, "cost"), (4, "impressions"), (4, "tick")]
    lines = str(caught.value).splitlines()
    assert lines[0] == "the table has 5 problems:"
    assert lines[1] == f"{tmp_path / 't.csv'}, row 2: `bid` must be a number that is not negative, found -1"
    assert "found 'x'" in lines[3] and "found an empty cell" in lines[4] and "must be below 48, found 48" in lines[5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tick": [0, 0, 0, 1]}, "row 2: `tick` must be one row each, found 0 of campaign b, period 0 again"),
        ({"budget": [9.0, 7.0, 8.0, 8.0]}, "row 2: `budget` must be the same in all rows of campaign b, period 0"),
        (
            {"cost": [3.0, 7.0, 0.0, 5.0]},
            "row 1: `budget` must be at least the costs of campaign b, period 0, 10, found 9",
        ),
        ({"cost": [np.nan, 1.0, 0.0, 5.0]}, "row 1: `cost` must be a number that is not negative, found nan"),
        ({"campaign": [None, "b", "a", "a"]}, "row 1: `campaign` must be named"),
        ({"volume": None, "impressions": None}, r"must have `volume` \(.*\) or `impressions`"),
        ({"time": ["x"] * 4}, "`time` must not be there beside `tick` or `period`"),
        ({"cost": [0.0] * 4}, "`cpa_target` must be given for a table whose costs"),
        ({"conversions": None}, "`cpa_target` must be given for a table without `conversions`"),
    ],
)
def test_a_wrong_table_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_table(small(**changes), task="MaxConversions", ticks=2)


def test_a_task_needs_what_it_counts_and_limits() -> None:
    with pytest.raises(ValueError, match="`clicks` must be in the table for task 'MaxClicks', which counts it"):
        from_table(small(), task="MaxClicks", ticks=2)
    with pytest.raises(ValueError, match="`cpa_target` must be in the table for task 'TargetCPA', which limits it"):
        from_table(small(), task="TargetCPA", ticks=2)
    found = from_table(small(clicks=[2, 2, 0, 2], cpc_target=[1.0] * 4), task="MaxClicks", ticks=2)
    assert found.reward.tolist() == [0, 2, 2, 2] and "expected_clicks" in found.missing


def test_more_problems_than_are_shown_are_counted() -> None:
    n = 100
    table = {name: [column[0]] * n for name, column in small().items()} | {"tick": range(n), "cost": [-1.0] * n}
    with pytest.raises(TableError, match="the table has 100 problems") as caught:
        from_table(table, task="MaxConversions", ticks=n)
    assert caught.value.n_problems == n and str(caught.value).endswith("and 80 more")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.parquet", b"PAR1 and no more", "truncated or damaged: must be a whole Parquet file"),
        ("t.parquet", b"campaign,tick", "must be a Parquet file, found bytes b'camp'"),
        ("t.csv", "kampány,tick\ná,1\n".encode("utf-16"), "must be text in UTF-8"),
        ("t.csv", f"{HEADER}\n\xe1,0,1,1,1,1,1,1\n".encode("latin-1"), "`campaign` must be text in UTF-8"),
        ("t.csv", b"campaign,tick\na,1\na,1,2\n", "every line with the header's number of cells"),
        ("t.csv.gz", gzip.compress(b"campaign,tick\n" + bytes(range(256)) * 64, mtime=0)[:80], r"t\.csv\.gz: "),
        ("t.csv", b"", r"t\.csv: must be a whole CSV file"),
        ("t.xlsx", b"", "must end in one of"),
    ],
    ids=("cut", "no-parquet", "utf-16", "latin-1", "cells", "cut-gzip", "empty", "ending"),
)
def test_a_damaged_file_is_refused_and_nothing_is_written(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        data.import_table(tmp_path / name, tmp_path / "out", task="MaxConversions")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_parts_are_the_whole(log: TrajectoryData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trajectories, "ROWS_PER_PART", 1000)
    table, told = {name: table_of(log)[name] for name in OWN}, list[tuple[int, int]]()
    summary = data.import_table(table, tmp_path / "set", task="TargetCPA", progress=lambda *done: told.append(done))
    whole, back = from_table(table, task="TargetCPA"), data.load(tmp_path / "set")
    for name in data.COLUMN_NAMES:
        np.testing.assert_array_equal(back[name], whole[name], err_msg=name)
    assert (summary.n_rows, summary.n_trajectories) == (len(log), log.n_episodes)
    assert len(told) > 1 and told[-1] == (len(log), len(log))
    with pytest.raises(FileExistsError, match="must be empty"):
        data.import_table(table, tmp_path / "set", task="TargetCPA")
