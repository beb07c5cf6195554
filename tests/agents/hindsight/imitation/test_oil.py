"""OIL: what the oracle says is what playing brings, and the student learns it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from agents import FixedBidder, HindsightBidder, learner, rollout
from agents.hindsight.imitation.oracle import Brought, best_log_ratios, brought_by
from agents.hindsight.tracing import traced_episode
from agents.labels.hindsight import LOG_GRID
from agents.learning.learner import MarketExperience
from auction_env import BatchMarket, Funnel, MarketParams, Population
from auction_env.control.simulation import Simulation
from auction_env.tasks import BASES, QUANTITIES, TASKS, Targets, Totals
from benchmarks.studies.known_optimum.markets import stationary_market

PARAMS = MarketParams(n_impressions=600, n_ticks=4, n_slots=2, exposure=(1.0, 1.0))
RIVALS = Population(
    budget=(1e9,) * 4, cpa_target=(100.0, 90.0, 100.0, 110.0), category=(0, 1, 0, 1), behaviour=("fixed",) * 4
)


@pytest.mark.parametrize(
    ("mechanism", "name"),
    [
        ("gsp", "MaxConversions"),
        ("first_price", "MaxConversions"),
        ("vcg", "MaxConversions"),
        ("gsp", "MultiConstraint"),
    ],
)
def test_the_oracle_knows_what_a_constant_would_bring(mechanism: str, name: str) -> None:
    task = TASKS[name]
    params = dataclasses.replace(PARAMS, mechanism=mechanism, funnel=Funnel() if task.needs_funnel else None)
    simulation = Simulation(params, RIVALS, controlled_market=[0], controlled_advertiser=[2], n_markets=1, task=task)
    simulation.reset([5])
    worth = float(simulation.campaigns().base[0])
    counting = {basis: BatchMarket(params, RIVALS) for basis in task.needs if basis != task.basis}
    for basis, market in counting.items():
        market.reset([5], None, np.full((1, 4), BASES.index(basis)))
    brought = []
    for traced in traced_episode(simulation, FixedBidder(0.7)):
        others = {basis: market.values_of(0, 2) for basis, market in counting.items()}
        brought.append(brought_by(params, traced, 2, worth, task, others))
        for market in counting.values():
            market.step(np.zeros((1, 4)))
    for place in (15, 25, 32):
        ratio = float(np.exp(LOG_GRID[place]))
        played = rollout(FixedBidder(ratio), seeds=[5], advertisers=[2], task=task, params=params, population=RIVALS)
        assert sum(part.cost[place] for part in brought) == pytest.approx(played.total("cost")[0], rel=1e-4)
        for basis in task.needs:
            expected = played.total(QUANTITIES[basis].expected)[0]
            assert sum(part.amounts[basis][place] for part in brought) == pytest.approx(expected, rel=1e-4)
            assert expected > 0


@pytest.mark.parametrize("name", ["MaxConversions", "TargetCPA", "MaxSurplus", "MultiConstraint"])
@pytest.mark.parametrize("budget", [4.0, 1e3])
def test_the_best_from_each_tick_on_is_that_of_a_plain_search(name: str, budget: float) -> None:
    task, rng = TASKS[name], np.random.default_rng(0)
    level = np.exp(LOG_GRID)
    price = rng.uniform(0.4, 0.9, 5)
    scale = 3.0 if name == "MaxSurplus" else 1.0
    brought = [
        Brought(c * level**1.8, {basis: scale * level**0.9 * rng.uniform(0.5, 1.5) for basis in task.needs})
        for c in price
    ]
    spent, earned = np.cumsum(rng.uniform(0, 0.8, 5)), {b: np.cumsum(rng.uniform(0, 0.5, 5)) for b in task.needs}
    targets = Targets.of(budget, 1.0, 1.0, 1.0, 1.0)
    found = best_log_ratios(task, targets, brought, spent, earned)
    for tick in range(5):
        scores = []
        for place in range(len(LOG_GRID)):
            cost, amounts = spent[tick], {basis: sums[tick] for basis, sums in earned.items()}
            for part in brought[tick:]:
                share = min(max(budget - cost, 0.0) / part.cost[place], 1.0)
                cost += share * part.cost[place]
                amounts = {basis: sums + share * part.amounts[basis][place] for basis, sums in amounts.items()}
            known = {"cost": cost}
            for basis, amount in amounts.items():
                known |= {QUANTITIES[basis].expected: amount, QUANTITIES[basis].sampled: amount}
            totals = Totals(**{field: np.array(known.get(field, 0.0)) for field in Totals._fields})
            scores.append(float(task.score(totals, targets, expected=True)))
        step = LOG_GRID[1] - LOG_GRID[0]
        assert abs(found[tick] - LOG_GRID[int(np.argmax(scores))]) <= step  # the parabola moves it by less


def test_the_student_comes_near_the_best_constant_where_one_is_best() -> None:
    market = stationary_market(12, 400, budget_per_tick=2.0)
    oil, task = learner("oil"), TASKS["MaxConversions"]
    settings = oil.settings(assignments=[
        "hidden=[32]", "iterations=4", "episodes=4", "epochs=8", "batch_size=16", "learning_rate=3e-3",
        "scaling_episodes=4", "validation_episodes=4", "validate_every=2",
    ])  # fmt: skip
    experience = MarketExperience(params=market.params, population=market.population, advertiser=0)
    result = oil.train(experience, task=task, settings=settings, progress=False)
    arguments: dict[str, Any] = {
        "seeds": np.arange(900, 908), "advertisers": np.zeros(8, int), "task": task, "params": market.params,
        "population": market.population,
    }  # fmt: skip
    mine, best = (rollout(one, **arguments).score(expected=True).mean() for one in (result.bidder, HindsightBidder()))
    assert result.history[0].numbers["score"] < result.best.numbers["score"]
    assert mine > 0.95 * best


def test_it_learns_a_task_with_limits_of_several_amounts() -> None:
    oil, task = learner("oil"), TASKS["MultiConstraint"]
    params = MarketParams.for_task(task, n_impressions=240, n_ticks=4, mechanism="vcg", budget_rule="auctionnet")
    settings = oil.settings(assignments=[
        "hidden=[8]", "iterations=1", "episodes=2", "epochs=1", "batch_size=8", "scaling_episodes=2",
        "validation_episodes=2", "validate_every=1",
    ])  # fmt: skip
    result = oil.train(MarketExperience(params=params, population=RIVALS), task=task, settings=settings, progress=False)
    assert [line.step for line in result.history] == [0, 1] and np.isfinite(result.history[-1].numbers["loss"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reserve_noise": 0.1}, "`reserve_noise` must be 0"),
        ({"conversion_delay": 2.0}, "`conversion_delay` must be 0"),
    ],
)
def test_a_market_that_the_oracle_cannot_answer_for_is_refused(options: dict[str, Any], message: str) -> None:
    experience = MarketExperience(params=dataclasses.replace(PARAMS, **options), population=RIVALS)
    with pytest.raises(ValueError, match=message):
        learner("oil").train(experience, task="TargetCPA", progress=False)
