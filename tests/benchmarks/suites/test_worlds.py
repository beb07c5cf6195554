"""Worlds of the standard market: logs of the right days and sizes, conditions that are what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents import FixedBidder, HindsightBidder
from agents.logging.policies import make_policy
from auction_env import TASKS
from auction_env.market.params import Drift
from benchmarks.suites.data.market import _days, mixed_population
from benchmarks.suites.data.variant import World, log_key, open_world, references
from benchmarks.suites.spec import Condition, MarketData, Suite, Variant
from tests.benchmarks.suites.tiny import suite

DATA = MarketData(
    tasks=("MaxConversions", "TargetROAS"),
    n_train=(13, 5),
    n_validation=4,
    n_impressions=480,
    policy="noisy-pid",
    log_seed=2**41,
    drift=Drift(value=-0.2),
    n_days=8,
    train_days=(1, 2, 3),
    validation_days=(4,),
    conditions=(
        Condition(name="day 5", days=(5,)),
        Condition(name="day 5, rules", days=(5,), competitors="rules"),
        Condition(name="day 5, self", days=(5,), competitors="self"),
        Condition(name="day 5, mixed", days=(5,), competitors="mixed"),
        Condition(name="days 6-7", days=(6, 7)),
    ),
)
SUITE: Suite = replace(suite(), variants=(Variant(name="v", label="v", data=DATA),))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def world(cache: Path) -> World:
    return open_world(SUITE.variants[0], SUITE, cache)


def test_logs_have_the_sizes_and_days_asked_for(world: World) -> None:
    train, validation = world.load()
    assert {name: log.n_episodes for name, log in train.items()} == {"MaxConversions": 13, "TargetROAS": 5}
    assert {name: log.n_episodes for name, log in validation.items()} == {"MaxConversions": 4, "TargetROAS": 4}
    seeds = np.concatenate([log.seed[log.episode_starts[:-1]] for log in (*train.values(), *validation.values())])
    assert len(set(seeds)) == len(seeds)  # no market is logged twice
    assert train["MaxConversions"].advertiser[train["MaxConversions"].episode_starts[:-1]].tolist() == list(range(13))


def test_logs_are_of_the_market_that_tests_are_played_in(world: World, cache: Path) -> None:
    """The logged seat alone is controlled: its day is the one that a rollout of the logging policy plays."""
    log = world.load()[0]["TargetROAS"]
    first = log.episode_starts[:-1]
    games = replace(
        world.tests["TargetROAS, day 5"],
        seeds=log.seed[first],
        advertisers=log.advertiser[first],
        days=np.array([1, 2, 3, 1, 2]),
    )
    policy = make_policy({"noisy-pid": 1}, games.task, games.params, games.population)
    np.testing.assert_allclose(games.play(policy).total("cost"), log.totals().cost, rtol=1e-6)


def test_every_advertiser_meets_every_day() -> None:
    days = _days((1, 2, 3), 48 * 3, 48)
    assert days is not None
    assert {(j, day) for j, day in zip(np.arange(144) % 48, days.tolist(), strict=True)} == {
        (j, day) for j in range(48) for day in (1, 2, 3)
    }


def test_values_fall_as_the_days_drift(world: World) -> None:
    offered = [
        world.tests[f"MaxConversions, {days}"].play(FixedBidder(0.5)).total("offered_conversions").mean()
        for days in ("day 5", "days 6-7")
    ]
    assert offered[1] < offered[0]
    days = world.tests["TargetROAS, days 6-7"].days
    assert days is not None and days.tolist() == [6, 7, 6]
    validation = world.targets["TargetROAS"].days
    assert validation is not None and set(validation.tolist()) == {4}


def test_tests_are_the_same_episodes_under_every_condition(world: World) -> None:
    assert len(world.tests) == 10 and set(world.target_of.values()) == {"MaxConversions", "TargetROAS"}
    for games in world.tests.values():
        assert games.seeds.tolist() == [200, 201, 202] and games.advertisers.tolist() == [0, 1, 2]


def test_competitors_are_who_the_condition_says(world: World) -> None:
    bidder = FixedBidder(0.7)
    at = {name: world.tests[f"MaxConversions, day 5{name}"] for name in ("", ", rules", ", self", ", mixed")}
    assert at[""].rivals(bidder) is None and at[", mixed"].rivals(bidder) is None
    rules, copies = at[", rules"].rivals(bidder), at[", self"].rivals(bidder)
    assert rules is not None and len({id(rival) for rival in rules.values()}) == 4 and len(rules) == 48
    assert copies is not None and {type(rival) for rival in copies.values()} == {FixedBidder}
    assert all(rival is not bidder for rival in copies.values())
    prices = {name: games.play(bidder).ticks.least_winning_cost.mean() for name, games in at.items()}
    assert len(set(prices.values())) == 4
    alone = world.tests["TargetROAS, day 5, self"]
    assert (alone.rivals_task, at[", rules"].rivals_task) == (TASKS["TargetROAS"], TASKS["TargetCPA"])


def test_other_competitors_leave_budgets_and_targets_alone() -> None:
    mixed = mixed_population()
    assert {name: len(mixed.who(name)) for name in ("pid_cpa", "pid", "walk", "fixed")} == {
        "pid_cpa": 24, "pid": 8, "walk": 8, "fixed": 8,
    }  # fmt: skip


def test_references_are_those_against_the_scripts_and_are_kept(world: World, cache: Path) -> None:
    found = references(world, cache)
    assert found.keys() == world.tests.keys()
    np.testing.assert_array_equal(found["TargetROAS, day 5"], found["TargetROAS, day 5, self"])
    assert not np.array_equal(found["MaxConversions, day 5"], found["MaxConversions, day 5, mixed"])
    games = world.tests["MaxConversions, day 5"]
    best = HindsightBidder(games.task, params=games.params, population=games.population, expected=True)
    np.testing.assert_array_equal(found["MaxConversions, day 5"], games.play(best).score(expected=True))
    files = {path: path.stat().st_mtime_ns for path in (cache / "references").glob("*.parquet")}
    references(world, cache)
    assert {path: path.stat().st_mtime_ns for path in (cache / "references").glob("*.parquet")} == files


def test_logs_are_named_by_what_they_depend_on() -> None:
    assert log_key(DATA) == log_key(replace(DATA, conditions=()))
    for other in (replace(DATA, validation_days=(5,)), replace(DATA, log_seed=1), replace(DATA, n_train=(13, 6))):
        assert log_key(other) != log_key(DATA)


def test_bad_data_names_the_rule() -> None:
    with pytest.raises(ValueError, match="`n_train` must have one number a task"):
        replace(DATA, n_train=(1,))
    with pytest.raises(ValueError, match=r"`tasks` must be of .* found 'Nothing'"):
        replace(DATA, tasks=("Nothing", "TargetROAS"))
    with pytest.raises(ValueError, match="`n_train of TargetROAS` must be at least 1, found 0"):
        replace(DATA, n_train=(1, 0))
