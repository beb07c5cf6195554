"""AuctionNet's interface, both ways, against stand-ins that are written to it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from agents import FixedBidder, PidBidder, as_auctionnet_strategy, from_auctionnet_strategy, make, rollout, rollout_each
from auction_env import MarketParams, replay_from_bids
from auction_env.control.bidder import Campaigns, TickView
from auction_env.tasks import TASKS
from tests.auction_env.control.auctionnet.stand_ins import N_TICKS, Proportional, evaluate, simulate, state
from tests.auction_env.replay.logs import day_of_48_ticks, three_periods

LIVE: dict[str, Any] = {
    "seeds": [3, 4], "advertisers": [5, 9], "task": TASKS["TargetCPA"], "params": MarketParams(n_impressions=480)
}  # fmt: skip


class Watching:
    """Paces by powers of two, whose products are exact; keeps what it sees."""

    name = "watching"

    def reset(self, campaigns: Campaigns) -> None:
        self.campaigns, self.views = campaigns, list[TickView]()

    def act(self, view: TickView) -> np.ndarray:
        self.views.append(view)
        ahead = view.budget_left > self.campaigns.budget * (1 - view.tick / self.campaigns.n_ticks)
        return np.where(ahead, 128.0, 32.0)


@pytest.fixture(scope="module")
def watched() -> tuple[list[TickView], dict[str, Any], Any]:
    """What a bidder saw in the simulator, the lists that were handed to it, and the strategy."""
    bidder = Watching()
    strategy = as_auctionnet_strategy(bidder)
    others = [Proportional() for _ in range(5)]
    for j, each in enumerate((strategy, *others)):
        each.budget, each.cpa, each.category = 15.0 + j, 60.0 + 10 * j, j % 2
    lists = simulate([strategy, *others], seed=1)
    return bidder.views, lists[0], strategy


def test_a_bidder_sees_the_state_that_auctionnet_defines(watched: tuple[Any, ...]) -> None:
    views, lists, strategy = watched
    spent = [
        (part[:, 2] * seen[:, 0]).sum() for part, seen in zip(lists["auctions"], lists["impressions"], strict=True)
    ]
    left = strategy.budget - np.cumsum([0.0, *spent])
    assert len(views) > 20 and np.diff(left).min() < 0
    for view in views:
        t = view.tick
        history = [lists[k][:t] for k in ("values", "bids", "auctions", "impressions", "least_winning_costs")]
        expected = state(t, lists["values"][t][:, 0], left[t], strategy.budget, *history)
        np.testing.assert_allclose(view.features[0], expected, rtol=1e-9, err_msg=f"tick {t}")
        np.testing.assert_allclose(view.predicted_mean[0, 0], expected[12])
        if t:
            seen = lists["impressions"][t - 1][:, 0]
            assert view.last_exposures[0] == seen.sum() <= view.last_wins[0] == lists["auctions"][t - 1][:, 0].sum()
            assert view.last_conversions[0] == lists["impressions"][t - 1][:, 1].sum()
            np.testing.assert_allclose(view.last_cost[0], spent[t - 1])
            np.testing.assert_allclose(view.last_expected_conversions[0], (lists["values"][t - 1][:, 0] * seen).sum())


def test_the_campaign_is_what_the_controller_set(watched: tuple[Any, ...]) -> None:
    campaigns = watched[2]._bidder.campaigns
    assert (campaigns.budget.item(), campaigns.cpa_target.item(), campaigns.category.item()) == (15.0, 60.0, 0)
    assert campaigns.n_ticks == N_TICKS and campaigns.task == TASKS["TargetCPA"] and campaigns.base.item() == 60.0


def test_in_the_offline_evaluator_every_win_is_seen_and_an_episode_starts_anew() -> None:
    bidder = Watching()
    strategy = as_auctionnet_strategy(bidder, budget=1e6, cpa=60.0, size=0.01)
    for seed in (1, 2):  # the evaluator never calls `reset`
        lists = evaluate(strategy, seed)
        wins = [part[:, 0].sum() for part in lists["auctions"]]
        assert len(bidder.views) == N_TICKS and max(wins) > 0
        np.testing.assert_allclose([view.last_exposures[0] for view in bidder.views[1:]], np.multiply(wins[:-1], 0.01))
        np.testing.assert_allclose([view.last_wins[0] for view in bidder.views[1:]], np.multiply(wins[:-1], 0.01))
        assert bidder.campaigns.budget[0] == 1e4 and bidder.views[3].features[0, 13] == pytest.approx(0.3)
        strategy.remaining_budget = 1e6


def test_a_strategy_that_goes_through_both_adapters_bids_the_same() -> None:
    plain, adapted = ([Proportional(risk=4.0) for _ in range(4)] for _ in range(2))
    through = [as_auctionnet_strategy(from_auctionnet_strategy(one)) for one in adapted]
    for strategies in (plain, through):
        for j, each in enumerate(strategies):
            each.budget, each.cpa, each.category = 5.0 + 3 * j, 60.0 + 10 * j, 0
    expected, found = simulate(plain, seed=5), simulate(through, seed=5)
    for own, others in zip(expected, found, strict=True):
        np.testing.assert_allclose(own["bids"], others["bids"], rtol=1e-6, atol=1e-6)  # float32 on the way
        assert min(bids.min() for bids in own["bids"]) == 0 < own["bids"][0].max()


def adapted() -> Any:
    return as_auctionnet_strategy(Watching())


@pytest.mark.parametrize("market", ["live", "log"])
def test_a_bidder_that_goes_through_both_adapters_plays_the_same(market: str) -> None:
    arguments = LIVE
    if market == "log":
        log = replay_from_bids(**day_of_48_ticks())
        arguments = {"seeds": [0, 1], "advertisers": [1, 2], "task": LIVE["task"], "market": log}
    own, others = rollout_each([Watching(), from_auctionnet_strategy(adapted)], **arguments)
    for name in ("bid", "wins", "cost", "conversions", "budget_left", "least_winning_cost"):
        np.testing.assert_allclose(getattr(others.ticks, name), getattr(own.ticks, name), rtol=1e-6, err_msg=name)
    assert own.ticks.cost.min(axis=0).max() < own.ticks.cost.max()
    np.testing.assert_allclose(others.features, own.features, rtol=1e-5)


def test_a_strategy_gets_what_auctionnet_hands_to_it_and_its_history_adds_up() -> None:
    made: list[Proportional] = []

    def make() -> Proportional:
        made.append(Proportional(risk=5.0))
        return made[-1]

    played = rollout(from_auctionnet_strategy(make), **LIVE)
    for i, strategy in enumerate(made[1:]):  # the first is the one that was looked at
        assert (strategy.budget, strategy.cpa) == (played.budget[i], played.targets.cpa[i])
        tick, _, _, values, bids, auctions, impressions, costs, _ = strategy.calls[-1]
        assert tick == len(bids) > 40
        for t in range(tick):
            seen = impressions[t][:, 0]
            assert auctions[t].shape == (len(bids[t]), 3) and costs[t].shape == bids[t].shape
            np.testing.assert_allclose((auctions[t][:, 2] * seen).sum(), played.ticks.cost[t, i], rtol=1e-5, atol=1e-9)
            assert impressions[t][:, 1].sum() == played.ticks.conversions[t, i]
            assert auctions[t][:, 0].sum() == played.ticks.wins[t, i]
            np.testing.assert_allclose(values[t][:, 0].sum(), played.ticks.offered_conversions[t, i], rtol=1e-5)
            np.testing.assert_allclose(bids[t].sum(), played.ticks.bid[t, i], rtol=1e-5, atol=1e-9)
            np.testing.assert_array_equal(bids[t] >= 0, True)


def test_rules_and_copies_of_strategies_play_in_the_stand_in_simulator() -> None:
    names = ("pid", "mpid", "dual", "mpc", "adaptive-pacing", "random")
    ours = [as_auctionnet_strategy(make(name)) for name in names]
    for j, each in enumerate(ours):
        each.budget, each.cpa = 8.0 + j, 80.0
    simulate(ours, seed=2)
    assert [each.remaining_budget < each.budget for each in ours] == [True] * len(ours)
    copied = pickle.loads(pickle.dumps(from_auctionnet_strategy(Proportional(risk=4.0))))  # to a worker process
    own = rollout(from_auctionnet_strategy(Proportional(risk=4.0)), **LIVE)
    np.testing.assert_array_equal(rollout(copied, **LIVE).ticks.cost, own.ticks.cost)
    assert copied.name == "proportional"


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"`n_ticks` must be 48 .* found 6"):
        rollout(
            from_auctionnet_strategy(adapted), seeds=[0], advertisers=[1], task=LIVE["task"], market=three_periods()
        )
    with pytest.raises(ValueError, match="`task` must count conversions alone"):
        as_auctionnet_strategy(PidBidder(), task="MaxClicks")
    with pytest.raises(ValueError, match="`size` must be positive, found 0"):
        as_auctionnet_strategy(PidBidder(), size=0)
    with pytest.raises(ValueError, match=r"`expected_traffic` must have shape \(48,\), found \(3,\)"):
        as_auctionnet_strategy(PidBidder(), expected_traffic=[1, 2, 3])
    with pytest.raises(ValueError, match="`cpa` of the strategy must be positive, found 0"):
        evaluate(as_auctionnet_strategy(FixedBidder(), cpa=0.0), seed=1)
    with pytest.raises(ValueError, match=r"methods `bidding` and `reset`.*without \['bidding'\]"):
        from_auctionnet_strategy(PidBidder())  # type: ignore[arg-type]  # which is the error
