"""The suites as data: never edited once released, and every method of them can be made."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from agents import registry
from agents.offline import ALGORITHMS
from agents.offline.training import OfflineLearner
from benchmarks.suites.catalogue import SUITES, demo, get_suite
from benchmarks.suites.methods.methods import METHODS
from benchmarks.suites.spec import SIZES, Condition, FamilyData, MarketData, Size, Suite
from tests.benchmarks.suites.tiny import DATA, RULES, UNIFORM, VAO, suite
from vamo import Config, override
from vamo.baselines import ALGORITHMS as GENERATIVE
from vamo.config import Method

HASHES: dict[str, str] = {
    "data-scarce/v1": "428a3cf2a6bc8098",
    "data-scarce/v1/cpu": "170b033b3b5d5a63",
    "data-scarce/v1/testing": "0cbe056a2dfdda9c",
    "ablation/v1": "523d82d20f9fb53c",
    "ablation/v1/cpu": "2e6ff38a40d9f1d0",
    "ablation/v1/testing": "d1c252ebcfa4c206",
    "temperature/v1": "85c079a0de2e7dbb",
    "temperature/v1/cpu": "105b79bea04f03ff",
    "temperature/v1/testing": "5c3d17d09586c2e5",
    "validation-size/v1": "90616b7213595ac4",
    "validation-size/v1/cpu": "ea61a303a1d9db23",
    "validation-size/v1/testing": "6601651ac35abe4d",
    "many-tasks/v1": "e8b15640c96655dd",
    "many-tasks/v1/cpu": "2fa747f7a87da93f",
    "many-tasks/v1/testing": "c208bb994de94c60",
    "shift/v1": "eed0a6ac392aaaa6",
    "shift/v1/cpu": "6eaab7b37c3a11ea",
    "shift/v1/testing": "fe374423b61ae17e",
    "online/v1": "f68954fde104f154",
    "online/v1/cpu": "4be90268cad08e88",
    "online/v1/testing": "f610ab7eeb132d92",
    "from-logs/v1": "76f21256971d30d2",
    "from-logs/v1/cpu": "1eb0695e462b422c",
    "from-logs/v1/testing": "962fef6f954a944a",
    "optimisers/v1": "6234ac1ffb388df9",
    "optimisers/v1/cpu": "0b7cda5a4edff225",
    "optimisers/v1/testing": "063610ce88fbc87c",
    "negative-transfer/v1": "59f25cf2da6f9bed",
    "negative-transfer/v1/cpu": "a6da4e3309a87eaa",
    "negative-transfer/v1/testing": "e71e7eb59fd12141",
    "candidates/v1": "79e2d7862dd5ebaf",
    "candidates/v1/cpu": "d7054f491fa9fbe9",
    "candidates/v1/testing": "159ae71ce448d203",
    "demo/v1": "3badb4bfd83491e5",
    "demo/v1/cpu": "b0c013d8c347c283",
    "demo/v1/testing": "8544ac37ae143946",
}
"""First 16 digits of `Suite.hash`. A released suite is never edited: make another version instead."""

METHODS_OF_TRAINING = set(get_args(Method))
ALL = [(name, size) for name in SUITES for size in get_args(Size)]


@pytest.mark.parametrize(("name", "size"), ALL)
def test_released_suites_are_never_edited(name: str, size: Size) -> None:
    found = get_suite(name, size)
    assert found.hash()[:16] == HASHES[found.full_id], f"{found.full_id} was edited: its rows mean another thing"


@pytest.mark.parametrize(("name", "size"), ALL)
def test_every_method_can_be_made(name: str, size: Size) -> None:
    found = get_suite(name, size)
    for arm in found.arms:
        assert arm.method in METHODS, arm.name
        if arm.method == "rule":
            assert not arm.is_trained
            registry.get(dict(setting.split("=") for setting in arm.settings)["agent"])
        elif arm.method in ("vamo", "vamo-each"):
            override(Config(), (*found.training, *arm.settings))
        elif arm.method == "offline":
            algo, *own = arm.settings
            OfflineLearner(algo.removeprefix("algo=")).settings(assignments=own)
    assert len({run.id for run in found.runs()}) == len(found.runs())
    few = {"testing": 1, "cpu": 3} if name == demo.ID else {"testing": 2}
    assert len(found.train_seeds) == few.get(size, 10)


def test_sizes_compare_the_same_methods() -> None:
    for name in SUITES:
        assert len({tuple(arm.name for arm in get_suite(name, size).arms) for size in get_args(Size)}) == 1


def test_all_learners_and_optimisers_are_compared_somewhere() -> None:
    from_logs, optimisers = get_suite("from-logs/v1"), get_suite("optimisers/v1")
    learners = {
        arm.settings[0].removeprefix("algo=") for arm in from_logs.arms if arm.method in ("offline", "generative")
    }
    assert learners == {*ALGORITHMS, *GENERATIVE}
    methods = {setting for arm in optimisers.arms for setting in arm.settings if setting.startswith("train.method=")}
    assert methods == {f"train.method={name}" for name in METHODS_OF_TRAINING}


def test_no_episode_is_in_two_parts() -> None:
    """Logs lie beyond 2**40; seeds of the tuning of defaults lie below 1,000,000."""
    for name, size in ALL:
        found = get_suite(name, size)
        for part in (found.validation, found.test):
            assert part.first >= 1_000_000 and part.first + part.n <= 2**38
        for variant in found.variants:
            if isinstance(variant.data, MarketData):
                assert variant.data.log_seed >= 2**40


def test_hash_follows_settings_and_not_words() -> None:
    one = suite()
    assert replace(one, title="Other words", question="?").hash() == one.hash()
    renamed = replace(one.arms[0], label="other label")
    assert replace(one, arms=(renamed, *one.arms[1:])).hash() == one.hash()
    for other in (
        replace(one, train_seeds=(7, 8)),
        replace(one, n_candidates=3),
        replace(one, training=(*one.training, "train.steps=5")),
        replace(one, arms=one.arms[:2]),
        replace(one, variants=(replace(one.variants[0], data=replace(DATA, shift=0.3)),)),
    ):
        assert other.hash() != one.hash()


def test_a_run_does_not_depend_on_what_else_is_run() -> None:
    whole, part = suite(*RULES, VAO, UNIFORM), suite(VAO, seeds=(9,))
    of_whole = {run.id: run.config_hash() for run in whole.runs()}
    assert {run.id: run.config_hash() for run in part.runs()}.items() <= of_whole.items()
    assert len(set(of_whole.values())) == len(of_whole)


def test_some_seeds_and_methods_only() -> None:
    few = suite(*RULES, VAO, UNIFORM).only(n_seeds=1)
    assert [run.id for run in few.runs()][-2:] == ["family--vao--s7", "family--uniform--s7"]
    assert get_suite("data-scarce/v1").only(arms=(RULES[1],)).baseline == ""
    size = get_suite("validation-size/v1", "testing")
    alone = size.only(arms=tuple(arm for arm in size.arms if arm.name == "uniform"))
    assert [run.variant.name for run in alone.runs()] == ["n=6", "n=6"]  # where the whole suite runs it
    with pytest.raises(ValueError, match=r"`seeds` must lie in 1\.\.2, found 3"):
        size.only(n_seeds=3)


def test_seeds_go_round_slowest() -> None:
    assert [run.id for run in suite(RULES[0], VAO, UNIFORM).runs()] == [
        "family--fixed", "family--vao--s7", "family--uniform--s7", "family--vao--s9", "family--uniform--s9",
    ]  # fmt: skip


def test_unknown_names_are_errors_that_name_the_nearest() -> None:
    with pytest.raises(ValueError, match="nearest: data-scarce/v1"):
        get_suite("data-scarse/v1")
    assert get_suite("shift/v1/cpu").size == "cpu"
    assert set(SIZES) == set(get_args(Size))


def test_bad_settings_name_the_rule() -> None:
    with pytest.raises(ValueError, match="`n_validation` must be at most `n_collected`, 3, found 4"):
        replace(DATA, n_validation=4)
    with pytest.raises(ValueError, match="`n_scored` must be at most `n_tasks`, 2, found 3"):
        replace(DATA, n_scored=3)
    with pytest.raises(ValueError, match="must have different methods"):
        suite(VAO, VAO)
    with pytest.raises(ValueError, match="must not share market seeds, found 200"):
        replace(suite(), validation=replace(suite().test, n=1))
    with pytest.raises(ValueError, match="must be methods of it, found 'nobody'"):
        replace(suite(), ours=("nobody",))
    with pytest.raises(ValueError, match="found 'a b'"):
        replace(VAO, name="a b")
    assert isinstance(DATA, FamilyData) and Condition().competitors == "scripts" and isinstance(suite(), Suite)
