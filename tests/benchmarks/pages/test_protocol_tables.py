"""Tables of protocols: in a suite whose tests are protocols, and in no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.pages.tables.protocols import PUBLISHED
from benchmarks.pages.tables.suite import all_cells
from benchmarks.statistics.bootstrap import Bootstrap
from benchmarks.suites.storage.store import Store
from tests.benchmarks.suites.made_up import write_results

FAST = Bootstrap(n_resamples=200)
TESTS = (
    "fixed-prices", "market", *(f"{name}, budget x {x}" for name in ("fixed-prices", "market")
                                for x in (0.5, 0.75, 1.25, 1.5)), "market, rivals' budgets x 1.1",
)  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("r") / "r", tasks=TESTS, n_viewed=0, with_failure=False)


def test_a_suite_of_protocols_has_their_tables(results: Path) -> None:
    scores, agreement, offline, true = all_cells(results, bootstrap=FAST, kinds=["protocols"])
    assert [row[0] for row in scores.rows] == ["PID", "SINGLE", "UNIFORM", "VAO"]
    assert scores.header == ("method", "market", "fixed-prices (over market)")
    assert "8 period(s)" in scores.notes[0] and any("P1" in note for note in scores.notes)
    assert [row[0] for row in agreement.rows] == ["fixed-prices"]
    assert agreement.rows[0][4] in {row[0] for row in scores.rows}
    budgets = tuple(f"budget x {x}" for x in (0.5, 0.75, 1.25, 1.5))
    assert offline.header == ("method", *budgets[:2], "plain", *budgets[2:])
    assert true.header == (*offline.header, "rivals' budgets x 1.1")
    assert len(offline.rows) == 4  # nothing published beside figures of another suite


def test_published_figures_stand_beside_ours_on_a_users_periods(results: Path) -> None:
    store = Store(results)
    record = store.suite()
    store.write_suite(replace(record, id="auctionnet/v3/cpu", size="cpu"))
    offline = all_cells(results, bootstrap=FAST, kinds=["protocols"])[2]
    assert offline.rows[4] == ("published: DiffBid", "9.9", "15.4", "19.5", "25.3", "30.8")
    assert len(offline.rows) == 4 + len(PUBLISHED) and "DBM-Bid" in offline.notes[-1]
    store.write_suite(record)


def test_other_suites_have_no_such_tables(tmp_path: Path) -> None:
    other = write_results(tmp_path / "r", with_failure=False)
    assert all_cells(other, bootstrap=FAST, kinds=["protocols"]) == []
