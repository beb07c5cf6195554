"""Rules compared in BAT's market: the recipe, a small comparison, the user's own files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest

from auction_env.replay.bat.landscape import AT_OWN_PRICE, MONEY
from auction_env.replay.bat.market import read_bat
from benchmarks.studies.bat import comparison
from benchmarks.studies.bat.recipe import made_up_bat


def test_the_recipe_gives_tables_in_bats_schema() -> None:
    campaigns, stats = made_up_bat(5, seed=3)
    assert campaigns.equals(made_up_bat(5, seed=3)[0]) and not stats.equals(made_up_bat(5, seed=4)[1])
    market = read_bat(campaigns, stats)
    assert market.n_campaigns == 5 and campaigns.column("campaign_id")[0].as_py() == 3000
    assert (market.landscape.campaigns.n_hours % 24 == 0).all()
    total = market.landscape.sums[-1]
    assert 0.7 * total[AT_OWN_PRICE] < total[MONEY] < total[AT_OWN_PRICE]
    everything = np.diff(market.landscape.sums[market.landscape.first_row[market.landscape.first_hour], MONEY])
    share = market.landscape.campaigns.budget / everything
    assert (share > 0.1).all() and (share < 0.7).all()


def test_rules_are_tuned_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "RULES", ("mpid", "fixed"))
    campaigns, stats = made_up_bat(6, seed=1)
    for name, table in (("campaigns", campaigns), ("stats", stats)):
        pyarrow.csv.write_csv(table, tmp_path / f"{name}.csv")
    files = ["--campaigns", str(tmp_path / "campaigns.csv"), "--stats", str(tmp_path / "stats.csv")]
    comparison.main(["--out", str(tmp_path / "out"), "--candidates", "2", "--mechanisms", "first_price", *files])
    record = json.loads((tmp_path / "out" / "bat.json").read_text())
    assert record["n_campaigns"] == 4  # the first and the sixth are for tuning
    first, second = record["results"]
    assert first["scr"] >= second["scr"] > 0 and {first["rule"], second["rule"]} == {"mpid", "fixed"}
    own = next(row for row in record["results"] if row["rule"] == "fixed")
    low, value, high = own["difference"][1], own["difference"][0], own["difference"][2]
    other = next(row for row in record["results"] if row["rule"] == "mpid")
    assert low <= value <= high and value == pytest.approx((own["scr"] - other["scr"]) / 4)
    with pytest.raises(SystemExit):
        comparison.main(["--out", str(tmp_path / "out"), "--stats", "stats.csv"])
