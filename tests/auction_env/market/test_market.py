"""The market against its plain reference, its invariants, and its determinism."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auction_env import BatchMarket, Funnel, Market, MarketParams, Population, TrafficParams
from auction_env.market.params import REFERENCE_IMPRESSIONS
from auction_env.market.tracing import trace_tick
from tests.reference import market as reference


def small_population(n: int = 6, budget: float = 40.0) -> Population:
    """Budgets in currency at REFERENCE_IMPRESSIONS / 1000 impressions, the size of `small_params`."""
    return Population(
        budget=tuple(budget * 1000 * (1 + 0.1 * j) for j in range(n)),
        cpa_target=tuple(80.0 + 5 * j for j in range(n)),
        category=tuple(j % 2 for j in range(n)),
    )


def small_params(**kwargs: object) -> MarketParams:
    defaults: dict[str, object] = {"n_impressions": REFERENCE_IMPRESSIONS // 1000, "n_ticks": 4}
    return MarketParams(**(defaults | kwargs))  # type: ignore[arg-type]


@pytest.mark.parametrize("budget", [0.5, 4.0, 1e5])  # everybody, some and nobody runs out
@pytest.mark.parametrize("value_mean", [5e-4, 5e-2])
def test_market_equals_the_sequential_reference(budget: float, value_mean: float) -> None:
    params = small_params(traffic=TrafficParams(value_mean=value_mean))
    population = small_population(budget=budget)
    market = BatchMarket(params, population)
    market.reset([11])
    budget_left = market.budget.copy()
    active = np.ones(market.n_advertisers, bool)
    traffic = market._episode.traffic
    n_conversions = 0
    for tick in range(params.n_ticks):
        multipliers = market.cpa_target * np.linspace(0.8, 1.3, market.n_advertisers) * (1 + 0.2 * tick)
        expected = reference.run_tick(
            market.values(), multipliers.astype(np.float32), budget_left, active, seed=11, tick=tick,
            reserve=np.float32(params.reserve), exposure=params.exposure, sigma=traffic.sigma[0],
            lower=traffic.lower[0], upper=traffic.upper[0],
        )  # fmt: skip
        result = market.step(multipliers[None])
        for name in ("wins", "exposures", "conversions"):
            np.testing.assert_array_equal(getattr(result, name)[0], getattr(expected, name), err_msg=name)
        for name in ("cost", "expected_conversions", "bid"):
            np.testing.assert_allclose(getattr(result, name)[0], getattr(expected, name), rtol=2e-6)
        np.testing.assert_allclose(result.least_winning_cost[0], expected.least_winning_cost, rtol=1e-6)
        np.testing.assert_allclose(result.budget_left[0], budget_left, rtol=1e-6, atol=1e-9)
        if not result.done:
            np.testing.assert_array_equal(market.opening.active[0], active)
        n_conversions += int(expected.conversions.sum())
    assert active.all() == (budget == 1e5)
    assert (n_conversions > 5) == (value_mean == 5e-2 and budget > 1)


def run_all(market: BatchMarket, seeds: list[int], ratio: float = 1.2) -> dict[str, np.ndarray]:
    market.reset(seeds)
    results = []
    for tick in range(market.params.n_ticks):
        results.append(market.step(np.tile(market.cpa_target * (ratio + 0.1 * (tick % 3)), (len(seeds), 1))))
    names = ("cost", "wins", "conversions", "expected_conversions", "bid", "least_winning_cost", "budget_left")
    return {name: np.stack([getattr(r, name) for r in results]) for name in names}


def test_same_seed_same_episode_and_another_seed_another() -> None:
    market = BatchMarket(small_params(), small_population(), 1)
    first, again, other = run_all(market, [5]), run_all(market, [5]), run_all(market, [6])
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
    assert not np.array_equal(first["cost"], other["cost"])


def test_an_episode_does_not_depend_on_its_batch() -> None:
    params, population = small_params(), small_population(budget=3.0)
    together = run_all(BatchMarket(params, population, 3), [7, 8, 9])
    for position, seed in enumerate([7, 8, 9]):
        alone = run_all(BatchMarket(params, population, 1), [seed])
        for name, values in alone.items():
            np.testing.assert_array_equal(together[name][:, position], values[:, 0], err_msg=name)


_EPISODE = """
import json, warnings
warnings.simplefilter("ignore")
from tests.auction_env.market.test_market import *
for options in CASES:
    market = BatchMarket(small_params(n_impressions=100, **options), small_population(budget=5.0), 2)
    print(json.dumps({k: v.tolist() for k, v in run_all(market, [3, 4]).items()}))
"""


# every option at once
OPTIONS = {
    "mechanism": "vcg", "quality": (0.5, 1.0, 2.0, 1.3, 0.7, 1.0), "reserve_noise": 0.4,
    "funnel": Funnel(cart_rate=0.15), "conversion_delay": 1.0,
}  # fmt: skip
CASES: list[dict[str, object]] = [{}, OPTIONS, {"budget_rule": "auctionnet"}]


@pytest.mark.parametrize(
    "options",
    [{}, OPTIONS, {"budget_rule": "auctionnet"}, {"traffic": TrafficParams(value_correlation=0.4)}],
    ids=["plain", "all options", "overspending", "correlated"],
)
def test_markets_that_are_alike_share_their_draws_and_nothing_else(options: dict[str, object]) -> None:
    params = small_params(n_impressions=REFERENCE_IMPRESSIONS // 300, **options)
    population = small_population(budget=4.0)
    seeds, days = np.array([7, 8, 7, 9, 8, 7, 7]), np.array([0, 1, 0, 2, 1, 0, 3])
    bases = np.zeros((len(seeds), 6), np.int64)
    if params.funnel:
        bases[5, 2] = 3  # alike but for what one advertiser bids on
    market = BatchMarket(params, population, len(seeds))
    market.reset(seeds, days, bases)
    alone = [BatchMarket(params, population) for _ in seeds]
    for one, seed, day, basis in zip(alone, seeds, days, bases, strict=True):
        one.reset([seed], [day], basis[None])
    levels = np.array([0.6, 1.0, 1.4, 1.0, 0.8, 1.2, 1.4])  # some run out of money, in different ticks
    for _ in range(params.n_ticks):
        for e, one in enumerate(alone):
            np.testing.assert_array_equal(market.opening.predicted_mean[e], one.opening.predicted_mean[0])
            np.testing.assert_array_equal(market.values(e), one.values(0))
        together = market.step(levels[:, None] * market.cpa_target)
        for e, one in enumerate(alone):
            apart = one.step(levels[e] * one.cpa_target[None])
            for name, values in apart._asdict().items():
                if isinstance(values, np.ndarray):
                    np.testing.assert_array_equal(getattr(together, name)[e], values[0], err_msg=name)
    assert (together.budget_left < 1.0).any() or params.budget_rule != "in_order"
    drawn = market.buffer_bytes / sum(one.buffer_bytes for one in alone)
    assert drawn < 0.8 if params.budget_rule == "in_order" else drawn == 1.0


def run_in_subprocess(**environment: str) -> list[dict[str, list[float]]]:
    """An episode of each of `CASES`."""
    command = [sys.executable, "-c", _EPISODE]
    out = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in out.stdout.splitlines()]
    assert len(found) == len(CASES)
    return found


def test_kernels_give_the_same_without_the_jit() -> None:
    compiled = run_in_subprocess()
    plain = run_in_subprocess(NUMBA_DISABLE_JIT="1")
    for options, found, expected in zip(CASES, compiled, plain, strict=True):
        for name, values in found.items():  # contraction to FMA differs
            np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-6, err_msg=f"{name}, {options}")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    n_advertisers=st.integers(1, 12),
    n_impressions=st.integers(1, 3000),
    n_ticks=st.integers(1, 6),
    n_slots=st.integers(1, 5),
    budget=st.floats(1e-3, 1e4),
    reserve=st.sampled_from([0.0, 0.01, 0.5]),
    mechanism=st.sampled_from(["gsp", "first_price"]),
    seed=st.integers(0, 2**62),
)
def test_invariants_hold_in_any_market(
    n_advertisers: int, n_impressions: int, n_ticks: int, n_slots: int, budget: float, reserve: float,
    mechanism: str, seed: int,
) -> None:  # fmt: skip
    params = MarketParams(
        n_impressions=n_impressions, n_ticks=n_ticks, n_slots=n_slots, exposure=(0.7,) * n_slots,
        reserve=reserve, mechanism=mechanism, traffic=TrafficParams(value_mean=0.05),
    )  # fmt: skip
    market = Market(params, small_population(n_advertisers, budget))
    rng = np.random.default_rng(seed)
    market.reset(seed)
    spent, seen = np.zeros(n_advertisers), 0
    for _ in range(n_ticks):
        before = market.opening
        result = market.step(market.cpa_target * rng.uniform(0, 3, n_advertisers))
        spent += result.cost
        seen += int(result.n_impressions)
        assert np.all(result.budget_left >= 0)
        assert np.all(spent <= market.budget * (1 + 1e-12))
        assert np.all(result.conversions <= result.exposures)
        assert np.all(result.exposures <= result.wins)
        assert result.wins.sum() <= n_slots * result.n_impressions
        assert np.all(result.cost >= reserve * result.exposures * (1 - 1e-6))
        assert np.all(result.wins[~before.active] == 0)
        assert result.least_winning_cost >= reserve * (1 - 1e-6) or result.n_impressions == 0
    assert seen == n_impressions


def test_budgets_scale_with_the_size_of_the_market() -> None:
    population = small_population()
    assert Market(small_params(), population).budget[0] == pytest.approx(40.0)
    assert Market(MarketParams(), population).budget[0] == pytest.approx(40_000.0)


def test_a_tick_without_impressions_is_a_tick_of_zeros() -> None:
    curve = (1.0, 0.0)
    market = Market(small_params(n_ticks=2, traffic=TrafficParams(diurnal_curve=curve)), small_population())
    market.reset(0)
    market.step(market.cpa_target)
    assert market.opening.n_impressions == 0
    result = market.step(market.cpa_target)
    assert result.done
    assert result.cost.sum() == result.bid.sum() == result.least_winning_cost == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.step(np.ones(3)), r"`multipliers` must have shape \(6,\), found \(3,\)"),
        (lambda m: m.step(np.full(6, -1.0)), "`multipliers` must be finite and not negative, found -1.0"),
        (lambda m: m.step(np.full(6, np.nan)), "`multipliers` must be finite and not negative, found nan"),
        (lambda m: m.reset(-1), "`seeds` must not be negative, found -1"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    market = Market(small_params(), small_population())
    market.reset(0)
    with pytest.raises(ValueError, match=message):
        call(market)


def test_an_invalid_multiplier_leaves_the_market_as_it_is() -> None:
    market, other = (Market(small_params(), small_population()) for _ in range(2))
    for each in (market, other):
        each.reset(1)
    bad = market.cpa_target.copy()
    bad[3] = np.nan
    with pytest.raises(ValueError, match="found nan for advertiser 3 of market 0"):
        market.step(bad)
    for _ in range(2):
        for found, expected in zip(market.step(market.cpa_target), other.step(market.cpa_target), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n", [1, 2, 5, 8])  # ranked in pairs, and summed four at a time
def test_bids_of_a_tick_end_with_the_money(n: int) -> None:
    market = BatchMarket(small_params(n_ticks=2), small_population(n, budget=0.3))
    market.reset([4])
    traced = trace_tick(market, market.cpa_target)
    result = market.step(market.cpa_target[None])
    assert (traced.bid == 0).any() and not market.opening.active.all()
    np.testing.assert_allclose(result.bid[0], traced.bid.sum(axis=0, dtype=np.float64), rtol=1e-6)


def test_stepping_outside_an_episode_is_an_error() -> None:
    market = Market(small_params(n_ticks=1), small_population())
    with pytest.raises(RuntimeError, match="call `reset` first"):
        market.step(np.ones(6))
    market.reset(0)
    market.step(np.ones(6))
    with pytest.raises(RuntimeError, match="call `reset` first"):
        market.step(np.ones(6))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_impressions": 0}, "`n_impressions` must be at least 1, found 0"),
        ({"n_slots": 9}, r"`n_slots` must lie in 1..8, found 9"),
        ({"n_slots": 2}, r"`exposure` must have one probability a slot \(2\)"),
        ({"exposure": (1.0, 1.2, 0.5)}, r"`exposure` must lie in \[0, 1.0\], found 1.2"),
        ({"reserve": -0.1}, "`reserve` must be finite and not negative, found -0.1"),
        ({"mechanism": "vickrey"}, "`mechanism` must be one of .* found 'vickrey'"),
    ],
)
def test_bad_parameters_are_named(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MarketParams(**kwargs)  # type: ignore[arg-type]
