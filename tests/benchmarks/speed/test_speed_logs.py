"""The pandas references compute the sums of the importers, and the figures are made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from auction_env import data
from auction_env.data.formats.criteo.importing import import_criteo
from auction_env.data.formats.table.bids import sum_bids
from benchmarks.speed import data as speed_data
from benchmarks.speed.reference.pandas_logs import bids_pandas, criteo_pandas, ipinyou_pandas
from benchmarks.speed.reference.synthetic_logs import write_bids, write_criteo, write_ipinyou


def test_the_references_compute_the_same_sums(tmp_path: Path) -> None:
    write_bids(tmp_path / "bids.csv", 500)
    keys = ["campaign", "period", "tick"]
    found = sum_bids(tmp_path / "bids.csv", time_unit="s").to_pandas().sort_values(keys)
    expected = bids_pandas(tmp_path / "bids.csv")
    for name in ("bid", "volume", "impressions", "cost", "conversions"):
        np.testing.assert_allclose(found[name], expected[name])
    write_ipinyou(tmp_path, 500)
    given = {"task": speed_data.CLICKS, "budget_factor": 1.0, "constants": {"cpa_target": 1.0}}
    data.import_ipinyou(sorted(tmp_path.glob("*.txt")), tmp_path / "out", **given)  # type: ignore[arg-type]
    log, expected = data.load(tmp_path / "out"), ipinyou_pandas(tmp_path)
    expected = expected[expected.groupby("advertiser").cost.transform("sum") > 0]
    for ours, theirs in (("n_impressions", "volume"), ("wins", "impressions"), ("cost", "cost"), ("clicks", "clicks")):
        np.testing.assert_allclose(getattr(log, ours), expected[theirs])
    write_criteo(tmp_path / "criteo.tsv", 500)
    import_criteo(tmp_path / "criteo.tsv", tmp_path / "criteo")
    sums = pq.read_table(tmp_path / "criteo" / "ticks.parquet").to_pandas().sort_values(keys)
    assert sums.conversions.sum() > 0
    np.testing.assert_allclose(sums.conversions, criteo_pandas(tmp_path / "criteo.tsv").conversions)


def test_figures_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, write in (("bids", write_bids), ("ipinyou", write_ipinyou), ("criteo", write_criteo)):
        monkeypatch.setattr(speed_data, f"write_{name}", lambda path, n, write=write: write(path, 300))
    rows = {row.name: row for row in speed_data.logs_rows(quick=True)}
    assert set(rows) == {f"{name}_import_rows_per_s" for name in ("bids", "ipinyou", "criteo")}
    assert all(np.isfinite(row.value) and row.value > 0 and row.bound for row in rows.values())
