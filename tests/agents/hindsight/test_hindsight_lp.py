"""The full-information optimum: against HiGHS, against the market's own prices, against what bidders reach."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agents import FixedBidder, HindsightBidder, PidBidder, rollout
from agents.hindsight.full_information import Offers, lp_reference, record_offers, score_bound, shares_of, solve
from auction_env import TASKS, Funnel, MarketParams, auctionnet_population, random_population
from auction_env.tasks import QUANTITIES


def offers_of(seed: int, *, n: int = 60, n_slots: int = 1, n_ratios: int = 0, budget: float = 8.0) -> Offers:
    rng = np.random.default_rng(seed)
    value, seen = rng.lognormal(size=n), np.cumprod([1.0, 0.8, 0.6][:n_slots])[:, None]
    price = np.sort(rng.lognormal(size=(n_slots, n)), axis=0)[::-1]
    other = rng.lognormal(size=n)
    gained = {"cpa": seen * value, "roas": seen * other}
    kinds = list(gained)[:n_ratios]
    return Offers(seen * value, seen * price, {kind: gained[kind] for kind in kinds}, dict.fromkeys(kinds, 0.4), budget)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_slots", [1, 3])
@pytest.mark.parametrize("n_ratios", [0, 1, 2])
@pytest.mark.parametrize("budget", [0.5, 8.0, 1e4])
def test_the_cutting_planes_find_the_optimum_of_highs(seed: int, n_slots: int, n_ratios: int, budget: float) -> None:
    offers = offers_of(seed, n_slots=n_slots, n_ratios=n_ratios, budget=budget)
    found, exact = solve(offers), solve(offers, "highs")
    assert found.value <= exact.value * (1 + 1e-9)
    assert found.bound >= exact.value * (1 - 1e-9)
    assert 0 <= found.gap <= 1e-6
    assert found.value == pytest.approx(exact.value, rel=2e-6)
    assert found.cost <= budget * (1 + 1e-9)


def test_without_a_binding_constraint_everything_is_taken() -> None:
    offers = offers_of(0, budget=1e9)
    assert solve(offers).value == pytest.approx(offers.value.sum())
    assert solve(offers).prices == {"budget": 0.0}


def test_the_price_of_money_is_what_more_of_it_would_buy() -> None:
    offers = offers_of(1, n=4000, budget=200.0)
    more = solve(offers._replace(budget=202.0)).value - solve(offers).value
    assert solve(offers).prices["budget"] == pytest.approx(more / 2.0, rel=0.02)


@pytest.mark.parametrize("task", ["MaxConversions", "MaxClicks", "TargetROAS"])
@pytest.mark.parametrize(("is_quality", "mechanism"), [(False, "gsp"), (True, "gsp"), (True, "vcg")])
def test_prices_are_those_of_the_auction(task: str, is_quality: bool, mechanism: str) -> None:
    """A constant multiplier wins the highest slot below its bid: cost and amount must be those of the market."""
    n = auctionnet_population().n_advertisers
    params = MarketParams(
        n_impressions=20_000,
        exposure=(1.0, 1.0, 1.0),
        mechanism=mechanism,
        funnel=Funnel() if TASKS[task].needs_funnel else None,
        quality=tuple(np.random.default_rng(0).uniform(0.8, 1.25, n).tolist()) if is_quality else None,
    )
    arguments = {"task": TASKS[task], "params": params}
    bidder = FixedBidder(0.35)
    offers = record_offers(bidder, seed=3, advertiser=12, **arguments)
    played = rollout(bidder, seeds=[3], advertisers=[12], **arguments)
    assert played.total("cost")[0] < 0.95 * played.budget[0]  # it never ran out
    bid = 0.35 * TASKS[task].unit_worth(played.targets)[0] * offers.value
    wins = np.cumsum(bid > offers.cost, axis=0) == 1  # the first slot, from the top, whose price is below the bid
    wins &= bid > offers.cost
    assert offers.cost[wins].sum() == pytest.approx(played.total("cost")[0], rel=1e-5)
    expected = QUANTITIES[TASKS[task].basis].expected
    assert offers.value[wins].sum() == pytest.approx(played.total(expected)[0], rel=1e-5)


@pytest.mark.parametrize("task", ["MaxConversions", "TargetCPA", "MaxClicks", "TargetROAS"])
def test_no_bidder_beats_the_bound_of_the_episode_that_it_played(task: str) -> None:
    arguments = {
        "task": TASKS[task],
        "params": MarketParams.for_task(TASKS[task], n_impressions=5_000, exposure=(1.0, 1.0, 1.0)),
    }
    episodes = {"seeds": np.arange(3), "advertisers": np.arange(3) * 18}
    hindsight = HindsightBidder()
    best = rollout(hindsight, **episodes, **arguments)
    for bidder in (PidBidder(), FixedBidder(1.3)):
        played = rollout(bidder, **episodes, **arguments)
        share = shares_of(lp_reference(bidder, **episodes, **arguments), played)
        assert np.all(share < 1)
    # the reference of a bidder of its own multipliers: the best constant comes close and stays below
    bounds = lp_reference(FixedBidder(), **episodes, **arguments)
    amounts = [
        score_bound(record_offers(FixedBidder(ratio), seed=seed, advertiser=advertiser, **arguments))
        for ratio, seed, advertiser in zip(hindsight.ratio, *episodes.values(), strict=True)
    ]
    share = shares_of(dataclasses.replace(bounds, amount=np.array(amounts)), best)
    assert np.all(share <= 1 + 1e-6)
    assert share.mean() > 0.85


def test_a_soft_penalty_may_be_worth_its_price() -> None:
    """One impression at 1.1 times the limit: keeping the limit wins nothing, breaking it scores 1 / 1.1 ** 2."""
    one = np.ones((1, 1))
    offers = Offers(one, 1.1 * one, {"cpa": one}, {"cpa": 1.0}, 10.0)
    assert solve(offers).bound == pytest.approx(0.0, abs=1e-9)
    cheap = Offers(np.array([[1.0, 5.0]]), np.array([[1.0, 5.5]]), {"cpa": np.array([[1.0, 5.0]])}, {"cpa": 1.0}, 10.0)
    realised = 6.5 / 6.0
    assert solve(cheap).bound == pytest.approx(1.0)
    assert score_bound(cheap) == pytest.approx(6.0 * realised**-2, rel=3e-3)
    assert score_bound(cheap, beta=0.0) == pytest.approx(6.0)
    assert score_bound(cheap._replace(gained={}, allowed={})) == pytest.approx(6.0)


def test_the_bound_of_a_score_is_that_of_a_fine_grid() -> None:
    grid = np.concatenate([np.geomspace(1.0, 1.1, 20), np.geomspace(1.12, 10.0, 10)])
    for seed in range(2):
        offers = offers_of(seed, n_ratios=1, n=80, budget=15.0)._replace(allowed={"cpa": 0.1})
        scores = [solve(offers._replace(allowed={"cpa": 0.1 * factor})).value * factor**-2.0 for factor in grid]
        assert max(scores) * (1 - 1e-9) <= score_bound(offers) <= max(scores) * 1.02


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solve(offers_of(0), "simplex"), "`method` must be 'dual' or 'highs', found 'simplex'"),  # type: ignore[arg-type]
        (lambda: solve(offers_of(0), tolerance=0.0), "`tolerance` must be positive, found 0.0"),
        (lambda: score_bound(offers_of(0), tolerance=-1.0), "`tolerance` must be positive, found -1.0"),
        (lambda: score_bound(offers_of(0, n_ratios=2)), r"at most one cost ratio, found \['cpa', 'roas'\]"),
        (
            lambda: record_offers(
                FixedBidder(), seed=0, advertiser=0, task=TASKS["TargetCPA"], params=MarketParams(reserve_noise=0.1)
            ),
            "`reserve_noise` must be 0 for prices in hindsight, found 0.1",
        ),
        (
            lambda: record_offers(
                FixedBidder(), seed=0, advertiser=0, task=TASKS["TargetCPA"], params=MarketParams(first_price_share=0.1)
            ),
            "`first_price_share` must be 0 for prices in hindsight, found 0.1",
        ),
    ],
)
def test_bad_arguments_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_shares_need_the_same_episodes_of_the_same_market() -> None:
    arguments = {"advertisers": [0, 1], "task": TASKS["TargetCPA"], "params": MarketParams(n_impressions=1000)}
    played = rollout(FixedBidder(), seeds=[0, 1], **arguments, days=[2, 0])
    bounds = lp_reference(FixedBidder(), seeds=[0, 1], **arguments, days=[2, 0])
    share = shares_of(dataclasses.replace(bounds, amount=np.array([0.0, 2.0])), played)
    assert np.isnan(share[0])
    assert share[1] == played.score(expected=True)[1] / 2.0
    for change, found in (
        ({"seed": np.array([0, 2])}, "another `seed`"),
        ({"advertiser": np.array([0, 2])}, "another `advertiser`"),
        ({"day": np.array([2, 1])}, "another `day`"),
        ({"task": TASKS["MaxConversions"]}, "episodes' task"),
        ({"market": dataclasses.replace(bounds.market, population=random_population(48, seed=1))}, "population"),
        (
            {"market": dataclasses.replace(bounds.market, params=MarketParams(n_impressions=999))},
            "another `n_impressions`, 999 and 1000",
        ),
    ):
        with pytest.raises(ValueError, match=f"`reference` must be of the .*{found}"):
            shares_of(dataclasses.replace(bounds, **change), played)  # type: ignore[arg-type]
