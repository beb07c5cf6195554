"""Variant data of the standard market: logs of the right days and sizes, conditions that are what they say."""

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
from benchmarks.suites.data.opening import log_key, open_variant
from benchmarks.suites.data.references import references
from benchmarks.suites.data.variant import VariantData
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
def variant_data(cache: Path) -> VariantData:
    return open_variant(SUITE.variants[0], SUITE, cache)


def test_logs_have_the_sizes_and_days_asked_for(variant_data: VariantData) -> None:
    train, validation = variant_data.load_logs()
    assert {name: log.n_episodes for name, log in train.items()} == {"MaxConversions": 13, "TargetROAS": 5}
    assert {name: log.n_episodes for name, log in validation.items()} == {"MaxConversions": 4, "TargetROAS": 4}
    seeds = np.concatenate([log.seed[log.episode_starts[:-1]] for log in (*train.values(), *validation.values())])
    assert len(set(seeds)) == len(seeds)  # no market is logged twice
    assert train["MaxConversions"].advertiser[train["MaxConversions"].episode_starts[:-1]].tolist() == list(range(13))


def test_logs_are_of_the_market_that_tests_are_played_in(variant_data: VariantData, cache: Path) -> None:
    """The logged advertiser alone is controlled: its episode is the one that a rollout of the logging policy plays."""
    log = variant_data.load_logs()[0]["TargetROAS"]
    first = log.episode_starts[:-1]
    episodes = replace(
        variant_data.tests["TargetROAS, day 5"],
        seeds=log.seed[first],
        advertisers=log.advertiser[first],
        days=np.array([1, 2, 3, 1, 2]),
    )
    policy = make_policy({"noisy-pid": 1}, episodes.task, episodes.params, episodes.population)
    np.testing.assert_allclose(episodes.play(policy).total("cost"), log.totals().cost, rtol=1e-6)


def test_every_advertiser_meets_every_day() -> None:
    days = _days((1, 2, 3), 48 * 3, 48)
    assert days is not None
    assert {(j, day) for j, day in zip(np.arange(144) % 48, days.tolist(), strict=True)} == {
        (j, day) for j in range(48) for day in (1, 2, 3)
    }


def test_values_fall_as_the_days_drift(variant_data: VariantData) -> None:
    offered = [
        variant_data.tests[f"MaxConversions, {days}"].play(FixedBidder(0.5)).total("offered_conversions").mean()
        for days in ("day 5", "days 6-7")
    ]
    assert offered[1] < offered[0]
    days = variant_data.tests["TargetROAS, days 6-7"].days
    assert days is not None and days.tolist() == [6, 7, 6]
    validation = variant_data.targets["TargetROAS"].days
    assert validation is not None and set(validation.tolist()) == {4}


def test_tests_are_the_same_episodes_under_every_condition(variant_data: VariantData) -> None:
    assert len(variant_data.tests) == 10 and set(variant_data.target_of.values()) == {"MaxConversions", "TargetROAS"}
    for episodes in variant_data.tests.values():
        assert episodes.seeds.tolist() == [200, 201, 202] and episodes.advertisers.tolist() == [0, 1, 2]


def test_competitors_are_who_the_condition_says(variant_data: VariantData) -> None:
    bidder = FixedBidder(0.7)
    at = {name: variant_data.tests[f"MaxConversions, day 5{name}"] for name in ("", ", rules", ", self", ", mixed")}
    assert at[""].competing_bidders(bidder) is None and at[", mixed"].competing_bidders(bidder) is None
    rules, copies = at[", rules"].competing_bidders(bidder), at[", self"].competing_bidders(bidder)
    assert rules is not None and len({id(copy) for copy in rules.values()}) == 4 and len(rules) == 48
    assert copies is not None and {type(copy) for copy in copies.values()} == {FixedBidder}
    assert all(copy is not bidder for copy in copies.values())
    prices = {name: episodes.play(bidder).ticks.least_winning_cost.mean() for name, episodes in at.items()}
    assert len(set(prices.values())) == 4
    alone = variant_data.tests["TargetROAS, day 5, self"]
    assert (alone.competitor_task, at[", rules"].competitor_task) == (TASKS["TargetROAS"], TASKS["TargetCPA"])


def test_other_competitors_leave_budgets_and_targets_alone() -> None:
    mixed = mixed_population()
    assert {name: len(mixed.who(name)) for name in ("pid_cpa", "pid", "walk", "fixed")} == {
        "pid_cpa": 24, "pid": 8, "walk": 8, "fixed": 8,
    }  # fmt: skip


def test_references_are_those_against_the_scripts_and_are_kept(variant_data: VariantData, cache: Path) -> None:
    found = references(variant_data, cache)
    assert found.keys() == variant_data.tests.keys()
    np.testing.assert_array_equal(found["TargetROAS, day 5"], found["TargetROAS, day 5, self"])
    assert not np.array_equal(found["MaxConversions, day 5"], found["MaxConversions, day 5, mixed"])
    episodes = variant_data.tests["MaxConversions, day 5"]
    best = HindsightBidder()
    np.testing.assert_array_equal(found["MaxConversions, day 5"], episodes.play(best).score(expected=True))
    files = {path: path.stat().st_mtime_ns for path in (cache / "references").glob("*.parquet")}
    references(variant_data, cache)
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
