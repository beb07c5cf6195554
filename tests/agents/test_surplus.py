"""The surplus, GMV minus cost: what auction theory says of it holds, from the market to labels and learners."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agents import DualBidder, FixedBidder, rollout
from agents.hindsight.full_information import lp_reference, shares_of
from agents.labels.relabel import relabel
from agents.offline.transitions import read_transitions
from agents.rollouts import Episodes, to_trajectories
from auction_env import Funnel, MarketParams, Population
from auction_env.control.bidder import Bidder
from auction_env.tasks import TASKS

SURPLUS = TASKS["MaxSurplus"]
PARAMS = MarketParams(
    n_impressions=1_500, n_ticks=6, n_slots=1, exposure=(1.0,), funnel=Funnel(order_value=1.0, order_sd=0.0)
)
TRUTHFUL = Population(  # three others, who bid their values and have money
    budget=(1e6,) * 4, cpa_target=(100.0, 90.0, 100.0, 110.0), category=(0, 1, 0, 1), behaviour=("fixed",) * 4
)


def play(bidder: Bidder, mechanism: str = "gsp", population: Population = TRUTHFUL) -> Episodes:
    params = dataclasses.replace(PARAMS, mechanism=mechanism)
    return rollout(bidder, seeds=[0, 1], advertisers=[0, 0], task=SURPLUS, params=params, population=population)


@pytest.mark.parametrize(("mechanism", "best"), [("gsp", 1.0), ("first_price", 0.65)])
def test_the_best_bid_is_the_value_in_second_price_and_less_in_first_price(mechanism: str, best: float) -> None:
    mean = {ratio: play(FixedBidder(ratio), mechanism).score(expected=True).mean() for ratio in (0.35, 0.65, 1.0, 1.4)}
    assert max(mean, key=lambda ratio: mean[ratio]) == best
    truthful = play(FixedBidder(1.0), "first_price").score(expected=True)
    np.testing.assert_allclose(truthful, 0.0, atol=1e-3)  # who pays the value has no surplus


def test_dual_descent_bids_the_value_and_less_where_the_budget_binds() -> None:
    def ratios(start: float, budget: float) -> np.ndarray:
        population = dataclasses.replace(TRUTHFUL, budget=(budget, *TRUTHFUL.budget[1:]))
        return play(DualBidder(start), population=population).ticks.multiplier

    assert np.all((ratios(1.0, 1e6) > 0.98) & (ratios(1.0, 1e6) < 1.0))
    rich, poor = ratios(0.7, 1e6), ratios(0.7, 3000.0)
    np.testing.assert_allclose(rich[0], 0.7)
    assert np.all(np.diff(rich, axis=0) > 0) and rich.max() < 1.0
    assert poor[-1, 0] < 0.7 < poor[-1, 1]  # true values cost 3.6 budgets in the first episode, 1.1 in the second


def test_no_constant_has_more_than_the_bound() -> None:
    played = play(FixedBidder(1.0))
    bound = lp_reference(
        FixedBidder(1.0), seeds=[0, 1], advertisers=[0, 0], task=SURPLUS, params=PARAMS, population=TRUTHFUL
    )
    shares = shares_of(bound, played)
    np.testing.assert_allclose(shares, 1.0, atol=1e-3)  # truthful: wins exactly where value is above price


def test_logs_labels_and_learners_count_the_cost() -> None:
    played = play(FixedBidder(1.3), "first_price")
    log = to_trajectories(played, period=[0, 1])
    np.testing.assert_allclose(log.reward, log.gmv - log.cost)
    np.testing.assert_allclose(log.reward_expected, log.expected_gmv - log.cost)
    assert played.score(expected=True).max() < 0  # pays more than the value
    sold = relabel(log.with_task(TASKS["TargetROAS"]), SURPLUS)
    np.testing.assert_array_equal(sold.reward, log.reward_expected)
    earned = np.add.reduceat(sold.reward, log.episode_starts[:-1])
    np.testing.assert_allclose(sold.returns_to_go[log.episode_starts[:-1]], earned)
    np.testing.assert_allclose(sold.returns_to_go, np.repeat(earned, 6) - relabel_so_far(sold.reward))
    learned = read_transitions(log, SURPLUS, scale=2.0, signal="expected", discount=1.0, n_step=1)
    np.testing.assert_allclose(learned.returns, 2.0 * played.score(expected=True) / played.budget)


def relabel_so_far(reward: np.ndarray) -> np.ndarray:
    before = np.cumsum(reward.reshape(2, 6), axis=1) - reward.reshape(2, 6)
    return np.asarray(before.reshape(-1))
