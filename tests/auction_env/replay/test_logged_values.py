"""Live bidders on the impressions of a log."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy.stats import norm, truncnorm

from agents import FixedBidder, HindsightBidder, PidBidder, rollout, rollout_each
from auction_env import (
    LoggedValuesMarket,
    MarketParams,
    Population,
    ReplayMarket,
    ReplayParams,
    TrafficParams,
    ValueDistribution,
    clear_auctions,
    logged_values,
    random_population,
    replay_from_bids,
)
from auction_env.control.simulation import LiveMarket
from auction_env.market.funnel import Funnel
from auction_env.market.traffic import draw_traffic
from auction_env.replay.logged_values import LoggedValuesBatch
from auction_env.tasks import TASKS
from tests.auction_env.envs.small import LOGGED_VALUES
from tests.auction_env.replay.logs import make_log, make_market, three_periods

TASK = TASKS["TargetCPA"]
EPISODES: dict[str, Any] = {"seeds": [0, 1, 2, 0], "advertisers": [1, 2, 3, 1], "task": TASK}


class Multiplier:
    """The same multiplier for everybody, by advertiser."""

    name = "multiplier"

    def __init__(self, of_advertiser: np.ndarray) -> None:
        self.of_advertiser = of_advertiser

    def reset(self, campaigns: Any) -> None:
        self.own = self.of_advertiser[campaigns.advertiser]

    def act(self, view: Any) -> np.ndarray:
        return self.own


@pytest.fixture(scope="module")
def log() -> ReplayMarket:
    return three_periods()


def test_all_advertisers_bid_in_the_auctions_of_the_logged_impressions() -> None:
    rows = make_log(4, n=700, coarse=False) | {"budget": np.full(7, 1e9)}
    multipliers = np.linspace(1.0, 4.0, 7)
    everybody = {j: Multiplier(multipliers) for j in range(7)}
    market = logged_values(make_market(rows), rules=MarketParams(reserve=0.05), competitors=everybody)
    played = rollout(Multiplier(multipliers), seeds=[5] * 3, advertisers=[0, 3, 6], task=TASK, market=market)
    values = rows["values"].astype(np.float32)
    cleared = clear_auctions(values * multipliers.astype(np.float32), reserve=np.float32(0.05))
    for i, j in enumerate((0, 3, 6)):
        by_tick = [rows["tick"] == t for t in range(6)]
        np.testing.assert_array_equal(played.ticks.wins[:, i], [(cleared.slot[at, j] > 0).sum() for at in by_tick])
        np.testing.assert_allclose(
            played.ticks.offered_conversions[:, i], [values[at, j].sum() for at in by_tick], rtol=1e-5
        )
        lwc = [cleared.least_winning_cost[at].mean() for at in by_tick]
        np.testing.assert_allclose(played.ticks.least_winning_cost[:, i], lwc, rtol=1e-5)
    assert (played.ticks.exposures < played.ticks.wins).any()


def test_outcomes_follow_the_logged_deviations() -> None:
    n, value, sigma = 20_000, 0.4, 0.15
    log = replay_from_bids(
        tick=np.zeros(n, int), bids=np.ones((n, 2)), values=np.full((n, 2), value),
        sigmas=np.full((n, 2), [sigma, 0.0]), budget=np.full(2, 1e9), cpa_target=np.ones(2), n_ticks=1,
    )  # fmt: skip
    one = MarketParams(n_slots=1, exposure=(1.0,), reserve=0.0)
    market = logged_values(log, rules=one)
    played = rollout(FixedBidder(5.0), seeds=[7, 7], advertisers=[0, 1], task=TASK, market=market)
    assert (played.total("exposures") == n).all()
    drawn = draw_traffic(7, market.params, market.population)
    low, high = (norm.ppf(float(part[0])) for part in (drawn.lower, drawn.upper))
    expected = np.array([truncnorm.mean(low, high, value, sigma), value])
    found = played.total("conversions") / n
    assert (np.abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / n)).all()
    assert abs(expected[0] - value) > 6 * np.sqrt(0.25 / n)  # so that the first is not the second


def test_scripted_bidders_know_the_usual_value_of_the_log(log: ReplayMarket) -> None:
    market = logged_values(log)
    values = np.concatenate([log.log.value[:, slice(*log.log.tick_start[row, [0, -1]])] for row in range(3)], axis=1)
    assert market.params.traffic.value_mean == pytest.approx(values.mean(), rel=1e-5)


def test_what_bidders_see_is_the_log_and_batches_do_not_matter(log: ReplayMarket) -> None:
    market = logged_values(log)
    whole = rollout(PidBidder(), **EPISODES, market=market)
    assert whole.day.tolist() == [10, 11, 12, 10]
    row, column = log.index(whole.day, whole.advertiser)
    np.testing.assert_array_equal(whole.budget, log.budget[row, column])
    np.testing.assert_array_equal(whole.targets.cpa, log.cpa_target[row, column])
    offered = np.stack([log.log.value_sum[j, r] for r, j in zip(row, column, strict=True)], axis=1)
    np.testing.assert_allclose(whole.ticks.offered_conversions, offered, rtol=1e-6)
    for i in range(4):
        alone = {**EPISODES, "seeds": [EPISODES["seeds"][i]], "advertisers": [EPISODES["advertisers"][i]]}
        one = rollout(PidBidder(), **alone, market=market)
        for name in ("cost", "conversions", "wins"):
            np.testing.assert_array_equal(getattr(one.ticks, name)[:, 0], getattr(whole.ticks, name)[:, i])
    simulation = market.one_each(TASK, np.array([1]))
    simulation.reset([0], [11])
    now = simulation.view().impressions.now(0)  # type: ignore[union-attr]  # it has some
    at = slice(*log.log.tick_start[1, :2])
    np.testing.assert_array_equal(now.values, log.log.value[1, at])
    np.testing.assert_array_equal(now.sigmas, log.log.sigma[1, at])


def test_competitors_are_a_mix_that_reacts() -> None:
    rich = make_market(make_log(1) | {"budget": np.full(7, 1e6)})
    behaviour = ("pid", "fixed", "pid_cpa", "pid", "fixed", "pid_cpa", "walk")
    population = Population(budget=(1.0,) * 7, cpa_target=(1.0,) * 7, category=(0,) * 7, behaviour=behaviour)
    high = Multiplier(np.full(7, 40.0))
    scripted = logged_values(rich, population=population)
    mixed = logged_values(rich, population=population, competitors={0: high, 4: high})
    a, b = (rollout(FixedBidder(), **EPISODES, market=market) for market in (scripted, mixed))
    assert (b.ticks.least_winning_cost[0] >= a.ticks.least_winning_cost[0]).all()
    assert b.ticks.wins[0].sum() < a.ticks.wins[0].sum()
    assert scripted.difference(mixed) == "other competitors"
    low, strong = rollout_each([FixedBidder(0.2), FixedBidder(5.0)], **EPISODES, market=mixed)
    assert strong.total("wins").sum() > low.total("wins").sum()


def test_markets_know_each_other_and_references_play_again(log: ReplayMarket) -> None:
    market = logged_values(log)
    live = LiveMarket(params=market.params, population=market.population)
    assert market.difference(logged_values(log)) == ""
    assert market.difference(live) == live.difference(market) == "one has the values of a log"
    assert market.difference(logged_values(make_market(make_log(9))))
    best, other = rollout_each([HindsightBidder(n_coarse=4, n_fine=1), FixedBidder(0.2)], **EPISODES, market=market)
    assert (best.score(expected=True) >= other.score(expected=True)).mean() >= 0.75
    best.check_same(other)


@pytest.mark.parametrize("budget_rule", ["in_order", "auctionnet"])
def test_budgets_of_a_period_are_kept(log: ReplayMarket, budget_rule: str) -> None:
    market = logged_values(log, rules=MarketParams(budget_rule=budget_rule))
    played = rollout(FixedBidder(30.0), **EPISODES, market=market)
    assert (played.total("cost") <= played.budget).all() and (played.total("cost") > 0.5 * played.budget).any()
    batch = LoggedValuesBatch(log, market.params, market.population, 2)
    batch.reset([0, 1], [10, 12])
    np.testing.assert_array_equal(batch.episode_targets.budget[0], log.budget[0])
    assert log.budget[0].tolist() != log.budget[2].tolist()


def test_the_rules_are_those_of_the_log_unless_others_are_given() -> None:
    rows = make_log(4)
    own: dict[str, Any] = {"reserve": 0.07, "exposure": (0.9, 0.5, 0.4), "is_unsold_at_reserve": True}
    given = logged_values(make_market(rows), rules=MarketParams(**own))
    assert logged_values(make_market(rows, **own)).params == given.params
    first = make_market(rows, mechanism="first_price", is_unsold_at_reserve=True)
    assert logged_values(first).params.mechanism == "first_price"  # where no slot is unsold for its price
    assert logged_values(first, rules=MarketParams()).params.mechanism == "gsp"
    one_price = replace(first, rules=ReplayParams(reserve=0.3), assumption="least_winning_cost")
    assert logged_values(one_price).params.reserve == MarketParams().reserve  # its rules are of no market


def test_what_does_not_fit_is_named(log: ReplayMarket) -> None:
    market = logged_values(log)
    with pytest.raises(ValueError, match=r"`advertiser` must be one of \[1, 2.*in period 12, found 0"):
        rollout(FixedBidder(), seeds=[2], advertisers=[0], task=TASK, market=market)
    with pytest.raises(ValueError, match=r"`period` must be one of \[10, 11, 12\], found 9"):
        rollout(FixedBidder(), seeds=[2], advertisers=[1], days=[9], task=TASK, market=market)
    with pytest.raises(ValueError, match="`rules` must have no funnel"):
        logged_values(log, rules=MarketParams(funnel=Funnel()))
    own = TrafficParams(values=ValueDistribution.of_samples([0.1, 0.2]))
    with pytest.raises(ValueError, match=r"`rules` must leave `traffic\.values` out"):
        logged_values(log, rules=MarketParams(traffic=own))
    with pytest.raises(ValueError, match="`population` must have the log's 7 advertisers, found 3"):
        logged_values(log, population=random_population(3, seed=0))
    numbered = replay_from_bids(**make_log(1), n_ticks=6, advertisers=np.arange(1, 8))
    with pytest.raises(ValueError, match=r"must be numbered 0\.\.6, found \[1, 2"):
        logged_values(numbered)


def test_an_environment_plays_what_a_rollout_plays(log: ReplayMarket) -> None:
    rival = Multiplier(np.full(7, 5.0))
    arguments: dict[str, Any] = {"market": log, "task": TASK, "competitors": {0: rival}}
    env = gym.make(LOGGED_VALUES, **arguments)
    _, info = env.reset(options={"episode_seed": 3, "advertiser": 2, "period": 11})
    assert (info["advertiser"], info["period"]) == (2, 11)
    costs = [env.step(np.zeros(1, np.float32))[4]["cost"] for _ in range(6)]
    played = rollout(
        FixedBidder(),
        seeds=[3],
        advertisers=[2],
        days=[11],
        task=TASK,
        market=logged_values(log, competitors={0: rival}),
    )
    np.testing.assert_array_equal(costs, played.ticks.cost[:, 0])
    assert isinstance(played.market, LoggedValuesMarket)
