"""Estimates of what a log lacks: the distribution of prices, rates, and what follows from them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
import scipy.stats

from agents.labels.actions import action_labels
from agents.labels.censored_prices import PriceDistribution
from agents.labels.completion import Completion, complete, describe
from agents.labels.relabel import relabel
from agents.labels.response import Response
from auction_env import TASKS
from auction_env.data import TrajectoryData, from_table


def second_price_log(without: Collection[str] = ("least_winning_cost",)) -> TrajectoryData:
    """Own logs of one slot in second price: flat bids, log-normal prices, one value for all impressions."""
    rng, n_episodes, n_ticks = np.random.default_rng(0), 40, 12
    n, volume, rate = n_episodes * n_ticks, 500, 0.01
    bid = 0.1 * np.exp(rng.normal(0.0, 0.5, n))
    price = 0.1 * np.exp(rng.normal(0.0, 0.6, (n, volume)))
    won = price < bid[:, None]
    table = {
        "campaign": np.arange(n) // n_ticks % 4,
        "period": np.arange(n) // n_ticks // 4,
        "tick": np.arange(n) % n_ticks,
        "bid": bid,
        "cost": (price * won).sum(axis=1),
        "volume": np.full(n, volume),
        "impressions": won.sum(axis=1),
        "conversions": rng.poisson(rate * won.sum(axis=1)),
        "budget": np.full(n, 1000.0),
        "cpa_target": np.full(n, 10.0),
        "least_winning_cost": price.mean(axis=1),
    }
    table = {name: column for name, column in table.items() if name not in without}
    return from_table(table, task="TargetCPA", ticks=n_ticks)


def test_prices_follow_from_the_shares_that_bids_win() -> None:
    rng = np.random.default_rng(1)
    bid = np.repeat(np.linspace(0.02, 1.0, 200), 2)
    n = np.full(len(bid), 20_000.0)
    truth = scipy.stats.lognorm(s=0.6, scale=0.1)
    found = PriceDistribution.fit(bid, rng.binomial(n.astype(int), truth.cdf(bid)).astype(float), n)
    np.testing.assert_allclose(found.share, truth.cdf(found.price), atol=4 * 0.5 / np.sqrt(2 * n[0]))
    for price in (0.02, 0.1, 0.3):
        above = truth.expect(lambda x: x, lb=price, conditional=True)
        assert found.mean_above(np.array([price]))[0] == pytest.approx(above, rel=0.05)
    assert found.mean_above(np.array([1.0, 7.0])).tolist() == [1.0, 7.0]  # nothing is known above the highest bid


def test_the_order_of_the_ticks_and_those_without_auctions_do_not_matter() -> None:
    bid, won, n = np.array([3.0, 1.0, 2.0, 2.0]), np.array([9.0, 1.0, 8.0, 2.0]), np.full(4, 10.0)
    found = PriceDistribution.fit(np.append(bid, [0.0, 5.0]), np.append(won, [0.0, 0.0]), np.append(n, [50.0, 0.0]))
    np.testing.assert_allclose(found.share, [0.1, 0.5, 0.9])
    # a half of a tenth at 1, four tenths at 2, the rest at 3 and beyond, which is taken for 3
    assert found.mean_above(np.array([1.0]))[0] == pytest.approx((0.4 * 2 + 0.5 * 3) / 0.9)
    with pytest.raises(ValueError, match="`bid` and `n_auctions` must be positive somewhere"):
        PriceDistribution.fit(np.zeros(2), np.zeros(2), np.ones(2))


def test_estimates_are_near_the_truth_where_bids_are_flat() -> None:
    log, truth = second_price_log(), second_price_log(without=())
    done = complete(log)
    assert not done.missing and set(done.metadata["estimated"]) == set(log.missing)
    ratio = done.least_winning_cost / truth.least_winning_cost
    assert ratio.mean() == pytest.approx(1.0, abs=0.03) and ratio.std() < 0.1
    rate = done.offered_conversions / done.n_impressions
    assert rate == pytest.approx(np.full(len(log), 0.01), rel=0.1)  # 800 conversions an advertiser: 4 standard errors
    np.testing.assert_allclose(done.action, done.bid / done.offered_conversions)
    np.testing.assert_allclose(done.expected_conversions, rate * log.exposures)
    np.testing.assert_allclose(done["feature_value_now"], rate)
    np.testing.assert_allclose(done["feature_least_winning_cost_all"][1], done.least_winning_cost[0])
    for name in ("cost", "bid", "conversions", "budget_left"):
        np.testing.assert_array_equal(done[name], log[name])
    known = complete(truth)
    np.testing.assert_array_equal(known.least_winning_cost, truth.least_winning_cost)  # what is logged stays
    assert "other bids" in describe(done.metadata) and "other bids" not in describe(known.metadata)
    assert describe(truth.metadata) == "" and complete(done) is done


def test_a_completed_log_gives_hindsight_optimal_actions() -> None:
    done, task = complete(second_price_log()), TASKS["TargetCPA"]
    labels = action_labels(done, task, "hindsight")
    # impressions are alike: the CPA at a bid b is E[price | price < b] / rate, at its limit for bids above rate x limit
    assert labels.std() < 0.6 and -0.7 < np.median(labels) < 1.5


def test_incomplete_logs_are_refused_by_what_needs_them() -> None:
    log, task = second_price_log(), TASKS["TargetCPA"]
    with pytest.raises(ValueError, match="`action` must be recorded, needed for a model of how outcomes respond"):
        Response.fit([log])
    with pytest.raises(ValueError, match=r"`expected_conversions` must be recorded, needed for relabelling"):
        relabel(log, task)
    without = second_price_log(without=("least_winning_cost", "volume"))
    with pytest.raises(ValueError, match=r"`n_impressions`, `bid` must be recorded, needed for estimates of what"):
        complete(without)


def test_held_out_episodes_get_the_estimates_of_the_others() -> None:
    log = second_price_log()
    is_last = log.advertiser[log.episode_starts[:-1]] == 3
    fitted = Completion.fit(log.select(np.flatnonzero(~is_last)))
    part = log.select(range(30, 40))
    rates = fitted.rates["conversions"]
    expected = [rates.get(int(advertiser), rates[None]) * 500.0 for advertiser in part.advertiser]
    np.testing.assert_array_equal(fitted.apply(part).offered_conversions, expected)
    assert set(part.advertiser) - set(rates)  # one that nothing was known of
