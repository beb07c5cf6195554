"""AuctionNet's offline evaluation: its rules, one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from agents import FixedBidder, HindsightBidder, rollout, rollout_each
from auction_env import ReplayMarket, replay_from_bids
from auction_env.control.bidder import Campaigns, ImpressionBids, TickView
from auction_env.replay.fixed_prices import FixedPriceMarket
from auction_env.replay.simulation import LoggedMarket
from auction_env.tasks import TASKS
from tests.auction_env.replay.logs import make_log, make_market, three_periods

TASK = TASKS["TargetCPA"]


class EachValue:
    """Bids m x value on each impression, and notes what came of them."""

    name = "each"

    def __init__(self, multiplier: float) -> None:
        self.multiplier = multiplier

    def reset(self, campaigns: Campaigns) -> None:
        self.seen: list[Any] = []

    def act(self, view: TickView) -> ImpressionBids:
        assert view.impressions is not None
        if view.tick:
            self.seen.append(view.impressions.before(0))
        bids = [self.multiplier * view.impressions.now(i).values for i in range(len(view.impressions))]
        return ImpressionBids(bids=bids, is_reported=True)


def play(log: ReplayMarket, multiplier: float, **others: Any) -> Any:
    cpa = log.cpa_target[0]
    arguments = {"seeds": [0], "advertisers": [1], "task": TASK, "market": FixedPriceMarket(market=log)} | others
    return rollout(FixedBidder(multiplier / cpa[arguments["advertisers"][0]]), **arguments)


def test_a_bid_of_at_least_the_price_wins_pays_it_and_is_seen() -> None:
    log = make_log(1) | {"budget": np.full(7, 1e6)}
    market, multiplier = make_market(log), 4.0
    played = play(market, multiplier)
    # the price is the fourth highest bid, the own one included, at least the reserve
    price = np.maximum(np.sort(log["bids"], axis=1)[:, -4], market.rules.reserve).astype(np.float32)
    bids = multiplier * log["values"][:, 1].astype(np.float32).astype(float)
    won = bids >= price
    by_tick = [log["tick"] == t for t in range(6)]
    assert 0 < won.sum() < len(won)
    np.testing.assert_array_equal(played.ticks.wins[:, 0], [won[at].sum() for at in by_tick])
    np.testing.assert_array_equal(played.ticks.exposures, played.ticks.wins)
    np.testing.assert_allclose(played.ticks.cost[:, 0], [price[won & at].sum(dtype=float) for at in by_tick])
    np.testing.assert_allclose(played.ticks.least_winning_cost[:, 0], [price[at].mean(dtype=float) for at in by_tick])
    expected = [log["values"][won & at, 1].sum() for at in by_tick]
    np.testing.assert_allclose(played.ticks.expected_conversions[:, 0], expected, rtol=1e-6)
    # the features are those of the replay of the same log, but for what was won
    ladder = play(market, multiplier, market=market)
    for feature in (0, 5, 9, 12, 13, 14, 15):
        np.testing.assert_allclose(played.features[..., feature], ladder.features[..., feature])


def test_a_tick_that_costs_too_much_loses_a_random_share_of_its_wins() -> None:
    n, price, left = 100, 0.5, 12.2
    market = replay_from_bids(
        tick=np.zeros(n, int), bids=np.full((n, 4), price), values=np.full((n, 4), 0.01), budget=np.full(4, left),
        cpa_target=np.ones(4), n_ticks=1,
    )  # fmt: skip
    n_dropped = math.ceil(n * (n * price - left) / (n * price + 1e-4))
    n_left = n - n_dropped
    assert n_left * price <= left  # one round is enough
    first, again = (play(market, 1000.0, seeds=[5]) for _ in range(2))
    assert first.ticks.wins.item() == n_left and first.ticks.cost.item() == n_left * price
    assert again.ticks.conversions.item() == first.ticks.conversions.item()


def test_spend_never_exceeds_the_budget_and_ends_below_a_tenth() -> None:
    log = make_log(2, coarse=False) | {"budget": np.full(7, 3.0)}
    log["bids"] *= 0.2  # a win costs about a tenth
    played = play(make_market(log), 50.0, seeds=[1, 2, 3], advertisers=[1, 2, 3])
    assert (played.total("cost") <= 3.0).all() and (played.total("cost") > 2.0).all()
    poor = played.budget_left < 0.1
    assert poor.any() and (played.ticks.wins[poor] == 0).all() and (played.ticks.bid[poor] == 0).all()
    assert (played.ticks.budget_left >= 0).all()
    np.testing.assert_array_equal(played.active, ~poor)


def test_conversions_are_draws_of_a_normal_value_cut_to_probabilities() -> None:
    n, value, sigma = 4000, 0.3, 0.4
    market = replay_from_bids(
        tick=np.zeros(n, int), bids=np.full((n, 4), 0.1), values=np.full((n, 4), value), sigmas=np.full((n, 4), sigma),
        budget=np.full(4, 1e6), cpa_target=np.ones(4), n_ticks=1,
    )  # fmt: skip
    low, high = -value / sigma, (1 - value) / sigma
    inside = value * (norm.cdf(high) - norm.cdf(low)) - sigma * (norm.pdf(high) - norm.pdf(low))
    expected = inside + norm.sf(high)  # of the value cut to [0, 1]
    found = [play(market, 10.0, seeds=[seed]).total("conversions").item() / n for seed in range(4)]
    assert abs(np.mean(found) - expected) < 4 * math.sqrt(expected * (1 - expected) / (4 * n))
    assert len(set(found)) == 4


def settled_plainly(
    market: ReplayMarket, *, seed: int, tick: int, multiplier: float, left: float
) -> tuple[float, float, float, float]:
    """Wins, cost, conversions and sum of the bids of a tick of advertiser 1, in which all impressions are drawn."""
    here = slice(*market.log.tick_start[0, tick : tick + 2])
    values, sigmas = market.log.value[1, here], market.log.sigma[1, here]
    price = market.least_winning_costs(here)
    rng = np.random.default_rng([seed, int(market.periods[0]), 1, tick])
    bids = multiplier * values.astype(np.float64) if left >= 0.1 else np.zeros(len(values))
    while True:
        won = bids >= price
        converted = rng.binomial(1, np.clip(rng.normal(values, sigmas) * won, 0.0, 1.0))
        cost = float((price * won).sum())
        over = max((cost - left) / (cost + 1e-4), 0.0)
        if over == 0:
            return won.sum(), cost, converted.sum(), bids.astype(np.float32).sum(dtype=np.float64)
        where = np.flatnonzero(won)
        bids[rng.choice(where, math.ceil(len(where) * over), replace=False)] = 0.0


def test_what_is_computed_of_wins_alone_is_to_the_last_bit_what_all_impressions_give() -> None:
    log = make_log(3, n=900, coarse=False) | {"budget": np.full(7, 40.0)}
    log["sigmas"] = log["values"] * 3  # values below 0 and above 1 are drawn, too
    market = make_market(log)
    ticks = play(market, 6.0, seeds=[7]).ticks
    left = np.append(40.0, ticks.budget_left[:-1, 0])
    expected = [settled_plainly(market, seed=7, tick=t, multiplier=6.0, left=float(left[t])) for t in range(6)]
    found = np.stack([ticks.wins, ticks.cost, ticks.conversions, ticks.bid], axis=-1)[:, 0]
    np.testing.assert_array_equal(found, expected)
    assert found[0, 2] > 0 and (found[:, 0] > 0).sum() > 1 and ticks.budget_left[-1, 0] < 1  # ticks that lose wins, too


def test_multipliers_and_bids_on_each_impression_are_one_and_batches_do_not_matter() -> None:
    market = FixedPriceMarket(market=three_periods())
    episodes: dict[str, Any] = {"seeds": [0, 1, 2, 0], "advertisers": [1, 2, 3, 1], "task": TASK, "market": market}
    each = EachValue(4.0)
    played = rollout(each, **episodes)
    assert played.day.tolist() == [10, 11, 12, 10]
    alone = [rollout(EachValue(4.0), **{**episodes, "seeds": [s], "advertisers": [a]}) for s, a in ((0, 1), (2, 3))]
    for one, i in zip(alone, (0, 2), strict=True):
        np.testing.assert_array_equal(one.ticks.conversions[:, 0], played.ticks.conversions[:, i])
    own = played.targets.cpa
    same = [rollout(FixedBidder(4.0 / cpa), **episodes) for cpa in np.unique(own)]
    for i, cpa in enumerate(own):
        for name in ("wins", "cost", "conversions", "bid"):
            expected = getattr(same[int(np.searchsorted(np.unique(own), cpa))].ticks, name)[:, i]
            np.testing.assert_allclose(getattr(played.ticks, name)[:, i], expected, rtol=1e-6, err_msg=name)
    for before, wins, conversions in zip(each.seen, played.ticks.wins, played.ticks.conversions, strict=False):
        assert (before.exposed.sum(), before.converted.sum()) == (wins[0], conversions[0])


def test_markets_know_each_other_and_references_play_again() -> None:
    log = three_periods()
    market = FixedPriceMarket(market=log)
    assert market.difference(FixedPriceMarket(market=log)) == ""
    assert market.difference(LoggedMarket(market=log)) and LoggedMarket(market=log).difference(market)
    bidders = [HindsightBidder(n_coarse=4, n_fine=1), FixedBidder(0.2)]
    best, other = rollout_each(bidders, seeds=[0, 1], advertisers=[1, 2], task=TASK, market=market)
    assert (best.score(expected=True) >= other.score(expected=True) * 0.9).all()
    best.check_same(other)
    with pytest.raises(ValueError, match="played in the market of"):
        best.check_same(rollout(FixedBidder(), seeds=[0, 1], advertisers=[1, 2], task=TASK, market=log))
