"""Bids on each impression: the market's, a bidder's, a competitor's, in live markets and in logs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from agents import FixedBidder, NoisyBidder, measure_welfare, record_offers, rollout
from auction_env import BatchMarket, Market, MarketParams
from auction_env.control.bidder import Campaigns, ImpressionBids, TickView
from auction_env.tasks import TASKS
from tests.auction_env.replay.logs import three_periods

SMALL: dict[str, Any] = {"n_impressions": 1_500, "n_ticks": 4}
TASK = TASKS["TargetCPA"]


class EachOne:
    """Bids m x value on each impression; campaigns in `plain` give the multiplier. Notes what came of them."""

    name = "each one"

    def __init__(self, multiplier: float = 64.0, plain: tuple[int, ...] = (), scale: float = 1.0) -> None:
        self.multiplier, self.plain, self.scale = multiplier, plain, scale

    def reset(self, campaigns: Campaigns) -> None:
        self.sums: list[list[tuple[float, ...]]] = []

    def act(self, view: TickView) -> ImpressionBids:
        assert view.impressions is not None
        n = len(view.impressions)
        if view.tick:
            self.sums.append([])
            for i in range(n):
                if (before := view.impressions.before(i)) is None:
                    continue
                cost = float(before.price[before.exposed].sum(dtype=float))
                sums = (before.bids.sum(), before.exposed.sum(), before.converted.sum(), before.values.sum())
                lwc = before.least_winning_cost.mean() if len(before.bids) else 0.0
                self.sums[-1].append((cost, float((before.slot > 0).sum()), *map(float, sums), float(lwc)))
        bids = [None if i in self.plain else self.multiplier * view.impressions.now(i).values for i in range(n)]
        return ImpressionBids(bids=bids, multipliers=np.full(n, self.multiplier), is_reported=True)


class Constant:
    """The same multiplier for everybody."""

    name = "constant"

    def __init__(self, multiplier: float = 64.0) -> None:
        self.multiplier = multiplier

    def reset(self, campaigns: Campaigns) -> None:
        self.n = len(campaigns.budget)

    def act(self, view: TickView) -> np.ndarray:
        return np.full(self.n, self.multiplier)


@pytest.mark.parametrize(
    "rules",
    [{}, {"budget_rule": "auctionnet"}, {"mechanism": "first_price", "n_slots": 1, "exposure": (1.0,)}],
    ids=["gsp", "dropped wins", "first price"],
)
def test_bids_that_a_multiplier_would_make_change_nothing(rules: dict[str, Any]) -> None:
    params = MarketParams(**SMALL, **rules)
    multipliers = np.stack([BatchMarket(params).cpa_target * 3.0] * 3).astype(np.float32)  # budgets run out
    plain, each = BatchMarket(params, n_markets=3), BatchMarket(params, n_markets=3)
    for market in (plain, each):
        market.reset([7, 8, 7])  # the first and the last draw their values once for both
    for _ in range(params.n_ticks):
        bids = {(m, j): multipliers[m, j] * each.values_of(m, j) for m, j in ((0, 3), (0, 11), (1, 3))}
        given = multipliers.copy()
        given[0, 3] = 0.0  # is not looked at
        expected, found = plain.step(multipliers), each.step(given, bids)
        for name, a, b in zip(expected._fields, expected, found, strict=True):
            if name == "bid":  # a sum of products and a product of sums
                np.testing.assert_allclose(a, b, rtol=1e-5)
            else:
                np.testing.assert_array_equal(a, b, err_msg=name)
    assert (found.budget_left < 0.1 * plain.budget).any()


def test_bids_of_their_own_win_what_they_are_worth() -> None:
    market = Market(MarketParams(**SMALL))
    opening = market.reset(1)
    n = int(opening.n_impressions)
    bids = np.zeros(n)
    bids[::3] = 1e4
    multipliers = np.zeros(48)
    result = market.step(multipliers, {5: bids})  # nobody else bids
    assert result.wins[5] == np.count_nonzero(bids) and result.bid[5] == pytest.approx(bids.sum())
    assert result.wins.sum() == result.wins[5] and result.expected_conversions[5] > 0
    assert result.cost[5] == pytest.approx(result.exposures[5] * market.params.reserve)
    with pytest.raises(ValueError, match=re.escape(f"must have shape ({int(market.opening.n_impressions)},)")):
        market.step(multipliers, {5: [1.0]})
    valid = np.full(int(market.opening.n_impressions), 1e4)
    with pytest.raises(ValueError, match=r"keys \(market, advertiser\) below \(1, 48\), found \(0, 48\)"):
        market.step(multipliers, {5: valid, 48: valid})
    assert market.step(multipliers).wins.sum() == 0  # refused bids leave nothing behind


@pytest.mark.parametrize("plain", [(), (1,)], ids=["all", "one with a multiplier"])
def test_what_is_reported_adds_up_to_the_tick(plain: tuple[int, ...]) -> None:
    bidder = EachOne(plain=plain)
    live = {"seeds": [3, 4, 3], "advertisers": [5, 9, 5], "task": TASK, "params": MarketParams(**SMALL)}
    log = {"seeds": [0, 1, 2], "advertisers": [1, 2, 3], "task": TASK, "market": three_periods()}
    for market, multiplier in ((live, 64.0), (log, 4.0)):
        bidder.multiplier = multiplier
        played, expected = rollout(bidder, **market), rollout(Constant(multiplier), **market)
        for name in ("wins", "exposures", "cost", "conversions", "least_winning_cost", "budget_left"):
            np.testing.assert_array_equal(getattr(played.ticks, name), getattr(expected.ticks, name), err_msg=name)
        assert (expected.budget_left[-1] < 0.1 * expected.budget).any()  # somebody's money runs out
        rows = [i for i in range(3) if i not in plain]
        names = ("cost", "wins", "bid", "exposures", "conversions", "offered_conversions", "least_winning_cost")
        sums = np.array(bidder.sums)  # (n_ticks - 1, n, 7)
        for k, name in enumerate(names):
            np.testing.assert_allclose(sums[:, :, k], getattr(played.ticks, name)[:-1, rows], rtol=1e-4, atol=1e-7)
        offered, bid = played.ticks.offered_conversions[:, rows], played.ticks.bid[:, rows]
        np.testing.assert_allclose(played.ticks.multiplier[:, rows] * offered, bid, rtol=1e-6, atol=1e-9)


def test_a_competitor_may_bid_on_each_impression() -> None:
    market = {"seeds": [3], "advertisers": [5], "task": TASK, "params": MarketParams(**SMALL)}
    each, constant = EachOne(90.0), Constant(90.0)
    played = [rollout(FixedBidder(), **market, competitors={2: rival, 7: rival}) for rival in (each, constant)]
    np.testing.assert_array_equal(played[0].ticks.cost, played[1].ticks.cost)
    assert len(each.sums) == SMALL["n_ticks"] - 1 and len(each.sums[0]) == 2


class Wrong(EachOne):
    """Answers with bids that break a rule."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def act(self, view: TickView) -> ImpressionBids:
        assert view.impressions is not None
        return ImpressionBids(bids=self.answer(view.impressions.now(0).values))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda values: [values[:-1]],
            r"must have shape \(\d+,\), one an impression, found \(\d+,\), bidder 'each",
        ),
        (lambda values: [-values], r"must be finite, not negative and at most 1e\+30, found -.* on impression 0"),
        (lambda values: [values * np.nan], "found nan on impression 0, bidder 'each one', campaign 0"),
        (lambda values: [values, values], "must return bids of 1 campaigns, found 2"),
        (lambda values: [None], "bids or a multiplier for each campaign, found neither for 0"),
    ],
)
def test_wrong_bids_are_refused(answer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rollout(Wrong(answer), seeds=[1], advertisers=[2], task=TASK, params=MarketParams(**SMALL))


def test_welfare_and_prices_in_hindsight_take_bids_on_impressions() -> None:
    params = MarketParams(**SMALL, budget_rule="auctionnet")
    episodes: dict[str, Any] = {"seeds": [1], "advertisers": [2], "task": TASK, "params": params}
    each, constant = (measure_welfare(bidder, **episodes) for bidder in (EachOne(), Constant()))
    for mine, theirs in zip(each, constant, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)
    offers = [record_offers(b, seed=1, advertiser=2, task=TASK, params=params) for b in (EachOne(), Constant())]
    np.testing.assert_allclose(offers[0].cost, offers[1].cost, rtol=1e-5)


def test_what_works_on_multipliers_says_so() -> None:
    market = {"seeds": [1], "advertisers": [2], "params": MarketParams(**SMALL)}
    with pytest.raises(ValueError, match="'each one' bids on each impression, which is not possible here"):
        rollout(NoisyBidder(EachOne()), task=TASK, **market)
    with pytest.raises(ValueError, match="`conversion_delay` must be 0 to trace impressions"):
        rollout(EachOne(), task=TASK, **market | {"params": MarketParams(**SMALL, conversion_delay=1.0)})
    with pytest.raises(ValueError, match=r"predicted conversions only, found .* bids on clicks"):
        clicks = TASKS["MaxClicks"]
        rollout(EachOne(), task=clicks, **market | {"params": MarketParams.for_task(clicks, **SMALL)})
