"""Populations as data: behaviours, random populations, JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from auction_env import (
    BEHAVIOURS,
    TASKS,
    BatchMarket,
    MarketParams,
    Population,
    auctionnet_population,
    random_population,
)
from auction_env.control.simulation import Simulation

PARAMS = MarketParams(n_impressions=5_000)
MIX = tuple(sorted(BEHAVIOURS))


def played(population: Population, seeds: tuple[int, ...] = (3,)) -> dict[str, np.ndarray]:
    """Multiplier, cost and activity of the scripted advertisers: (n_ticks, n_markets, n_advertisers)."""
    simulation = Simulation(PARAMS, population, controlled_market=[], controlled_advertiser=[], n_markets=len(seeds))
    simulation.reset(seeds)
    multiplier, cost, active = [], [], []
    for _ in range(PARAMS.n_ticks):
        offered_conversions = simulation.market.opening.value_mean * simulation.market.opening.n_impressions[:, None]
        active.append(simulation.market.opening.active)
        result = simulation.play(simulation.decide([]))[1]
        multiplier.append(
            np.divide(result.bid, offered_conversions, out=np.zeros_like(result.bid), where=offered_conversions > 0)
        )
        cost.append(result.cost)
    return {"multiplier": np.stack(multiplier), "cost": np.stack(cost), "active": np.stack(active)}


def rich(n: int, name: str, **kwargs: object) -> Population:
    """Advertisers that never run out of money and all behave alike."""
    base = {"budget": (1e7,) * n, "cpa_target": tuple(80.0 + j for j in range(n)), "category": (0,) * n}
    return Population(**(base | {"behaviour": (name,) * n} | kwargs))  # type: ignore[arg-type]


def test_naming_the_default_behaviour_changes_no_number() -> None:
    plain = auctionnet_population()
    named = replace(plain, behaviour=("pid_cpa",) * 48, start=(1.0,) * 48)
    for name, values in played(plain).items():
        np.testing.assert_array_equal(values, played(named)[name])


def test_a_fixed_multiplier_stays_at_its_start() -> None:
    multiplier = played(rich(4, "fixed", start=(0.5, 1.0, 1.5, 2.0)))["multiplier"][:, 0]
    np.testing.assert_allclose(multiplier, np.tile([40.0, 81.0, 123.0, 166.0], (48, 1)), rtol=1e-5)


def test_a_guard_on_the_cpa_keeps_a_rich_bidder_down() -> None:
    free, guarded = (played(rich(12, name))["multiplier"][-1, 0] for name in ("pid", "pid_cpa"))
    assert np.all(free > 5 * guarded)  # nothing but the budget limits it, and that is out of reach


def test_a_walk_has_the_stated_step_and_depends_on_seed_and_advertiser_alone() -> None:
    population = rich(8, "walk", walk_sd=0.2)
    walks = np.log(played(population, (3, 4))["multiplier"])
    steps = np.diff(walks, axis=0)
    assert steps.std() == pytest.approx(0.2, rel=0.1)
    assert abs(np.corrcoef(steps.reshape(47, -1).T)[np.triu_indices(16, 1)]).mean() < 0.2
    np.testing.assert_array_equal(walks[:, 1:], np.log(played(population, (4,))["multiplier"]))
    fewer = replace(population, behaviour=("fixed",) * 7 + ("walk",))
    np.testing.assert_allclose(np.log(played(fewer)["multiplier"][:, 0, 7]), walks[:, 0, 7], rtol=1e-6)


def test_a_throttled_bidder_sits_out_while_it_is_ahead_of_its_plan() -> None:
    population = replace(
        auctionnet_population(), behaviour=("throttled",) + ("pid_cpa",) * 47, start=(2.0,) + (1.0,) * 47
    )
    result = played(population, (3, 4))
    multiplier, spent = result["multiplier"][..., 0], np.cumsum(result["cost"][..., 0], axis=0)
    plan = population.budget[0] * PARAMS.budget_scale * np.cumsum(PARAMS.traffic.expected_share(48))
    before = np.concatenate((np.zeros((1, 2)), spent[:-1]))
    takes_part = multiplier > 0
    np.testing.assert_array_equal(takes_part, (before < plan[:, None]) & result["active"][..., 0])
    solvent = result["active"][1:, :, 0]  # to the end of the tick
    np.testing.assert_allclose(multiplier[:-1][takes_part[:-1] & solvent], 200.0, rtol=1e-5)
    assert 0 < takes_part.mean() < 1
    assert np.all(spent[-1] > 0.9 * plan[-1])


def test_behaviours_mix_and_every_behaviour_is_played() -> None:
    behaviour = tuple(MIX[j % len(MIX)] for j in range(48))
    population = replace(auctionnet_population(), behaviour=behaviour)
    assert [len(population.who(name)) for name in MIX] == [8] * 6
    together = played(population, (3, 4))["cost"]
    assert np.all(together.sum(axis=(0, 1)) > 0)
    np.testing.assert_array_equal(together[:, 1:], played(population, (4,))["cost"])


@pytest.mark.parametrize("n", [1, 8, 1000])
def test_random_populations(n: int) -> None:
    population = random_population(n, 5, behaviours={"pid_cpa": 3, "fixed": 1})
    assert population.n_advertisers == n and population.n_categories == min(n, 6)
    assert population == random_population(n, 5, behaviours={"pid_cpa": 3, "fixed": 1})
    assert population.budget != random_population(n, 6).budget
    assert np.all((np.array(population.budget) >= 2000) & (np.array(population.budget) <= 4850))
    assert np.all((np.array(population.cpa_target) >= 60) & (np.array(population.cpa_target) <= 130))
    if n == 1000:
        assert np.mean(population.budget) == pytest.approx(3425, abs=5 * 2850 / np.sqrt(12 * n))
        assert len(population.who("fixed")) / n == pytest.approx(0.25, abs=5 * np.sqrt(0.25 * 0.75 / n))
        assert np.bincount(population.category).min() >= n // 6
        smaller = random_population(40, 5, behaviours={"pid_cpa": 3, "fixed": 1})
        assert smaller.budget == population.budget[:40] and smaller.behaviour == population.behaviour[:40]
    assert np.sum(random_population(n, 5, total_budget=1e5).budget) == pytest.approx(1e5)


def test_a_large_random_population_plays() -> None:
    costs = played(random_population(200, 1, total_budget=150_000))["cost"]
    assert np.count_nonzero(costs.sum(axis=0)) > 100


@pytest.mark.parametrize(
    "population",
    [
        auctionnet_population(),
        random_population(9, 2, behaviours={name: 1 for name in BEHAVIOURS}),
        Population(budget=(np.float64(1.5),), cpa_target=(2.0,), category=(np.int64(3),), start=(0.1 + 0.2,)),  # type: ignore[arg-type]
    ],
)
def test_json_brings_a_population_back(population: Population) -> None:
    text = population.to_json()
    assert "\n" not in text
    assert Population.from_json(text) == population


def changed(**values: object) -> str:
    return json.dumps(json.loads(random_population(2, 0).to_json()) | values)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rich(2, "sneaky"), "`behaviour` must hold names from .* found 'sneaky'"),
        (lambda: rich(2, "", behaviour=("pid",)), r"`behaviour` must have as many entries as `budget` \(2\), found 1"),
        (lambda: rich(2, "pid", start=(1.0,)), r"`start` must have as many entries as `budget` \(2\), found 1"),
        (lambda: rich(2, "pid", start=(1.0, -1.0)), "`start` must be positive, found -1.0"),
        (lambda: rich(2, "pid", start=[1.0, 1.0]), "`start` must be a number or a tuple of them"),
        (lambda: rich(2, "pid", cpa_swing=1.0), r"`cpa_swing` must lie in \[0, 1\), found 1.0"),
        (lambda: rich(2, "walk", walk_sd=-1.0), "`walk_sd` must be finite and not negative, found -1.0"),
        (lambda: random_population(0, 1), "`n` and `n_categories` must be at least 1 .* found 0, 6 and 1"),
        (lambda: random_population(2, -1), "`seed` not negative, found 2, 6 and -1"),
        (lambda: random_population(2, 1, budget_range=(3.0, 2.0)), r"`budget_range` .* found \(3.0, 2.0\)"),
        (lambda: random_population(2, 1, cpa_range=(0.0, 2.0)), r"`cpa_range` .* found \(0.0, 2.0\)"),
        (lambda: random_population(2, 1, total_budget=0.0), "`total_budget` must be positive, found 0.0"),
        (lambda: random_population(2, 1, behaviours={"x": 1}), "`behaviours` must hold names from .* found 'x'"),
        (lambda: random_population(2, 1, behaviours={"pid": -1}), "frequencies >= 0, found -1 for 'pid'"),
        (lambda: random_population(2, 1, behaviours={}), "`behaviours` must have a positive frequency"),
        (lambda: Population.from_json("[]"), "must have the keys"),
        (lambda: Population.from_json(changed(extra=1)), "must have the keys .* 'extra'"),
        (lambda: Population.from_json(changed(gains={"p": 1})), "`gains` must have exactly the keys"),
        (lambda: Population.from_json(changed(budget="1")), "`budget` must be a list, found '1'"),
        (lambda: Population.from_json(changed(budget=["1", 2])), "`budget` must hold numbers, found '1'"),
        (lambda: Population.from_json(changed(category=[0.5, 1])), "`category` must hold numbers, found 0.5"),
        (lambda: Population.from_json(changed(budget=[-1.0, 2])), "`budget` must be positive, found -1.0"),
        (lambda: Population.from_json("{"), "Expecting property name"),
    ],
)  # fmt: skip
def test_bad_populations_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_budgets_and_targets_are_drawn_anew_for_each_episode() -> None:
    population = replace(auctionnet_population(), budget_swing=0.5, cpa_swing=0.3)
    market = BatchMarket(MarketParams.for_task(TASKS["TargetROAS"], n_impressions=480), population, n_markets=40)
    market.reset(range(40))
    plain, drawn = market.targets, market.episode_targets
    budget, cpa = drawn.budget / plain.budget, drawn.cpa / plain.cpa
    for factor, swing in ((budget, 0.5), (cpa, 0.3)):
        assert factor.min() >= 1 - swing and factor.max() <= 1 + swing
        assert factor.mean() == pytest.approx(1.0, abs=4 * swing / np.sqrt(3 * factor.size))
        assert factor.std() == pytest.approx(swing / np.sqrt(3), rel=0.05)
    assert abs(np.corrcoef(budget.ravel(), cpa.ravel())[0, 1]) < 4 / np.sqrt(budget.size)
    for name in ("cpc", "cart_cost"):
        np.testing.assert_allclose(getattr(drawn, name), getattr(plain, name) * cpa)
    np.testing.assert_allclose(drawn.roas * drawn.cpa, np.broadcast_to(plain.roas * plain.cpa, cpa.shape))
    np.testing.assert_array_equal(market.opening.budget_left, drawn.budget)
    alone = BatchMarket(market.params, population)
    alone.reset([7])
    np.testing.assert_array_equal(alone.episode_targets.cpa[0], drawn.cpa[7])


def test_options_that_are_off_leave_no_trace_in_the_json() -> None:
    record = json.loads(auctionnet_population().to_json())
    assert not {"schedules", "budget_swing", "cpa_swing"} & set(record)
    redrawn = replace(auctionnet_population(), budget_swing=0.5)
    assert Population.from_json(redrawn.to_json()) == redrawn
