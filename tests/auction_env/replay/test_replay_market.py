"""Replay markets from a log of every bid: clearing, exposures, bad input."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from auction_env import ReplayMarket, ReplayParams, replay_from_auctionnet, replay_from_bids
from tests.auction_env.replay.logs import three_periods


@pytest.fixture(scope="module")
def market() -> ReplayMarket:
    return three_periods()


def test_higher_bids_win_more_and_never_a_worse_slot(market: ReplayMarket) -> None:
    n = int(market.n_impressions[0])
    low = market.clear(10, 3, np.full(n, 0.5))
    high = market.clear(10, 3, np.full(n, 0.9))
    won = low.slot > 0
    assert np.all(high.slot[won] > 0) and np.all(high.slot[won] <= low.slot[won])
    assert np.all(low.price <= 0.5) and np.all(high.price >= low.price)
    assert np.all(market.clear(10, 3, np.zeros(n)).slot == 0)
    assert np.all(market.clear(10, 3, np.full(n, 1e30)).slot == 1)


def test_logged_exposures_are_used_and_unknown_ones_drawn() -> None:
    n = 20_000
    log = {
        "tick": np.zeros(n, int), "bids": np.tile([0.4, 0.3, 0.2, 0.1], (n, 1)), "values": np.full((n, 4), 0.001),
        "budget": np.full(4, 1e9), "cpa_target": np.ones(4),
    }  # fmt: skip
    drawn = replay_from_bids(**log, n_ticks=1, rules=ReplayParams(exposure=(1.0, 0.8, 0.6)))
    for bid, share in ((0.5, 1.0), (0.25, 0.48)):
        found = drawn.clear(0, 3, np.full(n, bid), seed=5)
        assert abs(found.exposed.mean() - share) < 0.02
    exposed = np.random.default_rng(0).integers(0, 2, (n, 3))
    logged = replay_from_bids(**log, exposed=exposed, n_ticks=1)
    np.testing.assert_array_equal(logged.clear(0, 3, np.full(n, 0.35)).exposed, exposed[:, 1] == 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bids": np.full((4, 2), np.nan)}, r"`bids` must be finite and not negative, found nan at \(0, 0\)"),
        ({"bids": np.full((4, 2), -1.0)}, "`bids` must be finite and not negative"),
        ({"bids": np.full((4, 2), 1e300)}, r"`bids` must be finite and not negative, at most 3\.4e\+38, found 1e\+300"),
        ({"bids": np.ones(4)}, r"`bids` must have shape \(n_impressions, n_advertisers\)"),
        ({"bids": np.ones((4, 0))}, "`bids` must have shape"),
        ({"values": np.ones((3, 2))}, r"`values` must have shape \(4, 2\)"),
        ({"values": np.full((4, 2), 1.5)}, "`values` must be at most 1, found 1.5"),
        ({"sigmas": np.full((4, 2), np.inf)}, "`sigmas` must be finite"),
        ({"tick": [0, 1, 0, 1]}, "`tick` must not fall"),
        ({"tick": [0, 1, 2, 48]}, "lie in 0..47"),
        ({"tick": [0.0, 1.0, 2.0, 3.0]}, "`tick` must be 4 integers"),
        ({"budget": [1.0, 0.0]}, "`budget` must be 2 positive numbers"),
        ({"cpa_target": [1.0]}, "`cpa_target` must be 2 positive numbers"),
        ({"exposed": np.ones((4, 2))}, r"`exposed` must have shape \(4, 3\)"),
        ({"advertisers": [3, 1]}, "`advertisers` must be 2 ascending numbers"),
        ({"category": [0]}, r"`category` must have shape \(2,\)"),
    ],
)
def test_bad_arrays_are_named(change: dict, message: str) -> None:
    good = {
        "tick": [0, 0, 1, 1], "bids": np.ones((4, 2)), "values": np.full((4, 2), 0.1), "budget": [1.0, 1.0],
        "cpa_target": [1.0, 1.0],
    }  # fmt: skip
    replay_from_bids(**good)
    with pytest.raises(ValueError, match=message):
        replay_from_bids(**(good | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_slots": 0}, r"`n_slots` must lie in 1\.\.8, found 0"),
        ({"exposure": (1.0,)}, "`exposure` must hold 3 probabilities"),
        ({"exposure": (1.0, 2.0, 0.5)}, "`exposure` must hold 3 probabilities"),
        ({"reserve": float("nan")}, "`reserve` must be finite"),
        ({"mechanism": "auction"}, "`mechanism` must be one of"),
    ],
)
def test_bad_rules_are_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReplayParams(**change)


def test_bad_arguments_are_named(market: ReplayMarket) -> None:
    cases = [
        (lambda: ReplayMarket.concat([]), "`markets` must hold at least one"),
        (lambda: ReplayMarket.concat([market, market]), "`periods` must be distinct"),
        (lambda: market.clear(10, 0, [1.0]), r"`bids` must have shape \(150,\)"),
        (lambda: market.clear(10, 0, np.full(150, np.nan)), "`bids` must be finite"),
        (lambda: market.clear(10, 0, np.ones(150), seed=-1), "`seed` must not be negative, found -1"),
        (lambda: market.clear(10, 99, np.ones(150)), "`advertiser` must be one of"),
        (lambda: market.clear(9, 0, np.ones(150)), "`period` must be one of"),
        (lambda: market.clear(12, 0, np.ones(150)), r"`advertiser` must be one of \[1, .*\] in period 12, found 0"),
        (lambda: replay_from_auctionnet(".", assumption="guess"), "`assumption` must be"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    assert copy.deepcopy(market) is market


def test_more_advertisers_than_the_ladder_can_number() -> None:
    n = 40_000
    with pytest.raises(ValueError, match="at most 32767 advertisers, found 40000"):
        replay_from_bids(
            tick=[0], bids=np.ones((1, n)), values=np.zeros((1, n)), budget=np.ones(n), cpa_target=np.ones(n)
        )
