"""Replay markets from AuctionNet's logs: the log is reproduced, bad logs are named."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from auction_env import ReplayParams, import_replay, load_replay, replay_from_auctionnet
from auction_env.data.formats.sources import AuctionNetLogError
from tests.auction_env.replay.logs import log_rows

LOGS = Path(__file__).parents[4] / "shared" / "data" / "auctionnet_log"
needs_logs = pytest.mark.skipif(not LOGS.is_dir(), reason=f"the sample logs of AuctionNet are not at {LOGS}")


@needs_logs
def test_the_logged_bids_reproduce_the_log_exactly() -> None:
    market = replay_from_auctionnet(LOGS)
    assert market.assumption == "full_ladder"
    assert market.episodes.shape == (96, 2)
    for period in (0, 1):
        log = pd.read_csv(LOGS / f"period-{period}.csv.gz").sort_values(["timeStepIndex", "pvIndex"], kind="stable")
        for advertiser, rows in log.groupby("advertiserNumber"):
            found = market.clear(period, int(advertiser), rows["bid"].to_numpy())
            np.testing.assert_array_equal(found.slot, rows["adSlot"])
            np.testing.assert_array_equal(found.slot > 0, rows["xi"] == 1)
            np.testing.assert_array_equal(found.price, rows["cost"].astype(np.float32))
            np.testing.assert_array_equal(found.exposed, rows["isExposed"] == 1)
            np.testing.assert_array_equal(found.least_winning_cost, rows["leastWinningCost"].astype(np.float32))


@needs_logs
def test_row_order_and_blocks_do_not_matter(tmp_path: Path) -> None:
    log = pd.read_csv(LOGS / "period-0.csv.gz")
    log.sample(frac=1, random_state=0).to_csv(tmp_path / "mixed.csv", index=False)
    mixed = replay_from_auctionnet(tmp_path / "mixed.csv", block_bytes=100_000)
    plain = replay_from_auctionnet(LOGS / "period-0.csv.gz")
    for name in plain.log._fields:
        np.testing.assert_array_equal(getattr(mixed.log, name), getattr(plain.log, name), err_msg=name)
    np.testing.assert_array_equal(mixed.budget, plain.budget)


@needs_logs
def test_a_log_of_one_advertiser_needs_an_assumption_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = pd.read_csv(LOGS / "period-0.csv.gz")
    rows = log[log["advertiserNumber"] == 39]
    rows.to_csv(tmp_path / "one.csv", index=False)
    with pytest.raises(ValueError, match=r"assumption='least_winning_cost'"):
        replay_from_auctionnet(tmp_path)
    with caplog.at_level(logging.WARNING):
        market = replay_from_auctionnet(tmp_path, assumption="least_winning_cost")
    assert "one-slot second-price" in caplog.text
    assert market.assumption == "least_winning_cost"
    seen = rows["isExposed"][rows["xi"] == 1].mean()
    assert market.rules.exposure == (pytest.approx(seen),)
    found = market.clear(0, 39, rows["bid"].to_numpy())
    np.testing.assert_array_equal(found.slot > 0, rows["xi"] == 1)
    won = found.slot > 0
    cost = rows["leastWinningCost"].to_numpy(np.float32)
    np.testing.assert_array_equal(found.price[won], cost[won])
    np.testing.assert_array_equal(found.least_winning_cost, cost)
    assert abs(found.exposed[won].mean() - seen) < 4 * np.sqrt(seen * (1 - seen) / won.sum())
    with caplog.at_level(logging.WARNING):
        forced = replay_from_auctionnet(tmp_path, assumption="full_ladder")
    assert "differ from the log" in caplog.text
    assert forced.assumption == "full_ladder"


def test_a_slot_at_the_reserve_price_is_unsold_as_in_auctionnet(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bids = [[0.5, 0.3, 0.2, 0.1], [0.5, 0.3, 0.005, 0.002], [0.005, 0.4, 0.0, 0.0], [0.002, 0.004, 0.001, 0.0]]
    log = log_rows(bids, reserve=0.01)
    log.to_csv(tmp_path / "log.csv", index=False)
    with caplog.at_level(logging.WARNING):
        market = replay_from_auctionnet(tmp_path)
    assert not caplog.records
    for j, rows in log.groupby("advertiserNumber"):
        found = market.clear(7, int(j), rows["bid"].to_numpy())
        np.testing.assert_array_equal(found.slot, rows["adSlot"])
        np.testing.assert_array_equal(found.price, rows["cost"].astype(np.float32))
    sold = replay_from_auctionnet(tmp_path, rules=ReplayParams(is_unsold_at_reserve=False))
    assert "in the slots on 2 of 4 impressions" in caplog.text
    np.testing.assert_array_equal(sold.clear(7, 1, log["bid"][log["advertiserNumber"] == 1]).slot, [2, 2, 1, 0])


def test_bad_logs_are_named(tmp_path: Path) -> None:
    log = log_rows([[0.5, 0.3, 0.2, 0.1], [0.5, 0.3, 0.25, 0.12]], reserve=0.01)

    def read(changed: pd.DataFrame) -> None:
        changed.to_csv(tmp_path / "log.csv", index=False)
        replay_from_auctionnet(tmp_path)

    read(log)
    for column, row, value, message in (
        ("pvIndex", 4, 0, "`pvIndex` must be unique"),
        ("budget", 5, 99.0, r"`budget` must be 100.0 as on the first row of \(period 7, advertiser 1\), found 99.0"),
        ("leastWinningCost", 1, 0.2, "`leastWinningCost` must be the same on all rows"),
        ("pValue", 1, 1.5, "`pValue` must be at most 1 in period 7"),
        ("bid", 1, -1.0, "`bid` must be finite and not negative, found '-1.0'"),
    ):
        changed = log.astype({column: float})
        changed.loc[row, column] = value
        with pytest.raises(AuctionNetLogError, match=message):
            read(changed)
    changed = log.copy()
    changed.loc[0, "adSlot"] = 5
    with pytest.raises(ValueError, match="`n_slots` must be at least the log's `adSlot`, 5"):
        read(changed)


def test_the_files_of_a_period_must_follow_each_other(tmp_path: Path) -> None:
    first = log_rows([[0.5, 0.3, 0.2, 0.1]] * 3, reserve=0.01)
    other = first.assign(deliveryPeriodIndex=8)
    for name, frame in (("a.csv", first[:8]), ("b.csv", first[8:]), ("c.csv", other)):
        frame.to_csv(tmp_path / name, index=False)
    market = replay_from_auctionnet(tmp_path)
    assert market.n_impressions.tolist() == [3, 3] and market.periods.tolist() == [7, 8]
    first.assign(pvIndex=first["pvIndex"] + 9).to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(AuctionNetLogError, match="must follow each other, found period 7 again"):
        replay_from_auctionnet(tmp_path)


PARTLY_SOLD = [[0.5, 0.3, 0.2, 0.1], [0.5, 0.3, 0.00005, 0.00002], [0.005, 0.4, 0.0, 0.0]]


def test_the_reserve_price_is_the_one_that_the_log_shows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = log_rows(PARTLY_SOLD, reserve=0.0001)
    log.to_csv(tmp_path / "a.csv", index=False)
    full = log_rows(PARTLY_SOLD[:1] * 2, reserve=0.0001).assign(deliveryPeriodIndex=8)  # shows no reserve price
    full.to_csv(tmp_path / "b.csv", index=False)
    with caplog.at_level(logging.INFO):
        market = replay_from_auctionnet(tmp_path)
    assert market.rules == ReplayParams(reserve=0.0001)
    assert [record.message for record in caplog.records] == [
        "the reserve price is 0.0001: the smallest least winning cost of the log"
    ]
    for j, rows in log.groupby("advertiserNumber"):
        np.testing.assert_array_equal(market.clear(7, int(j), rows["bid"].to_numpy()).slot, rows["adSlot"])
    for j, rows in full.groupby("advertiserNumber"):
        np.testing.assert_array_equal(market.clear(8, int(j), rows["bid"].to_numpy()).slot, rows["adSlot"])
    with pytest.raises(ValueError, match=r"reserve 0\.01, on 2 of 3 impressions"):
        replay_from_auctionnet(tmp_path / "a.csv", rules=ReplayParams())
    assert replay_from_auctionnet(tmp_path / "b.csv").rules.reserve == 0.01
    log_rows(PARTLY_SOLD, reserve=0.001).assign(deliveryPeriodIndex=9).to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(ValueError, match=r"must be the same in all periods, found .* \[0\.0001, 0\.001\]"):
        replay_from_auctionnet(tmp_path)


def test_rules_hold_for_logs_of_one_advertiser_too(tmp_path: Path) -> None:
    log = log_rows(PARTLY_SOLD, reserve=0.0001)
    log[log["advertiserNumber"] == 1].to_csv(tmp_path / "log.csv", index=False)
    rules = ReplayParams(n_slots=1, exposure=(0.25,), reserve=0.0, mechanism="first_price")
    market = replay_from_auctionnet(tmp_path, assumption="least_winning_cost", rules=rules)
    assert market.rules == rules
    found = market.clear(7, 1, [0.3, 0.3, 0.00005])
    np.testing.assert_array_equal(found.slot, [1, 1, 0])
    np.testing.assert_array_equal(found.price, np.float32([0.3, 0.3, 0.0]))
    with pytest.raises(ValueError, match="`rules` must have `n_slots` 1 with 'least_winning_cost', found 3"):
        replay_from_auctionnet(tmp_path, assumption="least_winning_cost", rules=ReplayParams())


def three_logs(path: Path) -> list[Path]:
    """Three periods in two files; the second lacks advertiser 0 and its rows are mixed."""
    rng = np.random.default_rng(0)
    logs = []
    for period in (7, 8, 9):
        bids = np.round(rng.uniform(0, 1, (30, 5)), 2).tolist()
        logs.append(log_rows(bids, reserve=0.3).assign(deliveryPeriodIndex=period))
    logs[1] = logs[1][logs[1]["advertiserNumber"] > 0].sample(frac=1, random_state=1)
    files = [path / "a.csv", path / "b.csv"]
    pd.concat([logs[0], logs[1][:40]]).to_csv(files[0], index=False)
    pd.concat([logs[1][40:], logs[2]]).to_csv(files[1], index=False)
    return files


def test_a_market_in_files_is_the_one_in_memory_and_an_import_that_was_stopped_goes_on(tmp_path: Path) -> None:
    files, forced = three_logs(tmp_path), {"assumption": "full_ladder", "block_bytes": 4000}
    expected = replay_from_auctionnet(files, **forced)
    assert np.isnan(expected.budget[1, 0]) and (expected.log.value[0, 30:60] == 0).all()
    calls: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        calls.append((done, total))
        if (tmp_path / ".out.unfinished" / "finished.json").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_replay(files, tmp_path / "out", progress=stop, **forced)
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileExistsError, match="`assumption` differs"):
        import_replay(files, tmp_path / "out", block_bytes=4000)
    again: list[int] = []
    summary = import_replay(files, tmp_path / "out", progress=lambda done, _: again.append(done), **forced)
    assert again[0] > calls[0][1] / 2 and again[-1] == calls[0][1]  # the first pass is not made again
    assert (summary.n_rows, summary.n_impressions, summary.n_periods) == (30 * 14, 90, 3)
    market = load_replay(tmp_path / "out")
    for name in market.log._fields:
        np.testing.assert_array_equal(getattr(market.log, name), getattr(expected.log, name), err_msg=name)
    for name in ("periods", "advertisers", "budget", "cpa_target", "category"):
        np.testing.assert_array_equal(getattr(market, name), getattr(expected, name), err_msg=name)
    assert market.rules == expected.rules
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv", "out"]
    with pytest.raises(FileExistsError, match="must be empty"):
        import_replay(files, tmp_path / "out", **forced)
