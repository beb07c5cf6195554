"""The response check on logs of a market without noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agents.labels.response import Response, uncensored
from agents.labels.response_check import UNKNOWN, check_costs, check_sources
from auction_env.data import TrajectoryData
from tests.agents.labels.test_response import exact
from tests.vamo.synthetic import make_data


def recorded(data: TrajectoryData, factor: float) -> TrajectoryData:
    """A log that records other bids than were submitted."""
    return dataclasses.replace(data, action=factor * data.action, bid=factor * data.bid)


def test_a_log_agrees_with_its_own_response() -> None:
    data = exact()
    check = check_costs(data, Response.fit([data]))
    assert check.ratio == pytest.approx(1.0, abs=0.03)
    assert check.agrees(1.1) and check.episode_distance.max() < np.log(1.3)


def test_the_sums_are_those_of_the_uncensored_ticks() -> None:
    data = exact(3)
    response = Response.fit([data])
    check = check_costs(data, response)
    predicted = response.outcomes(data, data.tasks[0], np.log(data.action)[:, None])["cost"][:, 0]
    rows = np.arange(48, 96)
    rows = rows[uncensored(data)[rows]]
    assert check.predicted[1] == pytest.approx(predicted[rows].sum() / data.budget[48])
    assert check.actual[1] == pytest.approx(data.cost[rows].sum() / data.budget[48])
    assert check.ratio == pytest.approx(check.predicted.sum() / check.actual.sum())


def test_a_log_of_other_bids_than_were_submitted_is_found() -> None:
    """A bid of e^2 times the recorded one costs, below the price, e^6 times as much and, above it, e times."""
    good = exact()
    (row,) = check_sources({"good": good, "wrong": recorded(good, float(np.exp(2)))}, {"good": good})
    assert row[0].agrees(1.1) and not row[1].agrees(2.0)
    assert row[1].ratio > 2
    (reverse,) = check_sources({"good": good}, {"wrong": recorded(good, float(np.exp(2)))})
    assert reverse[0].ratio < 0.5 and not reverse[0].agrees(2.0)


def test_nothing_to_compare_is_as_far_as_distances_go() -> None:
    good = exact(4)
    silent = dataclasses.replace(good, cost=np.where(np.arange(len(good)) < 48, 0.0, good.cost))
    check = check_costs(silent, Response.fit([good]))
    assert check.episode_distance[0] == UNKNOWN and check.episode_distance[1:].max() < 1
    assert not check.at(np.array([0])).agrees(1e5)


def test_a_target_without_bids_is_named() -> None:
    data = make_data(2)
    with pytest.raises(ValueError, match="target 'x' must hold 2 ticks of an episode with an action above 0"):
        check_sources({"a": data}, {"x": dataclasses.replace(data, action=0 * data.action)})
