"""Figures for notebooks show the numbers that they are given, in real colours."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agents import FixedBidder, PidBidder, rollout
from agents.learning.learner import Numbers, TrainResult
from auction_env import TASKS, MarketParams
from benchmarks.figures import plot_episode, plot_market, plot_scores, plot_training, plot_weights
from benchmarks.statistics.bootstrap import Bootstrap

pytest.importorskip("plotly")

PARAMS = MarketParams(n_impressions=480)
EPISODES = {"seeds": [1, 2, 3], "advertisers": [4, 5, 6], "task": TASKS["TargetCPA"], "params": PARAMS}


@dataclass
class Record:
    """What the figures read of VAMO's records."""

    step: int
    validation_loss: list[float]
    weights: list[list[float]]
    numbers: dict[str, float] = field(default_factory=lambda: {"validation loss": 1.0, "effective sources": 2.0})


def _weighted() -> Any:
    records = [Record(10, [0.5, 0.7], [[0.2, 0.8], [0.6, 0.4]]), Record(20, [0.4, 0.6], [[0.1, 0.9], [0.7, 0.3]])]
    return SimpleNamespace(
        history=records, returned=records[-1], targets=("a", "b"), sources=("a", "<b>"), bidder=FixedBidder(1.0)
    )


def _named(figure: Any) -> dict[str, Any]:
    assert "var(--" not in json.dumps(figure.to_plotly_json(), default=list)
    return {trace.name: trace for trace in figure.data}


def test_an_episode_shows_spend_and_multiplier_of_the_chosen_one() -> None:
    played = {bidder.name: rollout(bidder, **EPISODES) for bidder in (FixedBidder(1.0), PidBidder())}
    figure = plot_episode(played, which=1)
    traces = [trace for trace in figure.data if trace.name == "PID"]
    own = played["PID"]
    assert traces[0].y[-1] == pytest.approx(100 * own.total("cost")[1] / own.budget[1], rel=1e-5)
    np.testing.assert_allclose(traces[1].y, own.ticks.multiplier[:, 1] / own.targets.cpa[1], rtol=1e-5)
    assert _named(figure)["PID cpa"].y[-1] == pytest.approx(own.ratios(expected=True)["cpa"][1], rel=1e-5)
    assert "market seed 2, advertiser 5" in figure.layout.title.text
    assert len(plot_episode(own).data) == 5
    with pytest.raises(IndexError):
        plot_episode(own, which=3)


def test_a_market_shows_its_traffic_and_what_is_spent() -> None:
    figure = plot_market(PARAMS, seed=3)
    traces = _named(figure)
    assert sum(traces["impressions"].y) == pytest.approx(480, rel=0.2)
    assert len(traces["spent"].y) == 48 and 0 < max(traces["spent"].y) <= 100.001
    assert plot_market(PARAMS, seed=3).to_json() == figure.to_json()


def test_a_training_shows_its_numbers_and_vamos_its_targets() -> None:
    history = [Numbers(step=1, numbers={"loss": 3.0}), Numbers(step=2, numbers={"loss": 2.0})]
    result: Any = TrainResult(bidder=FixedBidder(1.0), history=history, best=None)
    assert list(_named(plot_training(result))["loss"].y) == [3.0, 2.0]
    assert "2 records" in repr(result) and "<table>" in result._repr_html_()
    traces = _named(plot_training(_weighted()))
    assert list(traces["b"].y) == [0.7, 0.6] and list(traces["effective sources"].y) == [2.0, 2.0]
    with pytest.raises(ValueError, match="must hold a record"):
        plot_training(TrainResult(bidder=FixedBidder(1.0), history=[], best=None))


def test_weights_are_a_map_of_the_returned_or_lines_of_a_target() -> None:
    (heat,) = plot_weights(_weighted()).data
    assert [list(row) for row in heat.z] == [[0.1, 0.9], [0.7, 0.3]]
    lines = _named(plot_weights(_weighted(), "b"))
    assert list(lines["&lt;b&gt;"].y) == [0.4, 0.3]
    with pytest.raises(ValueError, match="`target` must be one of"):
        plot_weights(_weighted(), "c")


def test_scores_are_shares_of_the_reference_the_best_on_top() -> None:
    played = {bidder.name: rollout(bidder, **EPISODES) for bidder in (FixedBidder(0.2), FixedBidder(1.0, name="one"))}
    figure = plot_scores(played, played["one"], bootstrap=Bootstrap(n_resamples=100))
    traces = _named(figure)
    assert list(traces["one"].x) == [1.0] and list(traces["one"].error_x.array) == [0.0]
    scores = {name: found.score(expected=True).mean() for name, found in played.items()}
    assert traces["fixed"].x[0] == pytest.approx(scores["fixed"] / scores["one"], rel=1e-4)
    order = sorted(scores, key=lambda name: -scores[name])
    assert list(figure.layout.yaxis.ticktext) == order
