"""The figures on trajectories are made; what they are is the machine's affair."""

from __future__ import annotations

import numpy as np

from benchmarks.speed import data as speed_data


def test_figures_of_labels_and_relabelling() -> None:
    log = speed_data._small_log(2)
    parts = (speed_data.relabelling_rows(log), speed_data.hindsight_rows(log), speed_data.family_rows(log, 8))
    rows = {row.name: row for part in parts for row in part}
    assert set(rows) == {"relabelled_ticks_per_s", "hindsight_labels_per_s", "prepared_pairs_vs_own_labels"}
    assert all(np.isfinite(row.value) and row.value > 0 and row.bound for row in rows.values())
    prepared = rows["prepared_pairs_vs_own_labels"]
    assert "64 pairs" in prepared.reference and prepared.bound.startswith("2x")
