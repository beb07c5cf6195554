"""AuctionNet's controller, schedules, and markets by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auction_env import MarketParams, Population, auctionnet_population
from auction_env.control.simulation import Simulation
from auction_env.market.competitors.presets import POPULATIONS, PRESETS, auctionnet_rules, preset, read_population
from auction_env.market.competitors.shipped import AGENTS, shipped_population
from auction_env.market.pacing import Schedule
from auction_env.market.population import STEPS

SMALL = MarketParams(n_impressions=480, n_ticks=6)


def schedule(**values: object) -> Schedule:
    base = {
        "name": "s",
        "at": (0.0, 0.5),
        "level": (0.0, 1.0),
        "money_reaction": (0.5, 0.5),
        "value_reaction": (0.0, 2.0),
    }
    return Schedule(**(base | values))  # type: ignore[arg-type]


def played(params: MarketParams, population: Population, seeds: tuple[int, ...] = (3,)) -> dict[str, np.ndarray]:
    """Multiplier, cost, mean value and money left at the start of each tick: (n_ticks, n_markets, n_advertisers)."""
    simulation = Simulation(params, population, controlled_market=[], controlled_advertiser=[], n_markets=len(seeds))
    simulation.reset(seeds)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("multiplier", "cost", "value", "left")}
    for _ in range(params.n_ticks):
        opening = simulation.market.opening
        rows["left"].append(opening.budget_left)
        rows["value"].append(opening.value_mean)
        everyone = simulation.decide([])
        rows["multiplier"].append(everyone.multipliers.copy())
        rows["cost"].append(simulation.play(everyone)[1].cost)
    return {name: np.stack(part) for name, part in rows.items()}


def test_steps_are_those_of_auctionnets_pid() -> None:
    params = MarketParams(n_impressions=4_800)
    population = replace(auctionnet_population(), start=0.3, behaviour=(STEPS,) * 48)
    got = played(params, population)
    budget = np.asarray(population.budget) * params.budget_scale
    expected = 0.3 * np.asarray(population.cpa_target)
    kinds = set()
    for tick in range(48):
        if tick:
            last, left = got["cost"][tick - 1, 0], budget - got["cost"][:tick, 0].sum(axis=0)
            pace = last * (48 - tick) / np.maximum(left, 1e-12)
            expected = np.where(pace < 0.7, expected * 1.2, np.where(pace > 1.1, expected * 0.7, expected))
            start = 0.3 * np.asarray(population.cpa_target)
            expected = np.clip(expected, start * np.exp(-3), start * np.exp(3))
            kinds |= {float(x) for x in np.where(pace < 0.7, 1.2, np.where(pace > 1.1, 0.7, 1.0))}
        np.testing.assert_allclose(got["multiplier"][tick, 0], expected, rtol=1e-9)
    assert kinds == {1.2, 1.0, 0.7}


def test_a_schedule_follows_time_money_and_values() -> None:
    params = SMALL
    population = replace(auctionnet_population(), start=0.8, behaviour=("s",) * 48, schedules=(schedule(),))
    got = played(params, population)
    budget, usual = np.asarray(population.budget) * params.budget_scale, params.traffic.value_mean
    for tick in range(params.n_ticks):
        time = tick / params.n_ticks
        pace = np.clip(got["left"][tick, 0] / budget / (1 - time), 0.05, 2.0)
        surplus = np.maximum(got["value"][tick, 0] / usual, 1.0)
        level = min(2 * time, 1.0)
        factor = np.exp(np.clip(level + 0.5 * np.log(pace) + 2 * level * np.log(surplus), -3, 3))
        np.testing.assert_allclose(
            got["multiplier"][tick, 0], 0.8 * np.asarray(population.cpa_target) * factor, rtol=1e-6
        )


def test_noise_has_the_stated_size_and_persistence_and_belongs_to_seed_and_advertiser() -> None:
    noisy = schedule(noise_sd=0.3, persistence=0.8)
    draws = np.random.default_rng(0).standard_normal((400, 48))
    noise = noisy.noise(draws)
    assert noise.std() == pytest.approx(0.3, rel=0.05)
    assert np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1] == pytest.approx(0.8, abs=0.03)
    params = SMALL
    population = replace(auctionnet_population(), behaviour=("s",) * 48, schedules=(noisy,))
    both, alone = played(params, population, (3, 4)), played(params, population, (4,))
    np.testing.assert_array_equal(both["multiplier"][:, 1], alone["multiplier"][:, 0])
    fewer = replace(population, behaviour=("pid_cpa",) * 40 + ("s",) * 8)
    first = played(params, fewer, (4,))["multiplier"][0, 0, 40:]
    np.testing.assert_array_equal(first, alone["multiplier"][0, 0, 40:])


def test_auctionnets_rules() -> None:
    rules = auctionnet_rules(n_impressions=480)
    assert (rules.reserve, rules.budget_rule, rules.exposure) == (0.0001, "auctionnet", (1.0, 0.8, 0.6))
    assert rules.is_unsold_at_reserve and rules.least_budget == 0.1 and rules.traffic.sigma_by_impression
    assert auctionnet_rules(reserve=0.02).reserve == 0.02


def test_the_dense_preset_is_the_sparse_one_in_other_units() -> None:
    params, population = preset("sparse", n_impressions=480)
    assert len(AGENTS) == 48 and population == shipped_population()
    sparse = played(params, population)
    dense = played(*preset("dense", n_impressions=480))
    np.testing.assert_allclose(4 * dense["cost"], sparse["cost"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(12 * dense["multiplier"], sparse["multiplier"], rtol=1e-5)
    np.testing.assert_allclose(dense["value"], 3 * sparse["value"], rtol=1e-5)
    assert min(PRESETS["dense"]().population.budget) >= 500 and max(PRESETS["dense"]().population.cpa_target) < 11
    assert preset("sparse", task="MaxClicks").params.funnel is not None


def test_auctionnets_pids_start_at_15_whatever_their_target() -> None:
    params, population = preset("dense-pid", n_impressions=480)
    assert params == preset("dense", n_impressions=480).params
    assert population.budget == PRESETS["dense"]().population.budget
    multiplier = played(params, population)["multiplier"][:, 0]  # of the first market
    np.testing.assert_allclose(multiplier[0], 15.0, rtol=1e-6)
    assert set(np.round(multiplier[1], 6)) <= {10.5, 15.0, 18.0} and len(set(multiplier[1])) > 1


def test_populations_by_name_and_file(tmp_path: Path) -> None:
    for name, make in POPULATIONS.items():
        assert read_population(name) == make()
    path = tmp_path / "mine.json"
    path.write_text(shipped_population().to_json())
    assert read_population(str(path)) == shipped_population()
    path.write_text('{"budget": 1}')
    with pytest.raises(ValueError, match=r"mine\.json: a population's JSON must have the keys"):
        read_population(str(path))
    with pytest.raises(ValueError, match=r"`population` must be .* found 'auctionet', nearest: auctionnet"):
        read_population("auctionet")
    with pytest.raises(ValueError, match=r"`preset` must be one of .* found 'dens', nearest: dense"):
        preset("dens")


def record(**values: object) -> str:
    own = json.loads(shipped_population().to_json())
    own["schedules"][0] |= values
    return json.dumps(own)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: schedule(name=""), "a schedule's `name` must be a text, found ''"),
        (lambda: schedule(at=(0.5, 0.5)), r"`at` of schedule 's' must ascend within \[0, 1\)"),
        (lambda: schedule(at=()), r"`at` of schedule 's' must ascend within \[0, 1\), found \(\)"),
        (lambda: schedule(level=(1.0,)), "`level` of schedule 's' must hold a finite number for each of 2 points"),
        (lambda: schedule(value_reaction=(0.0, np.inf)), "`value_reaction` of schedule 's' must hold a finite number"),
        (lambda: schedule(noise_sd=-1.0), "`noise_sd` of schedule 's' must not be negative, found -1.0"),
        (lambda: schedule(persistence=1.0), r"`persistence` of schedule 's' must lie in \[0, 1\), found 1.0"),
        (lambda: replace(auctionnet_population(), schedules=(schedule(), schedule())), "`schedules` must have names"),
        (lambda: replace(auctionnet_population(), schedules=(schedule(name="pid"),)), "`schedules` must have names"),
        (lambda: replace(auctionnet_population(), behaviour=("s",) * 48), "`behaviour` must hold names from .* 's'"),
        (lambda: Population.from_json(record(extra=1)), "a schedule must have exactly the keys .* 'extra'"),
        (lambda: Population.from_json(record(level="1")), "`level` of a schedule must be a list of numbers, found '1'"),
        (lambda: Population.from_json(record(noise_sd=None)), "`noise_sd` of a schedule must be a number, found None"),
    ],
)
def test_what_is_no_schedule_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
