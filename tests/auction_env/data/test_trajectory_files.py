"""AuctionNet's trajectory files, in and out: numbers, quirks of the files, what they lack, bad rows, interruptions."""

from __future__ import annotations

import ast
import csv
import gzip
import io
import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agents import FixedBidder, NoisyBidder
from agents.labels.completion import complete, describe
from agents.labels.hindsight import best_log_multipliers
from agents.labels.relabel import relabel
from agents.labels.response import Response
from agents.logging.impressions import log_impressions
from auction_env.control.observation import FEATURE_NAMES
from auction_env.data import (
    COLUMN_NAMES,
    AuctionNetLogError,
    TrajectoryData,
    check,
    import_auctionnet_impressions,
    import_auctionnet_trajectories,
    load,
    require,
    write,
)
from auction_env.data.formats.sources import find_logs
from auction_env.data.formats.trajectory_csv import N_COLUMNS, TRAJECTORY_COLUMNS, parse_trajectory_logs
from auction_env.data.formats.trajectory_export import export_auctionnet_trajectories
from auction_env.data.formats.trajectory_import import LACKING
from auction_env.market.params import MarketParams
from auction_env.tasks import TASKS
from benchmarks.speed.reference.pandas_import import import_pandas
from benchmarks.speed.reference.pandas_trajectories import import_pandas_trajectories

Rows = list[dict[str, Any]]
PERIODS, ADVERTISERS = (3, 4), (0, 1, 8)
LATE = 8  # an advertiser whose log begins late, at this tick


class Logs(NamedTuple):
    """The same periods as impressions, as the data set of them, and as rows of trajectory files."""

    impressions: Path
    data: TrajectoryData
    rows: Rows


def trajectory_rows(frame: pd.DataFrame, number: Callable[[Any], str] = repr) -> Rows:
    """What AuctionNet's generator makes of the ticks of a log: numbers in states are spelled by `number`."""
    out: Rows = []
    for _, ticks in frame.groupby(["period", "advertiser"]):
        states = [tuple(row) for row in ticks[[f"feature_{name}" for name in FEATURE_NAMES]].to_numpy().tolist()]
        texts = ["(" + ", ".join(map(number, state)) + ")" for state in states]
        for index, (_, tick) in enumerate(ticks.iterrows()):
            out.append(
                {
                    "deliveryPeriodIndex": tick["period"],
                    "advertiserNumber": tick["advertiser"],
                    "advertiserCategoryIndex": tick["category"],
                    "budget": tick["budget"],
                    "CPAConstraint": tick["cpa_target"],
                    "realAllCost": ticks["cost"].sum(),
                    "realAllConversion": ticks["conversions"].sum(),
                    "timeStepIndex": tick["tick"],
                    "state": texts[index],
                    "action": tick["action"],
                    "reward": tick["reward"],
                    "reward_continuous": tick["reward_expected"],
                    "done": int(tick["done"]),
                    "next_state": "" if tick["done"] else texts[index + 1],
                }
            )
    return out


def to_text(rows: Rows, columns: tuple[str, ...] = TRAJECTORY_COLUMNS) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def imported(path: Path, text: str, **arguments: Any) -> TrajectoryData:
    (path / "log.csv").write_text(text, newline="")
    import_auctionnet_trajectories(path / "log.csv", path / "out", force=True, **arguments)
    assert check(path / "out") == []
    return load(path / "out")


def assert_equal(found: TrajectoryData, expected: TrajectoryData, *, missing: tuple[str, ...] = ()) -> None:
    """Equal up to the rounding of sums; `missing` columns may lack numbers that are expected."""
    assert found.tasks == expected.tasks
    for name in COLUMN_NAMES:
        a, b = np.asarray(found[name], np.float64), np.asarray(expected[name], np.float64)
        if name in missing:
            b = np.where(np.isnan(a), np.nan, b)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    """Some advertisers of two market episodes; one begins late, and one runs out of money early."""
    path = tmp_path_factory.mktemp("logs")
    bidder = NoisyBidder(FixedBidder(1.5))
    params = MarketParams(n_impressions=960)
    files = log_impressions(bidder, path, seeds=PERIODS, task=TASKS["TargetCPA"], params=params, first_period=3)
    frame = pd.concat(map(pd.read_csv, files))
    is_late = (frame["advertiserNumber"] == LATE) & (frame["timeStepIndex"] < 16)
    frame = frame[frame["advertiserNumber"].isin(ADVERTISERS) & ~is_late]
    frame.to_csv(path / "some.csv", index=False)
    import_auctionnet_impressions(path / "some.csv", path / "set")
    return Logs(path / "some.csv", load(path / "set"), trajectory_rows(import_pandas([path / "some.csv"])))


# --- numbers -----------------------------------------------------------------------------------------------


NEXT_FIRST = ("next_state", *(name for name in TRAJECTORY_COLUMNS if name != "next_state"))


@pytest.mark.parametrize("columns", [TRAJECTORY_COLUMNS, NEXT_FIRST], ids=["state first", "next state first"])
def test_a_state_is_read_alike_after_the_same_text_and_after_another(
    columns: tuple[str, ...], logs: Logs, tmp_path: Path
) -> None:
    """Lines backwards: a state never follows the next state that has its text, and every number is parsed."""
    rows = [dict(row) for row in logs.rows[:30]]
    for row, other in ((3, 4), (7, 8)):  # a number too long for the compiled parser, in both texts
        value = ast.literal_eval(rows[row]["next_state"])[12]
        rows[row]["next_state"] = rows[other]["state"] = rows[other]["state"].replace(repr(value), f"{value:.24f}")
    rows[11]["state"] = rows[11]["state"].replace(".0)", "1.0)")  # only the end differs: another volume

    def parsed(ordered: Rows) -> np.ndarray:
        (tmp_path / "log.csv").write_text(to_text(ordered, columns))
        blocks = parse_trajectory_logs(find_logs([tmp_path / "log.csv"]))
        found = []
        for block in blocks:
            assert block.error is None
            found.append(block.rows.copy())
        return np.concatenate(found)

    np.testing.assert_array_equal(parsed(rows), parsed(rows[::-1])[::-1])


def test_a_period_by_impressions_and_by_trajectories_is_the_same(logs: Logs, tmp_path: Path) -> None:
    found = imported(tmp_path, to_text(logs.rows))
    assert_equal(found, logs.data, missing=LACKING)
    is_last = np.isin(np.arange(len(found)), found.episode_starts[1:] - 1)
    is_first = found.episode_starts[:-1]
    assert set(found.tick[is_first]) == {0, 16}
    assert (found.done & ~is_last).any()  # a campaign that ended early is done again in every tick
    assert not np.isnan(found.cost).any()
    np.testing.assert_array_equal(np.isnan(found.least_winning_cost), is_last)
    np.testing.assert_array_equal(np.isnan(found.wins), is_last & (found.action > 0))
    np.testing.assert_array_equal(np.isnan(found.exposures), ~(found.wins == 0))
    assert found.missing == LACKING and found.metadata["files"] == ["log.csv"]


def test_equals_the_pandas_reference(logs: Logs, tmp_path: Path) -> None:
    found, expected = imported(tmp_path, spell_numpy(logs.rows)), import_pandas_trajectories([tmp_path / "log.csv"])
    is_idle = found.action == 0  # who does not bid wins nothing, in the last tick too
    for name in ("n_impressions", "offered_conversions", "bid", "cost", "wins", "least_winning_cost"):
        wanted = np.where(is_idle & (name == "wins"), 0.0, expected[name])
        np.testing.assert_allclose(found[name], wanted, rtol=1e-9, atol=1e-9, err_msg=name)
    for name in FEATURE_NAMES:
        np.testing.assert_array_equal(found[f"feature_{name}"], expected[f"feature_{name}"])


def spell_numpy(rows: Rows) -> str:
    def spelled(text: str) -> str:
        return text and "(" + ", ".join(f"np.float64({part})" for part in text.strip("()").split(", ")) + ")"

    return to_text([row | {name: spelled(row[name]) for name in ("state", "next_state")} for row in rows])


def spell_nan(rows: Rows) -> str:
    """The means over an empty past as nan, and the action of worthless ticks too."""

    def spelled(row: dict[str, Any]) -> dict[str, Any]:
        state = ast.literal_eval(row["state"])
        if state[15]:
            return row
        past = [*range(2, 12), 14, 15]
        text = "(" + ", ".join("nan" if k in past else repr(x) for k, x in enumerate(state)) + ")"
        return row | {"state": text}

    return to_text([spelled(row) for row in rows])


QUIRKS: dict[str, Callable[[Rows], str]] = {
    "np.float64": spell_numpy,
    "nan in the first state": spell_nan,
    "floats for integers": lambda rows: to_text(
        [row | {name: float(row[name]) for name in ("deliveryPeriodIndex", "timeStepIndex", "done")} for row in rows]
    ),
    "columns in another order": lambda rows: to_text(rows, TRAJECTORY_COLUMNS[::-1]),
    "rows of a trajectory in another order": lambda rows: to_text(
        sorted(rows, key=lambda row: (row["deliveryPeriodIndex"], row["advertiserNumber"], -row["timeStepIndex"]))
    ),
    "byte order mark and CRLF": lambda rows: "\ufeff" + to_text(rows).replace("\n", "\r\n"),
    "no spaces, lists": lambda rows: to_text(rows).replace(", ", ",").replace('"(', '"[').replace(')"', ']"'),
    "nan for no next state": lambda rows: to_text([row | {"next_state": row["next_state"] or "nan"} for row in rows]),
    "long numbers": lambda rows: to_text(rows).replace("0.9791666666666666", "0.97916666666666662966")
    .replace(",100.0,", ",100.0000000000000000000000000000,"),
}  # fmt: skip


@pytest.mark.parametrize("quirk", QUIRKS)
def test_the_same_file_written_otherwise(logs: Logs, tmp_path: Path, quirk: str) -> None:
    assert_equal(imported(tmp_path, QUIRKS[quirk](logs.rows)), imported(tmp_path, to_text(logs.rows)))


def test_without_the_real_cost_that_of_the_last_tick_is_missing(logs: Logs, tmp_path: Path) -> None:
    columns = tuple(name for name in TRAJECTORY_COLUMNS if not name.startswith("realAll"))
    found = imported(tmp_path, to_text(logs.rows, columns))
    assert_equal(found, logs.data, missing=LACKING)
    last = found.episode_starts[1:] - 1
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found.cost)), last[found.action[last] > 0])
    with pytest.raises(ValueError, match="`cost` must be recorded, needed for scores, found missing"):
        require(found, ["cost"], "scores")


def test_what_a_learner_needs_of_the_last_tick_is_estimated(logs: Logs, tmp_path: Path) -> None:
    columns = tuple(name for name in TRAJECTORY_COLUMNS if not name.startswith("realAll"))
    found = imported(tmp_path, to_text(logs.rows, columns))
    done = complete(found)
    assert done.missing == ("wins", "exposures") and done.metadata["estimated"] == ["cost", "least_winning_cost"]
    assert describe(done.metadata).endswith(
        "(prices: of the three ticks before; cost: bids x the episode's cost per bid)"
    )
    was_known = ~np.isnan(found.cost)
    np.testing.assert_array_equal(done.cost[was_known], found.cost[was_known])
    assert ((done.cost >= 0) & (done.cost <= done.budget_left)).all() and (done.cost[~was_known] > 0).all()
    last = found.episode_starts[1:] - 1
    np.testing.assert_array_equal(done.least_winning_cost[last], found["feature_least_winning_cost_last_3"][last])
    labels = best_log_multipliers(done, done.tasks[0], Response.fit([done]))
    exact = best_log_multipliers(logs.data, done.tasks[0], Response.fit([logs.data]))
    assert np.abs(labels - exact)[found.tick < 24].max() < 0.1
    assert np.isfinite(relabel(done, done.tasks[0]).score).all()


def test_rows_that_a_file_lacks_leave_what_follows_unknown(logs: Logs, tmp_path: Path) -> None:
    rows = [row for row in logs.rows if not 20 <= row["timeStepIndex"] < 30]
    found, whole = imported(tmp_path, to_text(rows)), imported(tmp_path, to_text(logs.rows))
    kept = ~((whole.tick >= 20) & (whole.tick < 30))
    is_after = found.tick >= 30
    assert np.isnan(found.least_winning_cost[is_after]).all()
    assert np.isnan(found.wins[is_after & (found.action > 0)]).all()
    is_known = ~is_after & ~((found.tick == 19) & found.done)  # who is done has no next state
    for name in ("wins", "least_winning_cost", "budget_left"):
        np.testing.assert_allclose(found[name][is_known], whole[name][kept][is_known], rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(found.cost, whole.cost[kept], rtol=1e-9, atol=1e-9)
    gone = [row | {"next_state": ""} if row["timeStepIndex"] == 19 else row for row in rows]
    unknown = imported(tmp_path, to_text(gone))
    at_gap = (unknown.tick == 19) & (unknown.action > 0)
    assert np.isnan(unknown.cost[at_gap]).all()


def test_a_real_cost_that_contradicts_is_no_cost(logs: Logs, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [row | {"realAllCost": 2 * row["budget"]} for row in logs.rows]
    with caplog.at_level(logging.WARNING):
        found = imported(tmp_path, to_text(rows))
    n = int(np.isnan(found.cost).sum())
    assert n and f"contradicts the budgets in {n} trajectories" in caplog.text


# --- files -------------------------------------------------------------------------------------------------


def test_compressed_files_archives_and_parquet(logs: Logs, tmp_path: Path) -> None:
    text = to_text(logs.rows)
    expected = imported(tmp_path, text)
    frame = pd.DataFrame(logs.rows)
    lists = [list(ast.literal_eval(state)) for state in frame["state"]]
    as_lists = pa.Table.from_pandas(frame, preserve_index=True)
    at = as_lists.schema.get_field_index("state")
    as_lists = as_lists.set_column(at, "state", pa.array(lists, pa.list_(pa.float64())))
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    frame.to_parquet(folder / "b.parquet")
    pq.write_table(as_lists, folder / "c.parquet", row_group_size=50)
    halves = [to_text(logs.rows[:48]), to_text(logs.rows[48:])]
    with zipfile.ZipFile(folder / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, half in zip(("x/1.csv", "x/2.csv"), halves, strict=True):
            archive.writestr(name, half)
        archive.writestr("__MACOSX/x/._1.csv", "no log")
        archive.writestr("x/readme.txt", "no log")
    for name in os.listdir(folder):
        for block_bytes in (1500, 1 << 20):
            import_auctionnet_trajectories(folder / name, tmp_path / "set", force=True, block_bytes=block_bytes)
            assert_equal(load(tmp_path / "set"), expected)


def test_impressions_come_from_archives_and_parquet_too(logs: Logs, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "log.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(logs.impressions, "log.csv")
    pd.read_csv(logs.impressions).to_parquet(tmp_path / "log.parquet")
    for name in ("log.zip", "log.parquet"):
        import_auctionnet_impressions(tmp_path / name, tmp_path / "set", force=True)
        assert_equal(load(tmp_path / "set"), logs.data)


def test_files_that_are_not_what_their_names_say(logs: Logs, tmp_path: Path) -> None:
    text = to_text(logs.rows)
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("log.csv.gz", "")
    with zipfile.ZipFile(tmp_path / "good.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log.csv", text)
    raw = (tmp_path / "good.zip").read_bytes()
    (tmp_path / "broken.zip").write_bytes(raw[:2000] + bytes(200) + raw[2200:])
    (tmp_path / "cut.zip").write_bytes(raw[:-100])
    (tmp_path / "text.parquet").write_text(text)
    (tmp_path / "zip.csv").write_bytes(raw)
    for name, message in (
        ("none.zip", r"must hold files that end in \.csv, found log\.csv\.gz: unpack other archives first"),
        ("broken.zip", r"broken\.zip/log\.csv: must be a sound ZIP file"),
        ("cut.zip", "must be a sound ZIP file"),
        ("text.parquet", "must be a sound Parquet file"),
        ("zip.csv", r"must end in \.zip, as its first bytes say"),
    ):
        with pytest.raises(AuctionNetLogError, match=message):
            import_auctionnet_trajectories(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- bad rows ----------------------------------------------------------------------------------------------

GOOD = ", ".join(["0.9", "1", *["0"] * 13, "5"])
BAD_CELLS = [
    ("budget", "0", "must be finite and positive, found '0'"),
    ("timeStepIndex", "48", "must be an integer from 0 to 47, found '48'"),
    ("deliveryPeriodIndex", "x", "must be a finite number, found 'x'"),
    ("action", "-1", "must be finite and not negative"),
    ("action", "nan", "must be a number where the tick has predicted value"),
    ("reward_continuous", "", "must be a finite number, found ''"),
    ("done", "2", "must be 0 or 1"),
    ("action", "-0.10000000000000000000001", "must be finite and not negative"),
    ("state", "", "must be 16 numbers in parentheses, found ''"),
    ("state", "(1, 2)", r"must be 16 numbers in parentheses, found '\(1, 2\)'"),
    ("state", f"({GOOD}, 0)", "must be 16 numbers in parentheses"),
    ("state", f"({GOOD}", "must be 16 numbers in parentheses"),
    ("state", f"({GOOD.replace('0.9', 'np.float64(0.9')})", "must be 16 numbers in parentheses"),
    ("state", f"({GOOD.replace('0.9', 'abc')})", "must be 16 numbers in parentheses"),
    ("state", f"({GOOD.replace('0.9', '')})", "must be 16 numbers in parentheses"),
    ("state", f"({GOOD})", r"must begin with the time left, \(48 - timeStepIndex\) / 48"),
    ("next_state", f"({GOOD.replace('0.9', '1')})", "must be the state of a later tick"),
    (
        "next_state",
        f"({GOOD.replace('0, 5', '-1, 5')})",
        r"must be 16 numbers in parentheses, finite and \(the",
    ),
    ("next_state", f"({GOOD.replace('0, 5', 'inf, 5')})", "must be 16 numbers"),
    ("next_state", f"({GOOD.replace('0, 5', 'nan, 5')})", "must have numbers where there were impressions"),
    ("next_state", f"({GOOD.replace('0, 5', '0, 5.5')})", "must have whole numbers of impressions"),
]


@pytest.mark.parametrize(("column", "cell", "rule"), BAD_CELLS)
def test_bad_cells(logs: Logs, tmp_path: Path, column: str, cell: str, rule: str) -> None:
    rows = [dict(row) for row in logs.rows[:60]]
    rows[4][column] = cell
    for block_bytes in (1500, 1 << 20):
        with pytest.raises(AuctionNetLogError, match=rf"log\.csv: line 6 .*`{column}` {rule}") as info:
            imported(tmp_path, to_text(rows), block_bytes=block_bytes)
        assert (info.value.line, info.value.column) == (6, column)
    assert os.listdir(tmp_path) == ["log.csv"]


def changed(rows: Rows, index: int, **cells: Any) -> Rows:
    return [row | cells if k == index else row for k, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: [*rows, rows[0]], r"must follow each other, found \(period 3, advertiser 0\) again"),
        (lambda rows: [*rows[:2], rows[1], *rows[3:]], r"must be unique, found two rows of \(period 3, advertiser 0"),
        (lambda rows: [*rows[:48], rows[1], *rows[48:]], r"at most 48 rows, one a tick, found 49 of \(period 3"),
        (lambda rows: changed(rows, 3, budget=7.0), r"`budget` must be the same in all ticks of \(period 3"),
        (
            lambda rows: changed(rows, 3, state=f"(0.9375, 0.001{rows[3]['state'][rows[3]['state'].index(', ', 9) :]}"),
            r"the budget left, second in `state`, must not rise, found .* in tick 3 of \(period 3, advertiser 0\)",
        ),
    ],
)
def test_rows_that_do_not_go_together(logs: Logs, tmp_path: Path, edit: Callable[[Rows], Rows], message: str) -> None:
    with pytest.raises(AuctionNetLogError, match=message):
        imported(tmp_path, to_text(edit(logs.rows)))
    assert os.listdir(tmp_path) == ["log.csv"]


def test_headers_and_arguments(logs: Logs, tmp_path: Path) -> None:
    with pytest.raises(AuctionNetLogError, match=r"\(realAllCost, .* may be absent\); missing: done; unknown: end"):
        imported(tmp_path, to_text(logs.rows).replace("done", "end", 1))
    with pytest.raises(AuctionNetLogError, match=r"line 2 .* a line must have 14 fields, found 13"):
        imported(tmp_path, to_text(logs.rows).replace("\n3.0,", "\n", 1))
    with pytest.raises(ValueError, match="`rows_per_shard` must be at least 48, found 47"):
        imported(tmp_path, to_text(logs.rows), rows_per_shard=47)


# --- interruptions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_blocks", [1, 60, 110])
@pytest.mark.parametrize("is_checkpoint_damaged", [False, True])
def test_an_interrupted_import_goes_on_to_the_same_bytes(
    logs: Logs, tmp_path: Path, n_blocks: int, is_checkpoint_damaged: bool
) -> None:
    text = to_text(logs.rows)
    half = text.index("\n4.0,") + 1
    (tmp_path / "a.csv").write_text(text[:half])
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress((text[: text.index("\n") + 1] + text[half:]).encode()))
    files, sizes = [tmp_path / "a.csv", tmp_path / "b.csv.gz"], {"block_bytes": 1200, "rows_per_shard": 50}
    import_auctionnet_trajectories(files, tmp_path / "whole", **sizes)
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == n_blocks:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_auctionnet_trajectories(files, tmp_path / "set", progress=stop, **sizes)
    if is_checkpoint_damaged:
        (tmp_path / ".set.unfinished" / "behind-shards.npz").write_bytes(b"no checkpoint")
    again: list[int] = []
    import_auctionnet_trajectories(files, tmp_path / "set", progress=lambda done, total: again.append(done), **sizes)
    contents = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("whole", "set")]
    assert contents[0] == contents[1] and len(contents[0]) > 5
    assert again[-1] == sum(file.stat().st_size for file in files)
    assert (again[0] > seen[0]) == (n_blocks > 1 and not is_checkpoint_damaged)  # it did not begin anew
    assert not (tmp_path / ".set.unfinished").exists()


# --- export ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_real_cost", [True, False])
def test_an_export_imports_to_the_same_trajectories(logs: Logs, tmp_path: Path, has_real_cost: bool) -> None:
    columns = tuple(name for name in TRAJECTORY_COLUMNS if has_real_cost or not name.startswith("realAll"))
    first = imported(tmp_path, to_text(logs.rows, columns))
    export_auctionnet_trajectories(tmp_path / "again.csv.gz", first)
    import_auctionnet_trajectories(tmp_path / "again.csv.gz", tmp_path / "again")
    assert_equal(load(tmp_path / "again"), first)


def test_an_export_is_in_the_schema_that_forks_read(logs: Logs, tmp_path: Path) -> None:
    data = logs.data.with_task(TASKS["MaxConversions"])
    export_auctionnet_trajectories(tmp_path / "log.csv", data)
    text = (tmp_path / "log.csv").read_text()
    assert text.splitlines()[0] == ",".join(TRAJECTORY_COLUMNS)
    frame, expected = pd.read_csv(tmp_path / "log.csv"), pd.DataFrame(logs.rows)
    for name in TRAJECTORY_COLUMNS:
        if name in ("state", "next_state"):
            np.testing.assert_array_equal(frame[name].isna(), expected[name].replace("", None).isna())
            found, wanted = (
                [ast.literal_eval(state) for state in column if isinstance(state, str) and state]
                for column in (frame[name], expected[name])
            )
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)
        else:
            np.testing.assert_allclose(frame[name], expected[name], rtol=1e-9, atol=1e-9, err_msg=name)
    with pytest.raises(FileExistsError, match="must not exist, found a file"):
        export_auctionnet_trajectories(tmp_path / "log.csv", data)
    with pytest.raises(ValueError, match=r"`path` must end in \.csv or \.csv\.gz, found 'log\.parquet'"):
        export_auctionnet_trajectories(tmp_path / "log.parquet", data)
    with pytest.raises(ValueError, match="`data` must hold trajectories, found none"):
        export_auctionnet_trajectories(tmp_path / "none.csv", data.select([]))


def test_a_data_set_with_missing_numbers_is_written_checked_and_read(logs: Logs, tmp_path: Path) -> None:
    found = imported(tmp_path, to_text(logs.rows))
    write(tmp_path / "copy", found)
    assert_equal(load(tmp_path / "copy", mmap=True), found)
    assert check(tmp_path / "copy") == []
    assert N_COLUMNS == 45
