"""The table of harms: a row each, known distances and losses."""

from __future__ import annotations

from agents import Harm
from benchmarks.studies.harm_truth import harm_table


def test_a_row_a_harm() -> None:
    harms = [Harm(kind="scaled_bid"), Harm(kind="scaled_bid", strength=0.0)]
    table = harm_table(harms, position=1, seed=7, n_trajectories=16, n_impressions=240)
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ["scaled_bid=1", "scaled_bid=0"]
    assert cells[1] == ["0.00", "0.00"] and float(cells[3][0]) > 0.5 and cells[3][1] == "0.00"
    assert all(float(losses[0]) > 20 and losses[1] == "0.0" for losses in cells[4:])
