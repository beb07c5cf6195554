"""Online LP on the prices of logs, and AuctionNet's rule of that name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents import (
    AuctionNetLpBidder,
    FixedBidder,
    OnlineLpBidder,
    auctionnet_lp_table,
    prices_from_log,
    rollout,
    rollout_each,
)
from auction_env import ReplayMarket, ReplayParams, replay_from_bids
from auction_env.replay.fixed_prices import FixedPriceMarket
from auction_env.tasks import TASKS
from tests.auction_env.replay.logs import make_log, make_market, three_periods

TASK = TASKS["TargetCPA"]


def stationary(seed: int, budget: float = 6.0) -> ReplayMarket:
    """A second-price market with one slot whose competitors bid alike at all hours: the optimum is a constant."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.05, 0.2, (2_400, 4))
    bids = np.concatenate([np.zeros((2_400, 1)), rng.uniform(0.0, 1.0, (2_400, 3))], axis=1)
    return replay_from_bids(
        tick=np.repeat(np.arange(24), 100), bids=bids, values=values, budget=np.full(4, budget),
        cpa_target=np.full(4, 5.0), n_ticks=24, rules=ReplayParams(n_slots=1, exposure=(1.0,), reserve=0.0),
    )  # fmt: skip


def test_prices_of_a_log_are_what_wins_its_last_slot_from_the_others() -> None:
    log = make_log(1, n_advertisers=6)
    market = make_market(log, reserve=0.1)
    for j in range(6):
        others = np.sort(np.delete(log["bids"], j, axis=1), axis=1)
        expected = np.maximum(others[:, -3], 0.1)
        np.testing.assert_allclose(market.prices_to_beat(j, slice(None)), expected, rtol=1e-6)
        history = prices_from_log(market, task=TASK)
        values = log["values"][:, j].astype(np.float32)
        ratio = np.divide(expected, values, out=np.full(len(values), np.inf), where=values > 0)
        below = history.threshold[j, 80]
        for t in (0, 5):
            at = (log["tick"] == t) & (ratio < below)
            seen = np.cumprod(market.rules.exposure).mean()
            np.testing.assert_allclose(history.cost[j, t, 80], seen * expected[at].sum(), rtol=1e-5, atol=1e-9)
            np.testing.assert_allclose(history.value[j, t, 80], seen * values[at].sum(), rtol=1e-5, atol=1e-9)
    assert np.median(np.diff(history.cost, axis=2)) >= 0


def test_an_online_lp_on_the_prices_of_another_day_comes_close_to_the_best_constant() -> None:
    own, played = stationary(1), stationary(2)
    lp = OnlineLpBidder(prices_from_log(own), is_of_played_market=False)
    ratios = np.geomspace(0.05, 1.0, 15)
    bidders = [lp, AuctionNetLpBidder(auctionnet_lp_table(own, share=0.25, interval=0.2)), *map(FixedBidder, ratios)]
    task = TASKS["MaxConversions"]
    episodes = rollout_each(bidders, seeds=[1, 2], advertisers=[0, 0], task=task, market=played)
    ours, theirs, *constants = (each.score(expected=True).mean() for each in episodes)
    assert ours >= 0.97 * max(constants)
    # its prices are one rank too low, so its money is gone early
    assert 0.3 * max(constants) < theirs < ours
    assert max(constants) > 2 * min(constants)


def test_a_history_belongs_to_its_log_and_to_its_task() -> None:
    log, other = three_periods(), make_market(make_log(9), period=10)
    lp = OnlineLpBidder(prices_from_log(log, periods=[10]))
    episodes: dict[str, Any] = {"seeds": [1], "advertisers": [2], "task": TASK}
    assert rollout(lp, **episodes, market=log).total("cost")[0] > 0
    for market in (other, FixedPriceMarket(market=log)):
        with pytest.raises(ValueError, match=r"`history` must be of the market that is played.*`prices_from_log`"):
            rollout(lp, **episodes, market=market)
    with pytest.raises(ValueError, match="`task` must count conversions alone, as a log does, found 'MaxClicks'"):
        prices_from_log(log, task="MaxClicks")
    with pytest.raises(ValueError, match=r"`period` must be one of \[10, 11, 12\], found 3"):
        prices_from_log(log, periods=[3])
    # who is in two of three periods has the mean of those two
    history, parts = prices_from_log(log), [prices_from_log(log, periods=[k]) for k in (10, 11)]
    totals = [part.value[0, :, -1].sum() for part in parts]
    np.testing.assert_allclose(history.value[0, :, -1].sum(), np.mean(totals), rtol=0.05)


def test_the_table_of_auctionnet_by_hand() -> None:
    # one category of two advertisers, two ticks; prices are the least winning costs of one slot
    values = np.array([[0.1, 0.0], [0.2, 0.1], [0.1, 0.4], [0.5, 0.5]])
    price = np.array([1.0, 4.0, 2.0, 5e-5])  # the last is at AuctionNet's floor
    bids = np.stack([price + 1, price, price * 0], axis=1)
    log = replay_from_bids(
        tick=[0, 0, 1, 1], bids=bids, values=np.column_stack([values, np.zeros(4)]), budget=np.full(3, 10.0),
        cpa_target=np.full(3, 10.0), n_ticks=2, category=np.array([0, 0, 1]),
        rules=ReplayParams(n_slots=1, exposure=(1.0,), reserve=0.0),
    )  # fmt: skip
    table = auctionnet_lp_table(log, share=1.0, interval=0.5, max_budget=100.0)
    # advertiser 0: 1 / .1001, 4 / .2001, 2 / .1001; advertiser 1: 4 / .1001, 2 / .4001
    ratio = np.array([2 / 0.4001, 1 / 0.1001, 2 / 0.1001, 4 / 0.2001, 4 / 0.1001])
    cumulative, threshold = table.rows[0, 0]
    order = np.argsort(ratio)
    np.testing.assert_allclose(threshold, ratio[order], rtol=1e-5)
    np.testing.assert_allclose(cumulative, np.cumsum(np.array([2.0, 1.0, 2.0, 4.0, 4.0])[order]), rtol=1e-5)
    np.testing.assert_allclose(table.rows[0, 1][1], [2 / 0.4001, 2 / 0.1001], rtol=1e-5)
    thinned = auctionnet_lp_table(log, share=1.0, interval=3.0, max_budget=12.0).rows[0, 0]
    np.testing.assert_allclose(thinned[0], [3.0, 9.0], rtol=1e-5)  # 2, 3, 5, 9 below 12: 3, then 9, which is the last
    assert len(auctionnet_lp_table(log, share=0.4).rows[0, 0][0]) == 1 and (1, 0) in table.rows

    class View:
        tick, budget_left = 0, np.array([2.5, 3.0, 12.9, 13.5])

    class Known:
        n_ticks, category, cpa_target = 2, np.zeros(4, int), np.array([10.0, 10.0, 20.0, 7.0])
        requirements = np.ones((4, 15))

    bidder = AuctionNetLpBidder(table)
    bidder.reset(Known())  # type: ignore[arg-type]  # what it reads of campaigns
    # the first row beyond the money left; capped at 1.5 x CPA; the CPA where the table ends
    found = bidder.act(View())  # type: ignore[arg-type]
    np.testing.assert_allclose(found, [1 / 0.1001, min(2 / 0.1001, 15.0), 30.0, 7.0], rtol=1e-5)


def test_what_does_not_fit_a_table_is_named() -> None:
    log = three_periods()
    for arguments, message in (
        ({"share": 0.0}, r"`share` must lie in \(0, 1\], found 0.0"),
        ({"interval": -1.0}, "`interval` must be positive, found -1.0"),
        ({"period": 4}, r"`period` must be one of \[10, 11, 12\], found 4"),
    ):
        with pytest.raises(ValueError, match=message):
            auctionnet_lp_table(log, **arguments)
    bidder = AuctionNetLpBidder(auctionnet_lp_table(log))
    with pytest.raises(ValueError, match="`table` must be of episodes of 48 ticks, as they are played, found 6"):
        rollout(bidder, seeds=[1], advertisers=[2], task=TASK)
