"""A log under another bidder: the log itself where the bidder bids what was logged."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from agents import Collection, FixedBidder, NoisyBidder, collect, collect_data_set, rollout
from agents.labels.predicted_log import complete_episodes, predicted_logs
from agents.labels.response import Response
from agents.rollouts import to_trajectories
from auction_env import Funnel, MarketParams
from auction_env.control.bidder import Campaigns, TickView
from auction_env.data import TrajectoryData, load
from auction_env.tasks import TASKS
from tests.vamo.synthetic import Float

TASK = TASKS["TargetCPA"]


class Replaying:
    """Bids what was logged, times a factor."""

    name = "replaying"

    def __init__(self, *logs: TrajectoryData, factor: float = 1.0) -> None:
        self._action = factor * np.concatenate([log.action.reshape(log.n_episodes, -1) for log in logs])
        self.views: list[TickView] = []

    def reset(self, campaigns: Campaigns) -> None:
        self.campaigns = campaigns

    def act(self, view: TickView) -> Float:
        self.views.append(view)
        return self._action[:, view.tick]


class Logged(NamedTuple):
    """A market's log, and what is fitted to it."""

    data: TrajectoryData
    response: Response


@pytest.fixture(scope="module")
def logged() -> Logged:
    params = MarketParams(n_impressions=4800, funnel=Funnel())
    data = TrajectoryData.concat(list(collect(NoisyBidder(FixedBidder(0.6)), seeds=[0, 1], task=TASK, params=params)))
    return Logged(data, Response.fit([data]))


def play(bidder: Replaying, logged: Logged) -> TrajectoryData:
    (found,) = predicted_logs(bidder, TASK, [(logged.data, logged.response)], n_ticks=48, rng=np.random.default_rng(0))
    return found


def test_the_logged_bids_meet_the_states_of_the_market(logged: Logged) -> None:
    """All 16 features of every tick, number for number, and so are outcomes where no budget cut a tick short."""
    data = logged.data
    found = play(Replaying(data), logged)
    runs_on = np.repeat(np.minimum.reduceat(data.action, data.episode_starts[:-1]) > 0, 48)
    assert runs_on.mean() > 0.5
    np.testing.assert_allclose(found.features[runs_on], data.features[runs_on], rtol=1e-9, atol=1e-12)
    before_last = runs_on & (data.tick < 47)
    for name in ("cost", "wins", "exposures", "conversions", "expected_conversions", "clicks", "expected_gmv", "gmv"):
        np.testing.assert_allclose(found[name][before_last], data[name][before_last], rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(found.budget_left[runs_on], data.budget_left[runs_on], rtol=1e-9)
    assert found.tasks == (TASK,) and np.array_equal(found.requirements, TASK.requirements(data.targets))


def test_views_are_those_of_the_market(logged: Logged) -> None:
    data = logged.data
    bidder = Replaying(data)
    play(bidder, logged)
    tick, last = bidder.views[10], slice(9, None, 48)
    runs_on = np.minimum.reduceat(data.action, data.episode_starts[:-1]) > 0
    np.testing.assert_allclose(tick.last_cost[runs_on], data.cost[last][runs_on], rtol=1e-9)
    np.testing.assert_allclose(tick.last_expected_clicks[runs_on], data.expected_clicks[last][runs_on], rtol=1e-9)
    offered = data.offered_clicks[10::48] / data.n_impressions[10::48]
    np.testing.assert_allclose(tick.predicted_mean[:, 1], offered)
    np.testing.assert_allclose(bidder.campaigns.base, data.cpa_target[::48])
    assert bidder.campaigns.expected_traffic is not None  # rules that pace follow the log's mean traffic
    volume = data.n_impressions.reshape(-1, 48).sum(axis=0)
    np.testing.assert_allclose(bidder.campaigns.expected_traffic, volume / volume.sum())


@pytest.mark.parametrize("factor", [0.5, 1.3, 4.0])
def test_other_bids_spend_as_the_response_says_and_never_more_than_the_budget(logged: Logged, factor: float) -> None:
    data = logged.data
    found = play(Replaying(data, factor=factor), logged)
    spent = np.add.reduceat(found.cost, found.episode_starts[:-1])
    assert (spent <= found.budget[::48] * (1 + 1e-9)).all()
    predicted = logged.response.outcomes(data, TASK, np.log(np.maximum(factor * data.action, 1e-9))[:, None])["cost"]
    total = np.add.reduceat(predicted[:, 0] * (data.action > 0), data.episode_starts[:-1])
    free = (total < 0.8 * data.budget[::48]) & (np.minimum.reduceat(data.action, data.episode_starts[:-1]) > 0)
    if factor < 2:
        assert free.any()
        assert spent[free].sum() == pytest.approx(total[free].sum(), rel=0.15)
    else:  # many run out: their campaigns end, and nothing happens after
        ended = found.budget_left <= 1e-9 * found.budget
        assert ended.any() and (found.action[ended] == 0).all() and (found.cost[ended] == 0).all()
        assert found.done[ended].all() and (found.features[ended, 1] < 1e-8).all()


def test_the_answer_is_the_markets(tmp_path: Path) -> None:
    """Bids of .9 times the target, predicted from logs of other bids, against the market in which they are made."""
    params, controlled = MarketParams(n_impressions=4800, funnel=Funnel()), tuple(range(0, 48, 6))
    collection = Collection(
        task=TASK, n_episodes=12, policy="noisy-pid", advertisers=controlled, control="all", params=params
    )
    collect_data_set(collection, tmp_path / "log")
    log = load(tmp_path / "log")
    bidder, second = FixedBidder(0.9), log.select(np.flatnonzero(log.period[log.episode_starts[:-1]] < 4))
    (found,) = predicted_logs(bidder, TASK, [(second, Response.fit([log]))], n_ticks=48, rng=np.random.default_rng(0))
    seeds, who = np.repeat(np.arange(4), 8), np.tile(controlled, 4)
    truth = to_trajectories(rollout(bidder, seeds=seeds, advertisers=who, task=TASK, params=params), period=seeds)
    for name in ("cost", "expected_conversions", "wins", "clicks"):
        assert found[name].sum() == pytest.approx(truth[name].sum(), rel=0.15), name
    at = found.tick == 24
    assert np.abs(found.features[at, 1] - truth.features[at, 1]).mean() < 0.05  # share of the budget left


def test_logs_side_by_side_are_those_alone(logged: Logged) -> None:
    first, rest = logged.data.select([0, 1, 2]), logged.data.select(np.arange(3, 20))
    alone = [play(Replaying(part), Logged(part, logged.response)) for part in (first, rest)]
    together = predicted_logs(
        Replaying(first, rest),
        TASK,
        [(first, logged.response), (rest, logged.response)],
        n_ticks=48,
        rng=np.random.default_rng(1),
    )
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a.cost, b.cost)
        np.testing.assert_array_equal(a.period, b.period)


def test_a_log_of_conversions_alone(logged: Logged) -> None:
    """What it does not record stays 0."""
    nothing = np.zeros(len(logged.data))
    names = [
        name for name in ("clicks", "add_to_carts", "gmv") for name in (name, f"expected_{name}", f"offered_{name}")
    ]
    targets = dict.fromkeys(("cpc_target", "cart_cost_target", "roas_target"), nothing)
    data = dataclasses.replace(logged.data, **dict.fromkeys(names, nothing), **targets)
    found = play(Replaying(data, factor=1.2), Logged(data, Response.fit([data])))
    assert found.expected_conversions.sum() > 0
    assert not any(found[name].any() for name in names)


def test_incomplete_episodes_are_known(logged: Logged) -> None:
    late = logged.data.select([0, 1])
    keep = ~((late.advertiser == late.advertiser[0]) & (late.tick < 5))
    fields = {name: late[name][keep] for name in ("period", "advertiser", "tick")}
    assert len(fields["tick"]) == 91
    starts = np.array([0, 43, 91])
    short = TrajectoryData.from_verified({name: getattr(late, name) for name in ("tick", "tasks")}, starts)
    assert complete_episodes(short, 48).tolist() == [1]


def test_other_budgets_and_targets_take_the_place_of_the_logged_ones(logged: Logged) -> None:
    data, first = logged.data, slice(None, None, 48)
    own = data.targets.at(first)
    other = own._replace(budget=own.budget / 3, cpa=own.cpa * 1.5)
    bidder = Replaying(data)
    (found,) = predicted_logs(
        bidder, TASK, [(data, logged.response)], n_ticks=48, rng=np.random.default_rng(0), targets=[other]
    )
    np.testing.assert_array_equal(bidder.campaigns.budget, other.budget)
    np.testing.assert_array_equal(bidder.campaigns.base, other.cpa)
    np.testing.assert_array_equal(found.budget_left[first], other.budget)
    np.testing.assert_allclose(found.requirements, TASK.requirements(found.targets))
    spent, unbounded = (np.add.reduceat(d.cost, d.episode_starts[:-1]) for d in (found, play(Replaying(data), logged)))
    assert (spent <= other.budget * (1 + 1e-9)).all()
    np.testing.assert_allclose(spent, np.minimum(unbounded, other.budget), rtol=1e-9)  # the same bids, cut short


def test_the_logged_budgets_and_targets_given_again_change_nothing(logged: Logged) -> None:
    data = logged.data
    (found,) = predicted_logs(
        Replaying(data), TASK, [(data, logged.response)], n_ticks=48, rng=np.random.default_rng(0),
        targets=[data.targets.at(slice(None, None, 48))],
    )  # fmt: skip
    np.testing.assert_array_equal(found.observation, play(Replaying(data), logged).observation)
