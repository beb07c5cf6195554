"""Schedules fitted to a log bring back those that made it; distances and correlations by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auction_env import MarketParams, Population
from auction_env.market.competitors.shipped import AGENTS, shipped_population
from auction_env.market.population import STEPS
from benchmarks.studies.auctionnet_agents import CLOSED_LOOP, AgentLog, fit_population
from benchmarks.studies.auctionnet_fidelity import distances, play, samples, tables

POPULATION = shipped_population()


@pytest.fixture(scope="module")
def log() -> AgentLog:
    """Two days of the imitated agents in a tiny market."""
    return play(MarketParams(n_impressions=960), POPULATION, range(2))


def multipliers(population: Population, log: AgentLog) -> np.ndarray:
    """What the schedules say in the states of a log, without noise; 1 for the agents that have none."""
    time = np.arange(48)[:, None] / 48
    pace = np.log(np.clip(log.budget_left / log.budget / (1 - time), 0.05, 2.0))
    surplus = np.log(np.maximum(log.value / 5e-4, 1.0))
    out = np.ones_like(log.value)
    for schedule in population.schedules:
        who = population.who(schedule.name)
        level, money, value = (part[:, None] for part in schedule.by_tick(48))
        first = np.asarray(population.start)[who] * log.cpa_target[who]
        out[..., who] = first * np.exp(level + money * pace[..., who] + value * surplus[..., who])
    return out


def test_a_fit_brings_the_schedules_back(log: AgentLog) -> None:
    rng, shape = np.random.default_rng(0), (40, 48, 48)
    left = log.budget * rng.uniform(0.05, 1.0, shape)
    left[:, 0] = log.budget
    states = log._replace(value=5e-4 * rng.lognormal(0.0, 0.5, shape), budget_left=left)
    made = states._replace(multiplier=multipliers(POPULATION, states))
    found = fit_population(made, ridge=1e-6)
    assert found.behaviour == AGENTS and {schedule.name for schedule in found.schedules} == set(AGENTS) - {STEPS}
    again = multipliers(replace(found, start=tuple(np.asarray(found.start) / CLOSED_LOOP)), states)
    np.testing.assert_allclose(again[:, :-1], made.multiplier[:, :-1], rtol=0.02)
    assert max(schedule.noise_sd for schedule in found.schedules) < 0.005
    noisy = made._replace(multiplier=made.multiplier * np.exp(0.3 * rng.standard_normal(shape)))
    for schedule in fit_population(noisy).schedules:
        assert schedule.noise_sd == pytest.approx(0.3, rel=0.1) and schedule.persistence < 0.15


def test_distances_are_those_of_the_samples(log: AgentLog) -> None:
    assert set(distances(log, log).values()) == {0.0}
    dearer = log._replace(least_winning_cost=log.least_winning_cost + 1.0)
    apart = distances(dearer, log)
    assert apart.pop("least winning cost of a tick") == 1.0 and set(apart.values()) == {0.0}
    of_log = samples(log)
    assert of_log["least winning cost of a tick"].shape == (2 * 47,)
    np.testing.assert_allclose(of_log["cost of a day"], log.cost[:, :-1].sum(axis=1).ravel())
    assert of_log["wins over impressions of a day, %"].mean() == pytest.approx(100 * 3 / 48, rel=0.02)


def test_the_tables_have_a_row_a_quantity(log: AgentLog) -> None:
    first, second = tables(log, log, {"sparse": log, "default": log})
    assert first.row_count == len(samples(log)) and second.row_count == 6 + 5
    assert set(first.columns[-1].cells) == {"0.000"}
    with pytest.raises(ValueError, match="the log must have 48 ticks and 48 advertisers, found 48, 4"):
        fit_population(log._replace(multiplier=log.multiplier[..., :4]))
