"""The figures on trajectories are made; what they are is the machine's affair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auction_env.data import from_table
from benchmarks.speed import data as speed_data
from benchmarks.speed.reference.pandas_table import table_pandas
from benchmarks.speed.reference.synthetic_table import write_table


def test_figures_of_labels_and_relabelling() -> None:
    log = speed_data.small_log(2)
    parts = (speed_data.relabelling_rows(log), speed_data.hindsight_rows(log), speed_data.family_rows(log, 8))
    rows = {row.name: row for part in parts for row in part}
    assert set(rows) == {"relabelled_ticks_per_s", "hindsight_labels_per_s", "prepared_pairs_vs_own_labels"}
    assert all(np.isfinite(row.value) and row.value > 0 and row.bound for row in rows.values())
    prepared = rows["prepared_pairs_vs_own_labels"]
    assert "64 pairs" in prepared.reference and prepared.bound.startswith("2x")


def test_figures_of_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_data, "write_table", lambda path, n_episodes: write_table(path, n_episodes=20))
    rows = {row.name: row for row in speed_data.table_rows(quick=True)}
    assert set(rows) == {"table_rows_per_s", "table_vs_pandas"}
    assert all(np.isfinite(row.value) and row.value > 0 and row.bound for row in rows.values())


def test_the_pandas_reference_computes_the_same_features(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", n_episodes=7)
    log, frame = from_table(tmp_path / "t.parquet", task="TargetCPA"), table_pandas(tmp_path / "t.parquet", 48)
    names = [name for name in frame.columns if name.startswith(("feature_", "budget_left"))]
    assert len(names) == 12
    for name in names:
        np.testing.assert_allclose(frame[name], log[name], rtol=1e-9, atol=1e-12, err_msg=name)
