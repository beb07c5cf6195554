"""The importer of AuctionNet's logs: numbers, order and blocks, and every kind of bad file."""

from __future__ import annotations

import gzip
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from auction_env.control.observation import FEATURE_NAMES
from auction_env.data import (
    COLUMN_NAMES,
    AuctionNetLogError,
    TrajectoryData,
    import_auctionnet_impressions,
    load,
    write,
)
from auction_env.data.formats.auctionnet_csv import LOG_COLUMNS
from auction_env.data.schema import UNRECORDED
from auction_env.kernels.logs.csv_parser import LINES_OK, PADDING, parse_lines
from auction_env.tasks import TASKS
from benchmarks.speed.reference.pandas_import import import_pandas

SHARED_LOGS = Path(__file__).parents[4] / "shared" / "data" / "auctionnet_log"
needs_shared_logs = pytest.mark.skipif(
    not SHARED_LOGS.is_dir(), reason=f"the sample logs of AuctionNet are not at {SHARED_LOGS}"
)

Row = tuple[float | str, ...]


def impression(
    advertiser: int,
    tick: int,
    pv: int,
    *,
    left: float,
    value: float,
    bid: float,
    lwc: float,
    won: int = 0,
    slot: int = 0,
    cost: float = 0.0,
    exposed: int = 0,
    converted: int = 0,
    ended: int = 0,
    period: int = 7,
) -> Row:
    category, budget, cpa = {3: (1, 100.0, 10), 5: (2, 50.0, 20.0)}[advertiser]
    return (
        *(period, advertiser, category, budget, cpa, tick, left, pv, value, 0.125, bid, won, slot, cost),
        *(exposed, converted, lwc, ended),
    )


# Advertiser 3 has ticks 0, 1, 2, 4 and 5; advertiser 5 has ticks 1 and 47 and has ended at tick 1.
ROWS: list[Row] = [
    impression(3, 0, 0, left=100, value=0.25, bid=1, lwc=0.5, won=1, slot=1, cost=0.5, exposed=1, converted=1),
    impression(3, 0, 1, left=100, value=0.75, bid=3, lwc=4.5),
    impression(3, 1, 0, left=99.5, value=0.5, bid=1, lwc=1.5, won=1, slot=3, cost=0.75),  # won, not exposed
    impression(5, 1, 0, left=0.0625, value=0.5, bid=0, lwc=1.5, ended=1),
    impression(5, 1, 1, left=0.0625, value=0.25, bid=0, lwc=2.5, ended=1),
    impression(3, 2, 0, left=99.5, value=0, bid=0, lwc=1),
    impression(3, 2, 1, left=99.5, value=0, bid=0, lwc=2),
    impression(3, 2, 2, left=99.5, value=0, bid=0, lwc=3),
    impression(3, 4, 0, left=99.5, value=0.5, bid=2, lwc=1, won=1, slot=2, cost=1.25, exposed=1, converted=1),
    impression(3, 4, 1, left=99.5, value=1.0, bid=6, lwc=6),
    impression(3, 5, 0, left=98.25, value=0.125, bid=0.5, lwc=2, won=1, slot=1, cost=0.25, exposed=1),
    impression(5, 47, 0, left=0.0625, value=0.25, bid=1, lwc=0.5, won=1, slot=1, cost=0.0625, exposed=1),
]

THIRD = 1 / 3
# one row per (advertiser, tick): FEATURE_NAMES in order
FEATURES = {
    (3, 0): (1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.5, 2, 0, 0),
    (3, 1): (47 / 48, 0.995, 2, 2, 2.5, 0.5, 0.5, 0.5, 2.5, 0.5, 0.5, 0.5, 0.5, 1, 2, 2),
    (3, 2): (46 / 48, 0.995, 1.5, 1.5, 2, 0.5, 0.25, 0.75, 2, 0.5, 0.25, 0.75, 0, 3, 3, 3),
    (3, 4): (44 / 48, 0.995, 1, 1, 2, THIRD, 1 / 6, 0.5, 2, THIRD, 1 / 6, 0.5, 0.75, 2, 6, 6),
    (3, 5): (
        *(43 / 48, 0.9825, 1.75, 5 / 3, 2.375, 0.4375, 0.25, 0.5),
        *(7 / 3, 1.25 / 3, 0.5 / 3, 0.5, 0.125, 1, 6, 8),
    ),
    (5, 1): (47 / 48, 0.00125, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.375, 2, 0, 0),
    (5, 47): (1 / 48, 0.00125, 0, 0, 2, 0.375, 0, 0, 2, 0.375, 0, 0, 0.25, 1, 2, 2),
}
# action, reward, reward_expected, done, n_impressions, bid, offered_conversions, wins, exposures, cost, conversions,
# value, least_winning_cost, budget_left
OUTCOME_NAMES = [name for name in COLUMN_NAMES[COLUMN_NAMES.index("action") :] if name not in UNRECORDED]
OUTCOMES = {
    (3, 0): (4, 1, 0.25, False, 2, 4, 1, 1, 1, 0.5, 1, 0.25, 2.5, 100),
    (3, 1): (2, 0, 0, False, 1, 1, 0.5, 1, 0, 0, 0, 0, 1.5, 99.5),
    (3, 2): (0, 0, 0, False, 3, 0, 0, 0, 0, 0, 0, 0, 2, 99.5),
    (3, 4): (16 / 3, 1, 0.5, False, 2, 8, 1.5, 1, 1, 1.25, 1, 0.5, 3.5, 99.5),
    (3, 5): (4, 0, 0.125, False, 1, 0.5, 0.125, 1, 1, 0.25, 0, 0.125, 2, 98.25),
    (5, 1): (0, 0, 0, True, 2, 0, 0.75, 0, 0, 0, 0, 0, 2, 0.0625),
    (5, 47): (4, 0, 0.25, True, 1, 1, 0.25, 1, 1, 0.0625, 0, 0.25, 0.5, 0.0625),
}


def to_text(rows: Sequence[Row], columns: Sequence[str] = LOG_COLUMNS, newline: str = "\n") -> str:
    order = [LOG_COLUMNS.index(column) for column in columns]
    lines = [",".join(columns), *(",".join(str(row[index]) for index in order) for row in rows)]
    return newline.join(lines) + newline


def write_log(path: Path, text: str) -> Path:
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, newline="")
    return path


def imported(path: Path, text: str, *, name: str = "log.csv", block_bytes: int = 1 << 20) -> TrajectoryData:
    """The data set that comes from a log with this text."""
    log = write_log(path / name, text)
    import_auctionnet_impressions(log, path / "out", force=True, block_bytes=block_bytes)
    return load(path / "out")


def assert_equal(left: TrajectoryData, right: TrajectoryData, rtol: float = 0.0) -> None:
    assert left.tasks == right.tasks
    for name in COLUMN_NAMES:
        np.testing.assert_allclose(left[name], right[name], rtol=rtol, atol=0, err_msg=name)


# --- numbers -----------------------------------------------------------------------------------------------


def test_hand_computed_rows(tmp_path: Path) -> None:
    data = imported(tmp_path, to_text(ROWS))
    keys = list(zip(data.advertiser.tolist(), data.tick.tolist(), strict=True))
    assert keys == sorted(FEATURES) == sorted(OUTCOMES)
    for row, key in enumerate(keys):
        np.testing.assert_allclose(data.features[row], FEATURES[key], rtol=1e-14, err_msg=str(key))
        for name, expected in zip(OUTCOME_NAMES, OUTCOMES[key], strict=True):
            assert data[name][row] == pytest.approx(expected, rel=1e-14), (key, name)
    assert len(FEATURE_NAMES) == len(FEATURES[3, 0])


def test_hand_computed_campaigns(tmp_path: Path) -> None:
    data = imported(tmp_path, to_text(ROWS))
    first = data.episode_starts[:-1]
    assert data.n_episodes == 2
    assert data.period[first].tolist() == [7, 7]
    assert data.category[first].tolist() == [1, 2]
    assert data.budget[first].tolist() == [100, 50]
    assert data.cpa_target[first].tolist() == [10, 20]
    assert set(data.seed) == {-1}
    assert data.tasks == (TASKS["TargetCPA"],)
    for name, wanted in (("budget", [100, 50]), ("cpa_limit", [10, 20]), ("has_cpa_limit", [1, 1])):
        assert data[f"requirement_{name}"][first].tolist() == wanted
    assert data.metadata["files"] == ["log.csv"]
    assert data.metadata["n_log_rows"] == len(ROWS)


def test_summary_counts_and_progress_ends_at_the_total(tmp_path: Path) -> None:
    logs = [write_log(tmp_path / name, to_text(ROWS)) for name in ("a.csv",)]
    second = [impression(3, 0, 0, left=1, value=0.5, bid=1, lwc=1, period=8)]
    logs.append(write_log(tmp_path / "b.csv.gz", to_text(second)))
    calls: list[tuple[int, int]] = []

    summary = import_auctionnet_impressions(
        logs, tmp_path / "out", progress=lambda *call: calls.append(call), block_bytes=200
    )
    assert summary[:3] == (len(ROWS) + 1, len(FEATURES) + 1, 3)
    assert summary.seconds > 0
    total = sum(log.stat().st_size for log in logs)
    assert calls[-1] == (total, total)
    assert {call[1] for call in calls} == {total}
    assert [call[0] for call in calls] == sorted(call[0] for call in calls)


@needs_shared_logs
def test_equals_the_pandas_reference(tmp_path: Path) -> None:
    import_auctionnet_impressions(SHARED_LOGS, tmp_path / "out")
    data = load(tmp_path / "out")
    expected = import_pandas(sorted(SHARED_LOGS.glob("*.csv.gz")))
    assert len(data) == len(expected) == 2 * 48 * 48
    for name in expected.columns:
        np.testing.assert_allclose(data[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=name)
    left_out = {name for name in COLUMN_NAMES if not name.startswith("requirement_")} - {
        "seed",
        "task",
        "policy",
        *UNRECORDED,
    }
    assert not any(data[name].any() for name in UNRECORDED)
    assert set(expected.columns) == left_out


def random_rows(n: int, seed: int = 0) -> list[Row]:
    """A log of two advertisers over all ticks, with many digits."""
    rng = random.Random(seed)
    rows = []
    for pv in range(n):
        tick = rng.randrange(48)
        for advertiser in (3, 5):
            won = rng.randrange(2)
            rows.append(
                impression(
                    *(advertiser, tick, pv),
                    left=50 * (1 - tick / 48),
                    value=rng.expovariate(1000),
                    bid=rng.expovariate(10),
                    lwc=rng.expovariate(10),
                    won=won,
                    slot=won,
                    cost=won * rng.random(),
                    exposed=won * rng.randrange(2),
                    converted=won * rng.randrange(2),
                    period=pv % 2,
                )
            )
    return rows


def test_equals_the_pandas_reference_on_random_logs(tmp_path: Path) -> None:
    data = imported(tmp_path, to_text(random_rows(400)))
    expected = import_pandas([tmp_path / "log.csv"])
    for name in expected.columns:
        np.testing.assert_allclose(data[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


# --- order, blocks and files -------------------------------------------------------------------------------


def test_rows_may_come_in_any_order(tmp_path: Path) -> None:
    rows = random_rows(300)
    expected = imported(tmp_path, to_text(rows))
    random.Random(1).shuffle(rows)
    assert_equal(imported(tmp_path, to_text(rows)), expected, rtol=1e-12)


def test_columns_may_come_in_any_order(tmp_path: Path) -> None:
    columns = list(LOG_COLUMNS)
    random.Random(1).shuffle(columns)
    expected = imported(tmp_path, to_text(ROWS))
    assert_equal(imported(tmp_path, to_text(ROWS, columns)), expected)


@pytest.mark.parametrize("block_bytes", [1, 2, 37, 100, 999, 5000])
def test_blocks_do_not_change_a_bit(tmp_path: Path, block_bytes: int) -> None:
    rows = random_rows(40)
    expected = imported(tmp_path, to_text(rows))
    for name in ("log.csv", "log.csv.gz"):
        assert_equal(imported(tmp_path, to_text(rows), name=name, block_bytes=block_bytes), expected)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r\n").rstrip("\r\n"),
        lambda text: text.replace("\n", "\n\n") + "\n\n",
        lambda text: "\ufeff" + text,
        lambda text: text.replace("budget", '"budget"').replace("pvIndex", " pvIndex "),
        lambda text: text.replace("0.5", "5e-1").replace("0.25", "0.25000000000000000000000"),
        lambda text: text.replace("0.125", ".125").replace("100.0", "100."),
    ],
    ids=[
        "no last newline",
        "CRLF",
        "CRLF, none last",
        "blank lines",
        "BOM",
        "quoted header",
        "other spellings",
        "bare points",
    ],
)
@pytest.mark.parametrize("block_bytes", [50, 1 << 20])
def test_the_same_log_written_otherwise(tmp_path: Path, edit: Callable[[str], str], block_bytes: int) -> None:
    expected = imported(tmp_path, to_text(ROWS))
    assert_equal(imported(tmp_path, edit(to_text(ROWS)), block_bytes=block_bytes), expected)


def test_gzip_of_several_members(tmp_path: Path) -> None:
    text = to_text(ROWS).encode()
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(text[:700]) + gzip.compress(text[700:]))
    import_auctionnet_impressions(tmp_path / "log.csv.gz", tmp_path / "out")
    assert_equal(load(tmp_path / "out"), imported(tmp_path, to_text(ROWS)))


def test_a_period_may_span_files_with_different_column_orders(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    write_log(logs / "a.csv", to_text(ROWS[::2]))
    write_log(logs / "b.csv.gz", to_text(ROWS[1::2], LOG_COLUMNS[::-1]))
    (logs / "readme.txt").write_text("no log")
    import_auctionnet_impressions(logs, tmp_path / "out")
    data = load(tmp_path / "out")
    assert_equal(data, imported(tmp_path, to_text(ROWS)))


def test_many_advertisers_make_the_table_grow(tmp_path: Path) -> None:
    template = list(ROWS[0])
    rows = []
    for advertiser in range(3000):
        template[1] = advertiser
        template[3] = 10.0 + advertiser
        rows.append(tuple(template))
    data = imported(tmp_path, to_text(rows), block_bytes=10_000)
    assert data.advertiser.tolist() == list(range(3000))
    np.testing.assert_array_equal(data.budget, 10.0 + np.arange(3000))


def test_exact_cells_of_any_length(tmp_path: Path) -> None:
    """Numbers beyond the compiled parser's range are parsed all the same, correctly rounded."""
    cells = ["0.1000000000000000055511151231257827", "1e-300", "123456789012345678901234567890e-30", "5e-324"]
    for pv, cell in enumerate(cells):
        row = list(impression(3, pv, 0, left=1, value=1, bid=1, lwc=1))
        row[LOG_COLUMNS.index("bid")] = cell
        data = imported(tmp_path, to_text([tuple(row)]))
        assert data.bid[0] == float(cell)


def test_a_log_of_long_numbers_only(tmp_path: Path) -> None:
    """Nothing is quadratic in the number of cells that Python has to parse."""
    rows = random_rows(2000)
    expected = imported(tmp_path, to_text(rows))
    longer = re.sub(r"(\d\.\d+)(?=[,\n])", r"\g<1>" + "0" * 20, to_text(rows))
    assert_equal(imported(tmp_path, longer), expected)


# --- bad files ---------------------------------------------------------------------------------------------


def with_cell(line: int, column: str, cell: str) -> str:
    """The log of ROWS with another cell; `line` counts from the header, which is line 1."""
    lines = to_text(ROWS).splitlines()
    cells = lines[line - 1].split(",")
    cells[LOG_COLUMNS.index(column)] = cell
    lines[line - 1] = ",".join(cells)
    return "\n".join(lines) + "\n"


BAD_CELLS = [
    ("budget", "", "must be a finite number, found ''"),
    ("bid", "nan", "must be a finite number, found 'nan'"),
    ("pValue", "inf", "must be a finite number, found 'inf'"),
    ("leastWinningCost", "-Infinity", "must be a finite number"),
    ("cost", "1e999", "must be finite and not negative, found '1e999'"),
    ("bid", "abc", "must be a finite number, found 'abc'"),
    ("bid", "1.5.2", "must be a finite number"),
    ("bid", "1e", "must be a finite number"),
    ("bid", "-", "must be a finite number"),
    ("bid", " 1", "must be a finite number"),
    ("bid", '"1"', "must be a finite number"),
    ("bid", "0x10", "must be a finite number"),
    ("bid", "1_0", "must be a finite number"),
    ("bid", "\u0661", "must be a finite number"),
    ("bid", "-0.5", "must be finite and not negative, found '-0.5'"),
    ("pValue", "-1e-9", "must be finite and not negative, found '-1e-9'"),
    ("pValueSigma", "-1", "must be finite and not negative"),
    ("cost", "-0.1", "must be finite and not negative"),
    ("leastWinningCost", "-2", "must be finite and not negative"),
    ("budget", "0", "must be finite and positive, found '0'"),
    ("budget", "-5", "must be finite and positive"),
    ("CPAConstraint", "0.0", "must be finite and positive"),
    ("timeStepIndex", "48", "must be an integer from 0 to 47, found '48'"),
    ("timeStepIndex", "-1", "must be an integer from 0 to 47"),
    ("timeStepIndex", "1.5", "must be an integer from 0 to 47"),
    ("deliveryPeriodIndex", "7.25", "must be an integer that is not negative"),
    ("advertiserNumber", "3.5", "must be an integer from 0 to 2147483647"),
    ("advertiserNumber", "2147483648", "must be an integer from 0 to 2147483647"),
    ("advertiserCategoryIndex", "-1", "must be an integer from 0 to 2147483647"),
    ("pvIndex", "0.5", "must be an integer that is not negative"),
    ("pvIndex", "123456789012345678901234567890", "must be an integer that is not negative"),
    ("adSlot", "1.5", "must be an integer from 0 to 2147483647"),
    ("xi", "2", "must be 0 or 1, found '2'"),
    ("isExposed", "0.5", "must be 0 or 1"),
    ("conversionAction", "-1", "must be 0 or 1"),
    ("isEnd", "3", "must be 0 or 1"),
    ("remainingBudget", "nan", "must be a finite number"),
    ("budget", "101", "must be 100.0 as on the first row of (period 7, advertiser 3), found '101'"),
    ("CPAConstraint", "11", "must be 10.0 as on the first row of (period 7, advertiser 3), found '11'"),
    ("advertiserCategoryIndex", "2", "must be 1.0 as on the first row of (period 7, advertiser 3)"),
    ("remainingBudget", "99", "must be 99.5 as on the first row of (period 7, advertiser 3, tick 2)"),
    ("isEnd", "1", "must be 0.0 as on the first row of (period 7, advertiser 3, tick 2)"),
]


def assert_refused(
    tmp_path: Path, log: Path, *parts: str, block_bytes: int = 1 << 20
) -> pytest.ExceptionInfo[AuctionNetLogError]:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(AuctionNetLogError) as info:
        import_auctionnet_impressions(log, tmp_path / "out", block_bytes=block_bytes)
    for part in (str(log), *parts):
        assert part in str(info.value)
    assert sorted(tmp_path.iterdir()) == before  # neither `out` nor a scratch directory
    return info


@pytest.mark.parametrize(("column", "cell", "rule"), BAD_CELLS)
@pytest.mark.parametrize("block_bytes", [150, 1 << 20])
def test_bad_cells(tmp_path: Path, column: str, cell: str, rule: str, block_bytes: int) -> None:
    line = 8  # the second impression of advertiser 3's tick 2
    log = write_log(tmp_path / "log.csv", with_cell(line, column, cell))
    info = assert_refused(tmp_path, log, f"line {line} ", f"`{column}` {rule}", block_bytes=block_bytes)
    assert (info.value.path, info.value.line, info.value.column) == (log, line, column)
    assert isinstance(info.value, ValueError)


def test_the_first_of_several_errors_is_named(tmp_path: Path) -> None:
    text = to_text(ROWS).replace("\n", "\r\n\r\n")  # blank lines count
    lines = text.split("\r\n")
    changed = lines[12].split(",")  # line 13: cross-row rule
    changed[LOG_COLUMNS.index("budget")] = "77"
    lines[12] = ",".join(changed)
    lines[14] = "not,a,row"  # line 15: syntax
    lines[16] = lines[16].replace("99.5", "x")
    for block_bytes in (64, 1 << 20):
        log = write_log(tmp_path / "log.csv", "\r\n".join(lines))
        assert_refused(tmp_path, log, "line 13 ", "`budget` must be 100.0", block_bytes=block_bytes)
        lines_without = [*lines[:12], *lines[13:]]
        log = write_log(tmp_path / "log.csv", "\r\n".join(lines_without))
        assert_refused(tmp_path, log, "line 14 ", "must have 18 fields, found 3", block_bytes=block_bytes)


@pytest.mark.parametrize("slow_cell", ["-0.10000000000000000000001", "0.10000000000000000000001"])
def test_long_numbers_are_checked_too(tmp_path: Path, slow_cell: str) -> None:
    lines = with_cell(4, "bid", slow_cell).splitlines()
    lines[5] = "1,2"
    log = write_log(tmp_path / "log.csv", "\n".join(lines))
    expected = ("line 4 ", "`bid`") if slow_cell.startswith("-") else ("line 6 ", "18 fields")
    assert_refused(tmp_path, log, *expected)


@pytest.mark.parametrize(
    ("edit", "parts"),
    [
        (lambda line: line.rsplit(",", 1)[0], ("18 fields, found 17", "the first missing is `isEnd`")),
        (lambda line: line.split(",", 3)[0], ("18 fields, found 1", "`advertiserNumber`")),
        (lambda line: line + ",0", ("18 fields, found 19",)),
        (lambda line: line.replace(",", ";"), ("18 fields, found 1",)),
        (lambda line: line + ",", ("18 fields, found 19",)),
        (lambda line: "   ", ("18 fields, found 1",)),
    ],
)
@pytest.mark.parametrize("line", [5, len(ROWS) + 1])
def test_lines_with_too_few_or_too_many_fields(
    tmp_path: Path, edit: Callable[[str], str], parts: tuple[str, ...], line: int
) -> None:
    lines = to_text(ROWS).splitlines()
    lines[line - 1] = edit(lines[line - 1])
    log = write_log(tmp_path / "log.csv", "\n".join(lines))
    assert_refused(tmp_path, log, f"line {line} ", *parts)


@pytest.mark.parametrize("column", ["deliveryPeriodIndex", "pValue", "isEnd"])
def test_missing_and_doubled_columns(tmp_path: Path, column: str) -> None:
    others = [name for name in LOG_COLUMNS if name != column]
    log = write_log(tmp_path / "log.csv", to_text(ROWS, others))
    assert_refused(tmp_path, log, "line 1 ", "must name each of the 18 columns", f"missing: {column}, found")
    log = write_log(tmp_path / "log.csv", to_text(ROWS, [*LOG_COLUMNS, column]))
    assert_refused(tmp_path, log, "line 1 ", f"twice: {column}, found")


def test_all_faults_of_a_header_come_at_once(tmp_path: Path) -> None:
    names = [name for name in LOG_COLUMNS if name not in ("pValue", "bid")]
    text = to_text(ROWS, [*names, "xi"]).replace("isEnd", "end", 1)
    log = write_log(tmp_path / "log.csv", text)
    assert_refused(tmp_path, log, "missing: pValue, bid, isEnd; twice: xi; unknown: end, found")


@pytest.mark.parametrize("name", ["pCTR", "", "Unnamed: 0"])
def test_unknown_columns(tmp_path: Path, name: str) -> None:
    lines = to_text(ROWS).splitlines()
    text = "\n".join([f"{name},{lines[0]}", *(f"0,{line}" for line in lines[1:])])
    log = write_log(tmp_path / "log.csv", text)
    assert_refused(tmp_path, log, "line 1 ", f"unknown: {name}, found")


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_files_without_data(tmp_path: Path, name: str) -> None:
    assert_refused(tmp_path, write_log(tmp_path / name, ""), "found an empty file")
    header = ",".join(LOG_COLUMNS)
    for text in (header, header + "\n", header + "\n\n\r\n\n"):
        assert_refused(tmp_path, write_log(tmp_path / name, text), "found only a header")
    good = write_log(tmp_path / "a.csv", to_text(ROWS))
    with pytest.raises(AuctionNetLogError, match=re.escape(str(tmp_path / name))):
        import_auctionnet_impressions([good, tmp_path / name], tmp_path / "out")


def test_broken_gzip_files(tmp_path: Path) -> None:
    log = tmp_path / "log.csv.gz"
    sound = gzip.compress(to_text(random_rows(200)).encode())
    log.write_bytes(sound[:-1000])
    assert_refused(tmp_path, log, "truncated: the compressed file must be complete")
    log.write_bytes(sound[:-4])
    assert_refused(tmp_path, log, "truncated")
    log.write_bytes(sound[:-8] + b"\0\0\0\0" + sound[-4:])
    assert_refused(tmp_path, log, "must be a sound gzip file: CRC check failed")
    log.write_bytes(sound[:500] + bytes(500) + sound[1000:])
    assert_refused(tmp_path, log, "must be a sound gzip file")
    log.write_text(to_text(ROWS))
    assert_refused(tmp_path, log, "must be a sound gzip file: Not a gzipped file")
    plain = tmp_path / "log.csv"
    plain.write_bytes(sound)
    assert_refused(tmp_path, plain, "line 1 ", "must end in .csv.gz")


def test_an_error_before_the_break_in_a_gzip_file_comes_first(tmp_path: Path) -> None:
    text = to_text([*ROWS[:2], *random_rows(300)]).replace("100.0", "-1", 1)
    log = tmp_path / "log.csv.gz"
    log.write_bytes(gzip.compress(text.encode())[:-8])
    assert_refused(tmp_path, log, "line 2 ", "`budget`", block_bytes=1000)


def test_endless_lines_are_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", to_text(ROWS) + "1" * (3 << 20))
    assert_refused(tmp_path, log, "a line must have at most", block_bytes=1 << 16)


def test_impressions_logged_twice_are_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", to_text([*ROWS, *ROWS]))
    with pytest.raises(AuctionNetLogError, match=r"`pvIndex` must be unique in \(period 7, advertiser 3, tick 0\)"):
        import_auctionnet_impressions(log, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_paths_that_are_no_logs(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", to_text(ROWS))
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="at least one log"):
        import_auctionnet_impressions([], out)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv must be a log"):
        import_auctionnet_impressions(tmp_path / "nowhere.csv", out)
    with pytest.raises(FileNotFoundError, match=r"empty must hold files that end in \.csv"):
        import_auctionnet_impressions(tmp_path / "empty", out)
    with pytest.raises(ValueError, match=r"found .*log\.csv twice"):
        import_auctionnet_impressions([tmp_path, log], out)
    with pytest.raises(ValueError, match=r"must end in \.csv"):
        import_auctionnet_impressions(Path(__file__), out)
    with pytest.raises(ValueError, match="`block_bytes` must be positive, found 0"):
        import_auctionnet_impressions(log, out, block_bytes=0)
    assert not out.exists()


def test_an_import_replaces_a_data_set_only_on_request_and_only_when_sound(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", to_text(ROWS))
    old = imported(tmp_path, to_text(random_rows(20)), name="old.csv")
    with pytest.raises(FileExistsError, match="`force=True`"):
        import_auctionnet_impressions(log, tmp_path / "out")
    bad = write_log(tmp_path / "bad.csv", with_cell(3, "bid", "x"))
    with pytest.raises(AuctionNetLogError, match="line 3"):
        import_auctionnet_impressions(bad, tmp_path / "out", force=True)
    assert_equal(load(tmp_path / "out"), old)
    import_auctionnet_impressions(log, tmp_path / "out", force=True)
    assert len(load(tmp_path / "out")) == len(FEATURES)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


class Logs(NamedTuple):
    """Logs, the bytes of the data set made of them, and the number of times that progress is called meanwhile."""

    files: list[Path]
    whole: dict[str, bytes]
    n_told: int


@pytest.fixture(scope="module")
def three_logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    """Two logs of several periods each, the second compressed, and one that ends them."""
    path = tmp_path_factory.mktemp("logs")
    texts = [to_text(random_rows(600, seed)) for seed in (1, 2, 3)]
    for seed, text in enumerate(texts):  # other periods in each
        header, *lines = text.splitlines()
        moved = [f"{int(line.split(',')[0]) + 10 * seed},{line.split(',', 1)[1]}" for line in lines]
        texts[seed] = "\n".join([header, *moved]) + "\n"
    files = [write_log(path / name, text) for name, text in zip(("a.csv", "b.csv.gz", "c.csv"), texts, strict=True)]
    done: list[int] = []
    import_auctionnet_impressions(files, path / "out", block_bytes=4000, progress=lambda at, total: done.append(at))
    return Logs(files, contents(path / "out"), len(done))


@pytest.mark.parametrize("seconds", [0.0, 1e9])  # a checkpoint after every block, and after every file only
@pytest.mark.parametrize(
    "n_blocks", [1, 39, 40, 117, *[pytest.param(n, marks=pytest.mark.exhaustive) for n in (5, 60, 100)]]
)
def test_an_interrupted_import_goes_on_to_the_same_bytes(
    three_logs: Logs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    n_blocks: int,
    seconds: float,
) -> None:
    files, whole, n_told = three_logs
    monkeypatch.setattr("auction_env.data.formats.auctionnet_import.CHECKPOINT_SECONDS", seconds)
    monkeypatch.setattr("auction_env.data.formats.auctionnet_import._CHECKPOINT_SHARE", 0)
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == n_blocks:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_auctionnet_impressions(files, tmp_path / "out", block_bytes=4000, progress=stop)
    again: list[int] = []
    import_auctionnet_impressions(
        files, tmp_path / "out", block_bytes=4000, progress=lambda done, total: again.append(done)
    )
    assert contents(tmp_path / "out") == whole
    assert os.listdir(tmp_path) == ["out"]
    n_all = sum(path.stat().st_size for path in files)
    assert again[-1] == n_all
    if seconds == 0:  # it went on behind the last block but one at the latest
        assert len(seen) + len(again) <= n_told + 1


KILLED = """
import sys
from pathlib import Path
from auction_env.data.formats import auctionnet_import as auctionnet

def wait(done, total):
    if done > 0.6 * total:
        Path(sys.argv[1]).touch()
        sys.stdin.read()

auctionnet.CHECKPOINT_SECONDS = 0.0
auctionnet._CHECKPOINT_SHARE = 0
auctionnet.import_auctionnet_impressions(sys.argv[3:], sys.argv[2], block_bytes=4000, progress=wait)
"""


def test_a_killed_import_goes_on_to_the_same_bytes(three_logs: Logs, tmp_path: Path) -> None:
    files, whole, _ = three_logs
    mark, out = tmp_path / "mark", tmp_path / "out"
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(mark), str(out), *map(str, files)],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    while not mark.exists():
        assert run.poll() is None
        time.sleep(0.01)
    run.kill()
    run.communicate()
    assert (tmp_path / ".out.unfinished" / "sums.npz").exists() and not out.exists()
    first: list[int] = []
    import_auctionnet_impressions(files, out, block_bytes=4000, progress=lambda done, total: first.append(done))
    assert first[0] > 0.5 * first[-1]
    assert contents(out) == whole


def test_a_changed_log_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auction_env.data.formats.auctionnet_import.CHECKPOINT_SECONDS", 0.0)
    log = write_log(tmp_path / "log.csv", to_text(random_rows(300)))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_auctionnet_impressions(log, tmp_path / "out", block_bytes=4000, progress=stop)
    write_log(log, to_text(random_rows(300, seed=1)) + "\n")
    with pytest.raises(FileExistsError, match=r"unfinished work with other arguments \(`files` differs\)"):
        import_auctionnet_impressions(log, tmp_path / "out")
    import_auctionnet_impressions(log, tmp_path / "out", force=True)
    (tmp_path / "fresh").mkdir()
    expected = imported(tmp_path / "fresh", log.read_text())
    assert_equal(load(tmp_path / "out"), expected)


def test_a_damaged_checkpoint_is_left_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = write_log(tmp_path / "log.csv", to_text(random_rows(300)))
    monkeypatch.setattr("auction_env.data.formats.auctionnet_import.CHECKPOINT_SECONDS", 0.0)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_auctionnet_impressions(log, tmp_path / "out", block_bytes=4000, progress=stop)
    (tmp_path / ".out.unfinished" / "sums.npz").write_bytes(b"PK half")
    import_auctionnet_impressions(log, tmp_path / "out")
    (tmp_path / "fresh").mkdir()
    assert_equal(load(tmp_path / "out"), imported(tmp_path / "fresh", log.read_text()))


def test_imports_join_other_data_sets(tmp_path: Path) -> None:
    data = imported(tmp_path, to_text(ROWS))
    other = imported(tmp_path, to_text([impression(3, 0, 0, left=1, value=1, bid=1, lwc=1, period=2)]))
    write(tmp_path / "both", [data, other])
    assert load(tmp_path / "both").period.tolist() == [2] + [7] * len(FEATURES)


# --- the compiled parser -----------------------------------------------------------------------------------


def parse_column(texts: Sequence[str]) -> tuple[NDArray[np.float64], int]:
    """The numbers of a file with one column, NaN where the compiled parser leaves them to Python."""
    raw = "".join(f"{text}\n" for text in texts).encode()
    data = np.frombuffer(bytearray(raw + bytes(PADDING)), np.uint8)
    rows = np.empty((len(texts) + 1, 1))
    rules = np.array([[-np.inf, np.inf, 0.0]])
    n_rows, n_lines, n_slow, status, _ = parse_lines(data, len(raw), np.array([0]), rules, rows)
    assert (n_rows, n_lines, status) == (len(texts), len(texts), LINES_OK)
    numbers = rows[:n_rows, 0]
    assert np.isnan(numbers).sum() == n_slow
    return numbers, n_slow


def assert_parsed_exactly(texts: Sequence[str]) -> int:
    numbers, n_slow = parse_column(texts)
    expected = np.array([float(text) for text in texts])
    is_wrong = (numbers.view(np.int64) != expected.view(np.int64)) & ~np.isnan(numbers)
    assert not is_wrong.any(), texts[int(np.argmax(is_wrong))]
    return n_slow


decimals = st.from_regex(r"-?([0-9]{1,25}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@given(st.lists(decimals, min_size=1, max_size=20))
def test_any_decimal_is_rounded_as_python_does(texts: list[str]) -> None:
    assert_parsed_exactly(texts)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False).map(repr), min_size=1, max_size=20))
def test_any_float_comes_back(texts: list[str]) -> None:
    assert_parsed_exactly(texts)


@pytest.mark.parametrize(("low", "high", "is_fast"), [(-9, 7, True), (-25, 25, True), (-320, 308, False)])
def test_many_floats_come_back(low: int, high: int, is_fast: bool) -> None:
    """Log-uniform numbers as Python writes them; those of a size that logs hold take the fast path."""
    rng = np.random.default_rng(low + 1000)
    numbers = 10.0 ** rng.uniform(low, high, 50_000)
    n_slow = assert_parsed_exactly([repr(float(number)) for number in numbers])
    assert (n_slow == 0) == is_fast


def test_halfway_cases_round_to_even() -> None:
    """Decimals exactly between two floats, and one digit to either side."""
    rng = np.random.default_rng(0)
    texts = []
    for exponent in range(-4, 10):
        for integer in rng.integers(2**52, 2**53, 200).tolist():
            middle = 2 * integer + 1  # halfway between two floats once scaled by 2**exponent
            if exponent >= 0:
                texts += [str((middle << exponent) + step) for step in (-1, 0, 1)]
            else:
                digits = str(middle * 5**-exponent)
                texts += [f"{digits[:exponent]}.{digits[exponent:]}"]
    assert_parsed_exactly(texts)


def test_the_reference_reads_what_the_importer_reads(tmp_path: Path) -> None:
    """The oracle's own check: it agrees with the rows computed by hand."""
    frame = import_pandas([write_log(tmp_path / "log.csv", to_text(ROWS))])
    assert isinstance(frame, pd.DataFrame)
    for row, (key, features) in enumerate(sorted(FEATURES.items())):
        assert (frame["advertiser"][row], frame["tick"][row]) == key
        named = [frame[f"feature_{name}"][row] for name in FEATURE_NAMES]
        np.testing.assert_allclose(named, features, rtol=1e-12, atol=1e-15, err_msg=str(key))
