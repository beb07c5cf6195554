"""Bidders, episodes, families and trainings show themselves in a line, as a table and as a data frame."""

from __future__ import annotations

import numpy as np
import pytest

from agents import FixedBidder, Harm, MixedBidder, NoisyBidder, PidBidder, make_task_family, rollout
from agents.registry import entries, make
from auction_env import TASKS, MarketParams

PARAMS = MarketParams(n_impressions=480)


def test_bidders_show_class_and_name() -> None:
    assert repr(PidBidder(name="slow")) == "PidBidder('slow')"
    assert repr(MixedBidder([PidBidder(), FixedBidder(1.0)])) == "MixedBidder([PidBidder('PID'), FixedBidder('fixed')])"
    for bidder in (NoisyBidder(PidBidder()), *(make(name) for name in ("pid", "fixed", "random", "hindsight"))):
        assert "0x" not in repr(bidder) and bidder.name in repr(bidder)
    assert "pid" in entries()


def test_episodes_are_a_line_and_a_row_each() -> None:
    pytest.importorskip("pandas")
    played = rollout(PidBidder(), seeds=[1, 2], advertisers=[0, 1], task=TASKS["TargetCPA"], params=PARAMS)
    assert len(repr(played)) < 120 and "2 of TargetCPA" in repr(played)
    frame = played.to_pandas()
    np.testing.assert_array_equal(frame["score_expected"], played.score(expected=True))
    np.testing.assert_array_equal(frame["cpa_ratio_expected"], played.ratios(expected=True)["cpa"])
    assert played._repr_html_().count("<tr>") == 3


def test_a_family_shows_its_harm_and_its_relations() -> None:
    pytest.importorskip("pandas")
    family = make_task_family(6, harms=[Harm(kind="scaled_bid")])
    frame = family.to_pandas()
    assert len(repr(family)) < 150 and all(len(repr(member)) < 150 for member in family.members)
    assert list(frame["task"]) == list(family.names)
    assert list(frame["harm"] != "") == [member.is_harmful for member in family.members] and (frame["harm"] != "").any()
    others = family.relations[~np.eye(6, dtype=bool)].reshape(6, 5)
    assert list(frame["helpful sources"]) == (others == 1).sum(axis=1).tolist()
    assert list(frame["harmful sources"]) == (others == -1).sum(axis=1).tolist()
    assert "TaskFamily(6 tasks" in family._repr_html_()
