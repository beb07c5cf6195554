"""Bidders, rollouts and logs."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import pytest

import auction_env
from agents import (
    Bidder,
    Campaigns,
    FixedBidder,
    HindsightBidder,
    MixedBidder,
    NoisyBidder,
    PidBidder,
    TickView,
    collect,
    rollout,
    rollout_each,
)  # fmt: skip
from auction_env import TASKS, Market, MarketParams, PacingGains, auctionnet_population
from auction_env.control.observation import FEATURE_NAMES, StateFeatures
from auction_env.tasks import REQUIREMENT_NAMES

PARAMS = MarketParams(n_impressions=5000)
SEEDS, ADVERTISERS = np.arange(100, 120), np.arange(20)


def params_for(task: str) -> MarketParams:
    return MarketParams.for_task(TASKS[task], n_impressions=PARAMS.n_impressions)


def run(bidder: Bidder, task: str = "MaxConversions", **kwargs: object):
    arguments = {"seeds": SEEDS, "advertisers": ADVERTISERS, "task": TASKS[task], "params": params_for(task)}
    return rollout(bidder, **(arguments | kwargs))


@pytest.mark.parametrize(
    "bidder", [FixedBidder(), PidBidder(), NoisyBidder(PidBidder()), MixedBidder([PidBidder(), FixedBidder()])]
)
def test_bidders_implement_the_protocol(bidder: Bidder) -> None:
    assert isinstance(bidder, Bidder)
    episodes = run(bidder)
    assert episodes.score().shape == (20,)
    assert np.all(episodes.total("cost") <= episodes.budget)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (PidBidder, r"must be an object, found the class PidBidder: write PidBidder\(\)"),
        ("pid", r"must be an object, found 'pid': write agents.make\('pid'\)"),
        (lambda view: view, r"must have `name`, `reset` and `act`, .* without \['name', 'reset', 'act'\]"),
    ],
)
def test_what_is_no_bidder_is_refused_with_the_fix(given: object, message: str) -> None:
    for call in (
        lambda: run(given),
        lambda: run(FixedBidder(), competitors={30: given}),
        lambda: rollout_each([FixedBidder(), given], seeds=[1], advertisers=[1], task=TASKS["TargetCPA"]),
        lambda: MixedBidder([given]),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_a_rollout_is_the_market_played_by_hand() -> None:
    """Controls advertiser 4 at a constant; the others must behave as the script does."""
    episodes = run(FixedBidder(1.3), seeds=[100], advertisers=[4])
    market = Market(PARAMS)
    market.reset(100)
    population = auctionnet_population()
    from auction_env.market.pacing import Pacer

    pacer = Pacer(
        base=population.start * market.cpa_target, cpa_limit=market.cpa_target, budget=market.budget,
        expected_traffic=PARAMS.traffic.expected_share(48), gains=population.gains,
    )  # fmt: skip
    cost = value = np.zeros(48)
    for tick in range(48):
        multipliers = pacer.multipliers(tick, last_cost=cost, last_expected_conversions=value)
        multipliers[4] = 1.3 * market.cpa_target[4]
        result = market.step(multipliers)
        cost, value = result.cost, result.expected_conversions
        assert episodes.ticks.cost[tick, 0] == cost[4]
        assert episodes.ticks.conversions[tick, 0] == result.conversions[4]


def in_batches_of(size: int) -> Callable[[object, np.ndarray], list[slice]]:
    return lambda market, alike: [slice(start, start + size) for start in range(0, len(alike), size)]


def test_a_rollout_does_not_depend_on_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    together = run(NoisyBidder(PidBidder()))
    monkeypatch.setattr(importlib.import_module("agents.rollouts"), "batches", in_batches_of(7))
    apart = run(NoisyBidder(PidBidder()))
    for name in ("cost", "conversions", "budget_left"):
        np.testing.assert_array_equal(getattr(apart.ticks, name), getattr(together.ticks, name))
    np.testing.assert_array_equal(apart.score(), together.score())
    alone = run(NoisyBidder(PidBidder()), seeds=SEEDS[17:18], advertisers=ADVERTISERS[17:18])
    np.testing.assert_array_equal(together.ticks.cost[:, 17], alone.ticks.cost[:, 0])
    np.testing.assert_array_equal(together.features[:, 17], alone.features[:, 0])


def test_pid_spends_more_of_the_budget_than_it_would_at_a_low_constant_and_guards_the_cpa() -> None:
    low, pid = run(FixedBidder(0.4)), run(PidBidder(0.4))
    assert pid.total("cost").sum() > 1.3 * low.total("cost").sum()
    free, guarded = run(PidBidder(2.0)), run(PidBidder(2.0), "TargetCPA")
    assert guarded.ratios(expected=True)["cpa"].mean() < 1.0
    free_cpa = free.total("cost") / free.objective(expected=True) / free.targets.cpa
    assert guarded.ratios(expected=True)["cpa"].mean() < free_cpa.mean()


@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("expected", [True, False])
def test_hindsight_is_at_least_as_good_as_every_constant_of_its_grid(task: str, expected: bool) -> None:
    params = MarketParams.for_task(TASKS[task], n_impressions=2000)
    episodes = {"seeds": SEEDS[:4], "advertisers": ADVERTISERS[:4], "params": params}
    reference = HindsightBidder(n_coarse=5, n_fine=2, expected=expected)
    best = run(reference, task, **episodes).score(expected=expected)
    for ratio in np.geomspace(0.2, 5.0, 5):
        constant = run(FixedBidder(ratio), task, **episodes)
        assert np.all(best >= constant.score(expected=expected))
    assert np.all((reference.ratio > 0.05) & (reference.ratio < 20))


def test_hindsight_finds_the_optimum_of_a_market_without_competition() -> None:
    """Alone in the market every slot costs the reserve, so a high bid wins all that has a value."""
    population = auction_env.Population(budget=(1e6,), cpa_target=(20.0,), category=(0,))
    params = MarketParams(n_impressions=500, n_ticks=2, n_slots=1, exposure=(1.0,), reserve=0.01)
    reference = HindsightBidder(n_coarse=9)
    episodes = rollout(
        reference,
        seeds=[1],
        advertisers=[0],
        task=TASKS["MaxConversions"],
        params=params,
        population=population,
    )
    everything = rollout(
        FixedBidder(1000.0), seeds=[1], advertisers=[0], task=TASKS["MaxConversions"], params=params,
        population=population,
    )  # fmt: skip
    assert everything.total("wins")[0] > 450  # values cut at 0 never win
    assert episodes.score(expected=True)[0] > 0.9 * everything.score(expected=True)[0]


def test_a_mix_deals_every_campaign_to_one_of_its_bidders() -> None:
    mixed, pid, fixed = run(MixedBidder([PidBidder(), FixedBidder(0.7)])), run(PidBidder()), run(FixedBidder(0.7))
    turn = (SEEDS + ADVERTISERS) % 2
    for own, part in ((pid, turn == 0), (fixed, turn == 1)):
        np.testing.assert_array_equal(mixed.ticks.cost[:, part], own.ticks.cost[:, part])


def test_noise_is_reproducible_and_has_the_stated_size() -> None:
    fixed = FixedBidder(1.0)
    noisy = run(NoisyBidder(fixed, level_sd=0.3, tick_sd=0.2))
    again = run(NoisyBidder(fixed, level_sd=0.3, tick_sd=0.2))
    np.testing.assert_array_equal(noisy.ticks.multiplier, again.ticks.multiplier)
    log_ratio = np.log(noisy.ticks.multiplier / noisy.targets.cpa)
    assert log_ratio.std() == pytest.approx(np.hypot(0.3, 0.2), rel=0.35)
    assert np.abs(np.diff(log_ratio, axis=0)).mean() < 0.25  # wanders rather than jumps


def test_logs_hold_what_happened_and_features_follow_from_them() -> None:
    data = next(iter(collect(NoisyBidder(PidBidder()), seeds=[7], task=TASKS["TargetCPA"], params=PARAMS)))
    assert len(data) == 48 * 48 and data.n_episodes == 48
    assert data.observation.shape == (48 * 48, len(FEATURE_NAMES) + len(REQUIREMENT_NAMES))
    # recompute the features of advertiser 9 from the logged quantities alone
    rows = np.flatnonzero(data.advertiser == 9)
    state = StateFeatures(1, 48)
    for tick, row in enumerate(rows):
        n = data.n_impressions[row]
        seen = state.observe(
            tick, budget_left=data.budget_left[row] / data.budget[row],
            value_now=data.offered_conversions[row] / max(n, 1), volume_now=n,
        )  # fmt: skip
        np.testing.assert_allclose(data.observation[row, :16], seen[0], rtol=1e-9, atol=1e-15)
        state.update(
            bid=data.bid[row] / max(n, 1), least_winning_cost=data.least_winning_cost[row],
            value=data.offered_conversions[row] / max(n, 1), conversions=data.conversions[row] / max(n, 1),
            win_rate=data.wins[row] / max(n, 1), volume=n,
        )  # fmt: skip
    after = np.append(data.budget_left[rows[1:]], data.budget_left[rows[-1]] - data.cost[rows[-1]])
    np.testing.assert_allclose(data.budget[rows] - np.cumsum(data.cost[rows]), after, rtol=1e-9, atol=1e-9)
    assert data.done[rows[-1]] and not data.done[rows[0]]
    assert np.all(data.action[rows][data.done[rows]][:-1] == 0)  # who has run out bids no more


def test_several_bidders_side_by_side_are_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    bidders = [NoisyBidder(PidBidder()), FixedBidder(0.8), MixedBidder([PidBidder(), FixedBidder()]), FixedBidder(1.2)]
    module = importlib.import_module("agents.rollouts")
    monkeypatch.setattr(module, "batches", in_batches_of(30))  # batches end between copies
    together = rollout_each(
        bidders, seeds=SEEDS, advertisers=ADVERTISERS, task=TASKS["TargetROAS"], params=params_for("TargetROAS")
    )
    assert len(together) == len(bidders)
    for bidder, found in zip(bidders, together, strict=True):
        alone = run(bidder, "TargetROAS")
        for name, values in alone.ticks._asdict().items():
            np.testing.assert_array_equal(getattr(found.ticks, name), values, err_msg=name)
        np.testing.assert_array_equal(found.features, alone.features)
        np.testing.assert_array_equal(found.ratios()["roas"], alone.ratios()["roas"])
        np.testing.assert_array_equal(found.seed, SEEDS)


def test_a_broken_bidder_among_several_is_named() -> None:
    with pytest.raises(ValueError, match="bidder 'broken' must return finite multipliers >= 0"):
        rollout_each([PidBidder(), _Broken(-1.0)], seeds=[1, 2], advertisers=[0, 1], task=TASKS["MaxConversions"])
    with pytest.raises(ValueError, match="`bidders` must hold at least one bidder, found none"):
        rollout_each([], seeds=[1], advertisers=[0], task=TASKS["MaxConversions"])


class _Broken:
    name = "broken"

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def reset(self, campaigns: Campaigns) -> None:
        self._n = len(campaigns.budget)

    def act(self, view: TickView) -> np.ndarray:
        return np.full(self._n, self._answer) if np.isscalar(self._answer) else np.asarray(self._answer)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.nan, "bidder 'broken' must return finite multipliers >= 0, found nan"),
        (-1.0, "bidder 'broken' must return finite multipliers >= 0, found -1.0"),
        ([1.0], r"bidder 'broken' must return multipliers of shape \(20,\), found \(1,\)"),
    ],
)
def test_a_broken_bidder_is_named(answer: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(_Broken(answer))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FixedBidder(-1.0), "`ratio` must be finite and not negative"),
        (lambda: PidBidder(0.0), "`start` must be positive, found 0.0"),
        (lambda: PidBidder(gains=PacingGains(i=np.inf)), "gain `i` must be finite"),
        (
            lambda: NoisyBidder(FixedBidder(), persistence=1.0),
            r"`persistence` must lie in \[0, 1\), found 1.0",
        ),
        (
            lambda: HindsightBidder(lowest=2.0, highest=1.0),
            "`lowest` must be positive and below",
        ),
        (lambda: run(FixedBidder(), seeds=[1, 2], advertisers=[0]), "must be vectors of one length"),
    ],
)
def test_bad_arguments_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
