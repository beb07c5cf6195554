"""What objects of the market and its logs show of themselves."""

from __future__ import annotations

import numpy as np
import pytest

from agents import FixedBidder, rollout, to_trajectories
from auction_env import TASKS, BatchMarket, Market, MarketParams
from auction_env.notebook import MOST_ROWS, html_table

PARAMS = MarketParams(n_impressions=480)


def test_a_table_escapes_text_and_counts_what_it_leaves_out() -> None:
    text = html_table("a <b>", ("name", "n"), [(f"<{k}>", 1234.5678) for k in range(MOST_ROWS + 3)])
    assert "a &lt;b&gt;" in text and "&lt;0&gt;" in text and "1235" in text
    assert f"&lt;{MOST_ROWS}&gt;" not in text and "and 3 more" in text


def test_a_market_says_what_it_is_and_where_it_stands() -> None:
    market = Market(PARAMS)
    assert "before an episode" in repr(market)
    market.reset(seed=1)
    market.step(market.cpa_target)
    assert "at tick 1" in repr(market) and "impressions 480" in repr(market)
    assert "markets 2" in repr(BatchMarket(PARAMS, n_markets=2))
    assert "<table>" in market._repr_html_() and len(repr(market)) < 200


def test_a_log_becomes_a_data_frame_with_its_texts() -> None:
    pytest.importorskip("pandas")
    played = rollout(FixedBidder(1.0), seeds=[3, 4], advertisers=[0, 5], task=TASKS["TargetCPA"], params=PARAMS)
    log = to_trajectories(played, period=[0, 1], policy=["one", "two"])
    frame = log.to_pandas()
    assert len(frame) == len(log) == 96
    assert set(frame["task"]) == {"TargetCPA"}
    assert frame.groupby("policy")["advertiser"].unique().map(list).to_dict() == {"one": [0], "two": [5]}
    np.testing.assert_array_equal(frame["cost"], log.cost)
    assert "TargetCPA" in log._repr_html_()
