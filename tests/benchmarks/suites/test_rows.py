"""Rows from finished episodes."""

from __future__ import annotations

import numpy as np
import pytest

from agents import FixedBidder, rollout_each
from auction_env import TASKS, MarketParams
from benchmarks.suites.storage.rows import result_rows


def test_rows_name_their_method_and_need_one() -> None:
    low, high = rollout_each(
        [FixedBidder(0.5), FixedBidder(1.5)], seeds=[1, 2], advertisers=[3, 4], task=TASKS["TargetCPA"],
        params=MarketParams(n_impressions=300),
    )  # fmt: skip
    rows = result_rows({"low": low, "high": high}, high, suite="x")
    assert rows["method"].tolist() == ["low", "low", "high", "high"]
    np.testing.assert_array_equal(rows["score_expected"][2:], rows["reference"][2:])
    with pytest.raises(
        ValueError, match="`episodes` must hold the finished episodes of at least one method, found none"
    ):
        result_rows({}, high, suite="x")
