"""iPinYou's logs: joined and summed as by group-bys, whatever the files and seasons; kills; damaged files."""

from __future__ import annotations

import bz2
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from auction_env import data
from auction_env.data import TableError, TrajectoryData, import_ipinyou
from auction_env.data.formats.ipinyou import importing, joining
from auction_env.data.formats.ipinyou.lines import read_blocks
from auction_env.tasks import Task
from tests.auction_env.data.formats.ipinyou import made_up

ASKED: dict[str, Any] = {"task": Task(name="clicks", objective="clicks"), "budget_factor": 2.0}


def assert_sums(log: TrajectoryData, expected: pd.DataFrame, *, has_bids: bool = True) -> None:
    """The log holds these sums, in the order of its rows."""
    expected = expected.sort_values(["period", "campaign", "tick"])
    np.testing.assert_array_equal(log.tick, expected.tick)
    for ours, theirs in (("wins", "wins"), ("cost", "cost"), ("clicks", "clicks"), ("conversions", "conversions")):
        np.testing.assert_allclose(getattr(log, ours), expected[theirs], atol=1e-9)
    if has_bids:
        np.testing.assert_array_equal(log.n_impressions, expected.n)
        np.testing.assert_allclose(log.bid, expected.bid)
    else:
        assert np.isnan(log.n_impressions).all() and "n_impressions" in log.missing


def test_raw_logs_are_joined_by_bid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "_ROWS_AT_ONCE", 100)
    monkeypatch.setattr(importing, "_BYTES_A_BUCKET", 10_000)  # several buckets
    frame, later = made_up.bids(), made_up.bids(seed=1, day="2013-06-07")
    made_up.write_day(tmp_path / "raw", frame)
    made_up.write_day(tmp_path / "raw", later, day="20130607")
    told = list[tuple[int, int]]()
    found = import_ipinyou(
        tmp_path / "raw", tmp_path / "set", **ASKED, block_bytes=5_000, progress=lambda *done: told.append(done)
    )
    assert found.joined == (1200, 0, 0) and found.n_left_out == 0 and found.n_free_days == 0
    assert told[-1][0] == told[-1][1] == sum(file.stat().st_size for file in (tmp_path / "raw").iterdir())
    log = data.load(tmp_path / "set")
    assert data.check(tmp_path / "set") == []
    both = pd.concat([frame, later])
    assert_sums(log, made_up.sums(both))
    day_cost = made_up.sums(both).groupby(["period", "campaign"]).cost.sum()
    np.testing.assert_allclose(log.budget[log.episode_starts[:-1]], 2 * day_cost)
    assert set(log.advertiser) == {1458, 3358, 3476} and log.metadata["source"] == "iPinYou"


def test_strays_and_lines_that_are_there_twice_are_counted(tmp_path: Path) -> None:
    frame = made_up.bids(200)
    won = frame[frame.payprice >= 0]
    raw = made_up.write_day(tmp_path / "raw", frame)
    made_up.write(raw / "bid.again.txt", frame.head(3), made_up.BIDS)
    made_up.write(raw / "imp.stray.txt", won.head(2).assign(bidid=["f" * 32, "e" * 32]), made_up.EVENTS)
    made_up.write(raw / "clk.stray.txt", won.head(1).assign(bidid="d" * 32), made_up.EVENTS)
    made_up.write(raw / "bid.lacking.txt", frame.head(2).assign(bidid="c" * 32, advertiser="null"), made_up.BIDS)
    found = import_ipinyou(raw, tmp_path / "set", **ASKED)
    assert found.joined == (200, 3, 3) and found.n_left_out == 2
    assert_sums(data.load(tmp_path / "set"), made_up.sums(frame))


@pytest.mark.parametrize(
    ("name", "fields", "header"),
    [
        ("imp.20130606.txt", made_up.EVENTS, False),
        ("leaderboard.test.data.20130613_15.txt.bz2", made_up.TEST, False),
        ("train.log.txt", made_up.TRAIN_LOG, True),
        ("test.log.txt", made_up.TEST_LOG, True),
    ],
)
def test_without_bid_logs_impressions_are_won_bids(
    name: str, fields: tuple[str, ...], header: bool, tmp_path: Path
) -> None:
    frame = made_up.bids()
    won = frame[frame.payprice >= 0]
    path = made_up.write(tmp_path / name, won, fields, header=header)
    tells = {"clicks": "click" in fields or "nclick" in fields, "conversions": "nconversation" in fields}
    constants = {"cpa_target": 9.0} if not tells["conversions"] else {}
    if not tells["clicks"]:
        with pytest.raises(ValueError, match="`clicks` must be in the table for task 'clicks'"):
            import_ipinyou(path, tmp_path / "set", **ASKED, constants=constants)
        assert sorted(file.name for file in tmp_path.iterdir()) == [name]
        return
    import_ipinyou(path, tmp_path / "set", **ASKED, constants=constants)
    expected = made_up.sums(won)
    if not tells["conversions"]:
        expected["conversions"] = np.nan
    assert_sums(data.load(tmp_path / "set"), expected, has_bids=False)


@pytest.mark.parametrize("content", [b"", b"\n", bz2.compress(b"")])
def test_a_day_without_conversions_has_an_empty_log(content: bytes, tmp_path: Path) -> None:
    frame = made_up.bids(100).assign(conv=False)
    raw = made_up.write_day(tmp_path / "raw", frame)
    (raw / "conv.20130606.txt.bz2").unlink()
    (raw / ("conv.20130606.txt" + (".bz2" if content.startswith(b"BZh") else ""))).write_bytes(content)
    import_ipinyou(raw, tmp_path / "set", **ASKED, constants={"cpa_target": 1.0})
    assert_sums(data.load(tmp_path / "set"), made_up.sums(frame))
    (raw / "imp.20130606.txt.bz2").write_bytes(bz2.compress(b""))
    with pytest.raises(TableError, match=r"imp\.20130606\.txt\.bz2: must have lines, found an empty file"):
        import_ipinyou(raw, tmp_path / "none", **ASKED)
    (raw / "imp.20130606.txt.bz2").unlink()
    (raw / "clk.20130606.txt.bz2").write_bytes(bz2.compress(b""))
    with pytest.raises(ValueError, match="must have costs to multiply, found no bid that was paid"):
        import_ipinyou(raw, tmp_path / "none", **ASKED)


def test_seasons_may_be_mixed_and_season_1_is_one_campaign(tmp_path: Path) -> None:
    first, second = made_up.bids(300, day="2013-03-11"), made_up.bids(300, seed=1)
    made_up.write_day(tmp_path / "raw" / "training1st", first, day="20130311", season_1=True)
    made_up.write_day(tmp_path / "raw" / "training2nd", second)
    import_ipinyou(tmp_path / "raw", tmp_path / "set", **ASKED)
    log = data.load(tmp_path / "set")
    assert log.metadata["campaigns"] == ["1458", "3358", "3476", "season-1"]
    expected = made_up.sums(pd.concat([first.assign(advertiser=9999), second]))
    assert_sums(log, expected)


class Killed(BaseException):
    """A kill, at the place where it is raised."""


@pytest.mark.parametrize("where", ["write_buckets", "_bucket_sums"])
def test_a_killed_import_goes_on_to_the_same_bytes(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_BYTES_A_BUCKET", 4_000)
    raw = made_up.write_day(tmp_path / "raw", made_up.bids())
    import_ipinyou(raw, tmp_path / "whole", **ASKED)
    real, calls = getattr(importing, where), list[int]()

    def dying(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(importing, where, dying)
    with pytest.raises(Killed):
        import_ipinyou(raw, tmp_path / "set", **ASKED)
    assert not (tmp_path / "set").exists()
    read = list[Path]()

    monkeypatch.setattr(importing, where, real)

    def noted(log: Any, block_bytes: int) -> Any:
        def blocks() -> Any:
            read.append(log.path)
            yield from read_blocks(log, block_bytes)

        return blocks()

    monkeypatch.setattr(importing, "read_blocks", noted)
    import_ipinyou(raw, tmp_path / "set", **ASKED)
    assert len(read) == (2 if where == "write_buckets" else 0)  # files that were read before are not read again
    whole, again = (next((tmp_path / name).glob("*.parquet")).read_bytes() for name in ("whole", "set"))
    assert whole == again
    with pytest.raises(FileExistsError, match="must be empty"):
        import_ipinyou(raw, tmp_path / "set", **ASKED)


def broken(path: Path, kind: str) -> None:
    """Breaks the file of bids: its bytes, or the cells of its second line."""
    raw = path.read_bytes()
    rows = bz2.decompress(raw).decode().splitlines()
    cells = rows[1].split("\t")
    if kind == "truncated":
        path.write_bytes(raw[: len(raw) // 2])
        return
    if kind == "edited":
        path.write_bytes(raw[:200] + bytes(byte ^ 255 for byte in raw[200:220]) + raw[220:])
        return
    place = {"price": 18, "negative": 18, "time": 1, "date": 1}.get(kind, 0)
    cells[place] = {"price": "2o0", "negative": "-3", "time": "noon", "date": "20131306000103501"}.get(
        kind, cells[place]
    )
    rows[1] = "\t".join(cells[:-2] if kind == "season" else cells)
    text = "\n".join(rows) + "\n"
    encoded = (
        text.encode("utf-16") if kind == "utf-16" else text.replace(rows[1][:3], "é", 1).encode("latin-1", "replace")
    )
    path.write_bytes(bz2.compress(encoded if kind in ("utf-16", "latin-1") else text.encode()))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "bid.*bz2: truncated or damaged: must be a whole .bz2 file; copy it again"),
        ("edited", "truncated or damaged"),
        ("price", "row 2: `bidprice` must be a number that is not negative, found '2o0'"),
        ("negative", "row 2: `bidprice` must be a number that is not negative, found '-3'"),
        ("time", "row 2: `timestamp` must be a time as yyyyMMddHHmmssSSS, found 'noon'"),
        ("date", "row 2: `timestamp` must be a time as yyyyMMddHHmmssSSS, found '20131306000103501'"),
        ("season", r"row 2: must have 21 fields, as the first line has \(a bid log of season 2 or 3\), found 19"),
        ("utf-16", "must be text in UTF-8: convert it"),
        ("latin-1", "must be text in UTF-8: convert it"),
    ],
)
def test_broken_files_are_named_and_leave_nothing(kind: str, message: str, tmp_path: Path) -> None:
    raw = made_up.write_day(tmp_path / "raw", made_up.bids())
    broken(raw / "bid.20130606.txt.bz2", kind)
    with pytest.raises(TableError, match=message):
        import_ipinyou(raw, tmp_path / "set", **ASKED)
    assert [file.name for file in tmp_path.iterdir()] == ["raw"]


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    raw = made_up.write_day(tmp_path / "raw", made_up.bids(20))
    with pytest.raises(ValueError, match=r"give a `budget` .* or `budget_factor`"):
        import_ipinyou(raw, tmp_path / "set", task="MaxConversions")
    with pytest.raises(ValueError, match=r"`budget_factor` must be at least 1, found 0\.5"):
        import_ipinyou(raw, tmp_path / "set", task="MaxConversions", budget_factor=0.5)
    with pytest.raises(ValueError, match="must name logs of bids or impressions"):
        import_ipinyou(raw / "clk.20130606.txt.bz2", tmp_path / "set", **ASKED)
    (tmp_path / "other.txt").write_text("a\tb\n")
    with pytest.raises(ValueError, match=r"must have a name of iPinYou's \(bid\.\*, imp"):
        import_ipinyou(tmp_path / "other.txt", tmp_path / "set", **ASKED)
    (tmp_path / "bid.txt").write_text("a\tb\n")
    with pytest.raises(TableError, match=r"one of these numbers of fields .*21: a bid log of season 2 or 3.*, found 2"):
        import_ipinyou(tmp_path / "bid.txt", tmp_path / "set", **ASKED)
    with pytest.raises(FileNotFoundError, match="must hold logs of iPinYou"):
        import_ipinyou(made_up.write(tmp_path / "no" / "x.csv", made_up.bids(2), made_up.BIDS).parent, "set", **ASKED)
    with pytest.raises(ValueError, match="must name a log once"):
        import_ipinyou([raw, raw / "bid.20130606.txt.bz2"], tmp_path / "set", **ASKED)
