"""A tick in one compiled call is the tick in parts, also where an episode mixes the two."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from auction_env import Funnel, MarketParams, Population, auctionnet_population
from auction_env.control.simulation import Simulation
from auction_env.kernels.running import threads
from auction_env.kernels.step.pacing import pace
from auction_env.kernels.step.playing import play_tick

PARAMS = MarketParams(n_impressions=480, n_ticks=6)
PACED = replace(auctionnet_population(), behaviour=("pid_cpa", "pid") * 24)
MARKET, ADVERTISER = np.array([0, 1, 1]), np.array([3, 0, 7])


def simulation(params: MarketParams = PARAMS, population: Population = PACED) -> Simulation:
    found = Simulation(params, population, controlled_market=MARKET, controlled_advertiser=ADVERTISER, n_markets=2)
    found.reset([5, 6])
    return found


def multipliers(n_ticks: int = PARAMS.n_ticks) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    return (rng.uniform(0.0, 300.0, 3) for _ in range(n_ticks))


@pytest.mark.parametrize("parts", [{0, 1, 2, 3, 4, 5}, {1, 2, 4}, {0, 3, 5}])
@pytest.mark.parametrize("params", [PARAMS, replace(PARAMS, funnel=Funnel())], ids=["plain", "funnel"])
def test_one_call_is_the_tick_in_parts(params: MarketParams, parts: set[int]) -> None:
    whole, mixed = simulation(params), simulation(params)
    for tick, own in enumerate(multipliers()):
        assert whole.market.is_one_call
        got = whole.step(own)
        expected = mixed.play(mixed.decide(own))[0] if tick in parts else mixed.step(own)
        np.testing.assert_array_equal(got.columns, expected.columns)
        np.testing.assert_array_equal(whole.observe(), mixed.observe())
        if tick + 1 < PARAMS.n_ticks:
            for one, other in zip(whole.market.opening, mixed.market.opening, strict=True):
                np.testing.assert_array_equal(one, other)


def test_everybody_calls_the_kernels_with_the_same_types() -> None:
    """numba compiles a kernel again for arrays that are read-only or have gaps, which takes seconds."""
    for params in (PARAMS, replace(PARAMS, funnel=Funnel())):
        for played in (simulation(params), simulation(params, auctionnet_population())):
            played.step(np.ones(3))
            played.play(played.decide(np.ones(3)))
            played.market.step(np.zeros((2, 48)))
    assert len(play_tick.signatures) == len(pace.signatures) == 1


def test_multipliers_that_are_not_valid_change_nothing() -> None:
    tried, plain = simulation(), simulation()
    for own in multipliers():
        for bad in ([1.0, -1.0, 1.0], [1.0, np.nan, 1.0], [1e31, 1.0, 1.0]):
            with pytest.raises(ValueError, match="`multipliers` must be"):
                tried.step(bad)
        with pytest.raises(ValueError, match="shape"):
            tried.step([1.0])
        np.testing.assert_array_equal(tried.step(own).columns, plain.step(own).columns)
        np.testing.assert_array_equal(tried.observe(), plain.observe())
    with pytest.raises(RuntimeError, match="call `reset` first"):
        tried.step(own)


@pytest.mark.parametrize("option", [{"conversion_delay": 1.0}, {"budget_rule": "auctionnet"}], ids=str)
def test_what_takes_several_calls_is_not_one(option: dict[str, Any]) -> None:
    played = simulation(replace(PARAMS, **option))
    assert not played.market.is_one_call
    played.step(np.ones(3))


def test_large_ticks_are_one_call_where_there_is_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    large = replace(PARAMS, n_impressions=20_000, n_ticks=3)
    found = []
    for fewest in (math.inf, threads.FEWEST):
        monkeypatch.setattr(threads, "fewest_shared", lambda fewest=fewest: fewest)
        played = simulation(large)
        assert played.market.is_one_call == (fewest == math.inf)
        found.append([played.step(own).columns for own in multipliers(3)])
    np.testing.assert_array_equal(*found)


def test_scripts_that_do_not_pace_are_played_in_parts() -> None:
    steps = simulation(population=replace(PACED, behaviour=("pid", "steps") * 24))
    before = steps.decide(np.ones(3)).multipliers
    steps.step(np.ones(3))
    after = steps.decide(np.ones(3)).multipliers
    moved = np.delete(after[0, 1::2] / before[0, 1::2], ADVERTISER[0] // 2)
    assert set(np.round(moved, 12)) <= {0.7, 1.0, 1.2} and len(set(moved)) > 1
    np.testing.assert_array_equal(after, steps.decide(np.ones(3)).multipliers)  # deciding changes nothing
