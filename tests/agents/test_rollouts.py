"""Rollouts over every kind of market, and references that belong to the market that is played."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from agents import (
    Bidder,
    FixedBidder,
    HindsightBidder,
    JointHindsightBidder,
    OnlineLpBidder,
    PidBidder,
    record_prices,
    rollout,
    rollout_each,
    to_trajectories,
)
from agents.rollouts import batches
from auction_env import (
    MarketParams,
    Population,
    ReplayMarket,
    auctionnet_population,
    logged_values,
    random_population,
)
from auction_env.control.controlled_market import PlayableMarket
from auction_env.control.simulation import LiveMarket
from auction_env.market.funnel import Funnel
from auction_env.replay.simulation import LoggedMarket, ReplaySimulation
from auction_env.tasks import TASKS, Task
from benchmarks.suites.storage.rows import result_rows
from tests.auction_env.replay.logs import N_TICKS, three_periods

TASK = TASKS["MaxConversions"]
PARAMS = MarketParams(n_impressions=1_000)
LIVE: dict[str, Any] = {"seeds": [3, 4], "advertisers": [5, 9], "task": TASK}
FIRST_PRICE = dataclasses.replace(PARAMS, mechanism="first_price")
OTHERS: Population = random_population(48, seed=1)
LOGGED: dict[str, Any] = {"seeds": [0, 1, 2, 0], "advertisers": [1, 2, 3, 1], "task": TASK}


@pytest.fixture(scope="module")
def log() -> ReplayMarket:
    return three_periods()


def test_episodes_of_a_market_share_a_batch_and_few_markets_are_held_at_once(log: ReplayMarket) -> None:
    def of(n_impressions: int, **rules: Any) -> LiveMarket:
        params = MarketParams(n_impressions=n_impressions, **rules)
        return LiveMarket(params=params, population=auctionnet_population())

    def sizes(market: PlayableMarket, seeds: ArrayLike, task: Task = TASK) -> list[int]:
        seeds = np.asarray(seeds)
        found = batches(market, market.alike(task, seeds, np.arange(len(seeds)) % 48, market.days_of(seeds)))
        assert [part.start for part in found[1:]] == [part.stop for part in found[:-1]]
        return [part.stop - part.start for part in found]

    full, small = of(500_000), of(4_800)
    assert sizes(full, np.arange(40)) == [16, 16, 8] and sizes(of(200_000), np.arange(40)) == [38, 2]
    assert sizes(small, np.arange(70)) == [64, 6] and sizes(of(480), np.arange(70)) == [64, 6]
    assert sizes(full, np.repeat(np.arange(7), 48)) == [256, 80]
    assert sizes(small, np.repeat(np.arange(70), 3)) == [192, 18]
    other = of(500_000, funnel=Funnel())
    assert sizes(other, np.repeat(5, 40), TASKS["MaxClicks"]) == [
        16,
        16,
        8,
    ]  # clicks of one, conversions of others
    assert sizes(of(500_000, budget_rule="auctionnet"), np.repeat(5, 40)) == [16, 16, 8]
    assert sizes(logged_values(log), np.arange(300)) == [256, 44] == sizes(LoggedMarket(market=log), np.arange(300))


def test_a_bidder_plays_a_log_as_a_simulation_of_it_does(log: ReplayMarket, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [10, 12, 11, 12]
    whole = rollout(PidBidder(), **LOGGED, market=log, days=days)
    assert whole.ticks.cost.shape == (N_TICKS, 4) and whole.day.tolist() == days
    bidder, simulation = PidBidder(), ReplaySimulation(log, LOGGED["advertisers"], task=TASK)
    simulation.reset(LOGGED["seeds"], days)
    bidder.reset(simulation.campaigns())
    costs = [simulation.step(bidder.act(simulation.view())).cost for _ in range(N_TICKS)]
    np.testing.assert_array_equal(whole.ticks.cost, costs)
    monkeypatch.setattr(
        importlib.import_module("agents.rollouts"), "batches", lambda market, alike: [slice(3), slice(3, 4)]
    )
    np.testing.assert_array_equal(rollout(PidBidder(), **LOGGED, market=log, days=days).features, whole.features)
    logged = to_trajectories(whole, period=whole.day)
    assert logged.n_episodes == 4 and set(logged.period) == set(days)


def test_a_log_without_days_takes_its_periods_in_turn_by_the_seed(log: ReplayMarket) -> None:
    drawn = rollout(PidBidder(), **LOGGED, market=log)
    assert drawn.day.tolist() == [10, 11, 12, 10]
    again = rollout(PidBidder(), **LOGGED, market=log, days=drawn.day)
    np.testing.assert_array_equal(drawn.ticks.cost, again.ticks.cost)


def test_several_bidders_play_a_log_side_by_side(log: ReplayMarket) -> None:
    bidders = [PidBidder(), FixedBidder(0.5), HindsightBidder(n_coarse=3, n_fine=1)]
    for bidder, found in zip(bidders, rollout_each(bidders, **LOGGED, market=log), strict=True):
        np.testing.assert_array_equal(found.ticks.cost, rollout(bidder, **LOGGED, market=log).ticks.cost)


@pytest.mark.parametrize(
    "market",
    [
        {"params": FIRST_PRICE},
        {"params": PARAMS, "population": OTHERS},
        {"params": PARAMS, "competitors": {7: PidBidder(0.5), 8: FixedBidder(3.0)}},
        {"market": three_periods()},
        {"market": LoggedMarket(market=three_periods(), conversions="expected")},
    ],
    ids=["first price", "population", "competitors", "log", "expected log"],
)
def test_the_hindsight_reference_is_of_the_market_that_is_played(market: dict[str, Any]) -> None:
    """No constant of its grid scores more in whatever is played: it knows the market from its campaigns."""
    episodes = LOGGED if "market" in market else LIVE
    reference = HindsightBidder(n_coarse=4, n_fine=1)
    best = rollout(reference, **episodes, **market).score(expected=True)
    for ratio in np.geomspace(0.2, 5.0, 4):
        assert np.all(best >= rollout(FixedBidder(ratio), **episodes, **market).score(expected=True))
    constant = rollout(FixedBidder(reference.ratio), **episodes, **market)
    np.testing.assert_array_equal(best, constant.score(expected=True))


def test_the_joint_reference_is_of_the_market_that_is_played(log: ReplayMarket) -> None:
    for episodes, market in ((LIVE, {"params": FIRST_PRICE, "population": OTHERS}), (LOGGED, {"market": log})):
        best = rollout(JointHindsightBidder(n_constants=3), **episodes, **market).score(expected=True)
        tried = [rollout(FixedBidder(r), **episodes, **market).score(expected=True) for r in np.geomspace(0.5, 2.0, 3)]
        np.testing.assert_array_equal(best, np.max(tried, axis=0))


def test_what_a_task_does_not_count_is_left_out_of_replays() -> None:
    with_funnel = MarketParams.for_task(TASKS["MaxClicks"], n_impressions=1_000)
    lean, whole = LiveMarket(params=PARAMS, population=OTHERS), LiveMarket(params=with_funnel, population=OTHERS)
    assert whole.needed(TASK).difference(lean) == "" and whole.needed(TASKS["MaxClicks"]) is whole
    competing = dataclasses.replace(whole, competitors={1: PidBidder()}, competitor_task="MaxClicks")
    assert competing.needed(TASK) is competing
    one, other = (rollout(PidBidder(), **LIVE, market=market) for market in (lean, whole))
    np.testing.assert_allclose(one.score(expected=True), other.score(expected=True), rtol=1e-5)


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"params": FIRST_PRICE}, "another `mechanism`, gsp and first_price"),
        ({"params": PARAMS, "population": OTHERS}, "another population"),
        ({"params": PARAMS, "competitors": {7: PidBidder()}}, "other competitors"),
        ({"params": PARAMS, "days": [1, 2]}, "another `day`"),
        ({"params": PARAMS, "seeds": [3, 5]}, "another `seed`"),
        ({"params": PARAMS, "task": TASKS["TargetCPA"]}, "TargetCPA"),
        ({"market": three_periods(), "advertisers": [1, 2], "days": [10, 12]}, "another `advertiser`"),
    ],
)
def test_rows_refuse_a_reference_of_other_episodes(other: dict[str, Any], found: str) -> None:
    played = rollout(FixedBidder(), **LIVE, params=PARAMS, days=[0, 0])
    assert result_rows({"fixed": played}, played, suite="x")["reference"].shape == (2,)
    reference = rollout(FixedBidder(), **({**LIVE, "days": [0, 0]} | other))
    with pytest.raises(ValueError, match=rf"the episodes of 'fixed' must .* the reference, found .*{found}"):
        result_rows({"fixed": played}, reference, suite="x")


def test_competitors_of_the_same_names_are_the_same_market() -> None:
    one, other = (
        rollout(FixedBidder(), **LIVE, params=PARAMS, competitors={7: PidBidder()}) for _ in range(2)
    )  # fmt: skip
    one.check_same(other)


def test_a_price_history_of_another_market_is_refused_unless_it_is_asked_for(log: ReplayMarket) -> None:
    history = record_prices(PARAMS, auctionnet_population(), [77])
    own = rollout(OnlineLpBidder(history), **LIVE, params=PARAMS)
    assert own.total("cost").min() > 0
    for market, found in (
        ({"params": FIRST_PRICE}, "another `mechanism`"),
        ({"params": PARAMS, "population": OTHERS}, "another population"),
    ):
        with pytest.raises(ValueError, match=f"`history` must be of the market that is played, found {found}"):
            rollout(OnlineLpBidder(history), **LIVE, **market)
        foreign = rollout(OnlineLpBidder(history, is_of_played_market=False), **LIVE, **market)
        assert foreign.total("cost").min() > 0
    with pytest.raises(ValueError, match="`history` must be of the market that is played"):
        rollout(OnlineLpBidder(history), **LOGGED, market=log)


def test_rollout_each_has_competitors() -> None:
    rivals: dict[int, Bidder] = {j: PidBidder(0.4) for j in range(20, 40)}
    bidders = [PidBidder(), FixedBidder(0.8)]
    together = rollout_each(bidders, **LIVE, params=PARAMS, competitors=rivals, competitor_task="MaxConversions")
    without = rollout_each(bidders, **LIVE, params=PARAMS)
    for bidder, found, alone in zip(bidders, together, without, strict=True):
        one = rollout(bidder, **LIVE, params=PARAMS, competitors=rivals, competitor_task="MaxConversions")
        np.testing.assert_array_equal(found.ticks.cost, one.ticks.cost)
        assert not np.array_equal(found.ticks.cost, alone.ticks.cost)
    with pytest.raises(ValueError, match="`competitors` must be other objects than the bidders, found 'PID' as both"):
        rollout_each(bidders, **LIVE, params=PARAMS, competitors={1: bidders[0]})


def test_a_reference_cannot_compete() -> None:
    for reference in (HindsightBidder(), JointHindsightBidder()):
        with pytest.raises(ValueError, match="is a reference that knows the episode beforehand"):
            rollout(PidBidder(), **LIVE, params=PARAMS, competitors={7: reference})


def test_arguments_that_do_not_fit_are_named(log: ReplayMarket) -> None:
    with pytest.raises(ValueError, match="give `market` or `params`, not both"):
        rollout(PidBidder(), **LOGGED, market=log, params=PARAMS)
    with pytest.raises(ValueError, match="give `market` or `competitors`, not both"):
        rollout_each([PidBidder()], **LOGGED, market=log, competitors={1: PidBidder()})
    with pytest.raises(ValueError, match="`period` must be one of"):
        rollout(PidBidder(), **LOGGED, market=log, days=[1, 2, 3, 4])
    with pytest.raises(ValueError, match="MaxClicks"):
        rollout(PidBidder(), **{**LOGGED, "task": TASKS["MaxClicks"]}, market=log)
