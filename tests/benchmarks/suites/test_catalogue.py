"""The suites as data: never edited once released, and every method of them can be made."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import get_args

import pytest

from agents import registry
from agents.offline import ALGORITHMS
from benchmarks.suites.catalogue import SUITES, auctionnet, demo, from_logs, get_suite, many_tasks, online, shift
from benchmarks.suites.catalogue.harm import checked, hidden_harm, own_states, published_size, validation_harm
from benchmarks.suites.catalogue.method import other_targets, validation_size
from benchmarks.suites.catalogue.shared import arms, families
from benchmarks.suites.methods.methods import METHODS, method_of
from benchmarks.suites.methods.resolved import vamo_config
from benchmarks.suites.periods import PeriodsData, SyntheticPeriods
from benchmarks.suites.running.identity import config_hash
from benchmarks.suites.spec import SIZES, Condition, Contrast, FamilyData, MarketData, Size, Suite
from tests.benchmarks.suites.tiny import DATA, RULES, UNIFORM, VAO, suite
from vamo.baselines import ALGORITHMS as GENERATIVE
from vamo.config import Config, Method, override
from vamo.examples.dagger import default_rounds

HASHES: dict[str, str] = {
    "data-scarce/v2": "bb5939220b30fc92",
    "data-scarce/v2/cpu": "6671787697940176",
    "data-scarce/v2/testing": "d5b762a2ccab5c82",
    "ablation/v1": "a02a47ec776f675e",
    "ablation/v1/cpu": "e7e2e10983545e45",
    "ablation/v1/testing": "0680660f303b87ee",
    "temperature/v1": "4f76a733248f86b1",
    "temperature/v1/cpu": "84b5f4d85ceaea60",
    "temperature/v1/testing": "7f5b3c75216970ce",
    "validation-size/v2": "c4eba20aac51ceec",
    "validation-size/v2/cpu": "896e1122377185d3",
    "validation-size/v2/testing": "5912d0360ac65577",
    "many-tasks/v2": "51e1423a4307135f",
    "many-tasks/v2/cpu": "8c5a426cdb654cd0",
    "many-tasks/v2/testing": "6eefe659dbc224d6",
    "shift/v2": "7207eb182daee181",
    "shift/v2/cpu": "b7449362b7670347",
    "shift/v2/testing": "391013a05dbd9f49",
    "online/v2": "b5926c0be6ec99b0",
    "online/v2/cpu": "e1856a25711a9277",
    "online/v2/testing": "2409a7397c2b4cca",
    "from-logs/v2": "106f298d4d465ce3",
    "from-logs/v2/cpu": "7df52a32cac09ee1",
    "from-logs/v2/testing": "c2511dc025a9bdc0",
    "optimisers/v1": "71478ef0fc653790",
    "optimisers/v1/cpu": "209d7788e84ac017",
    "optimisers/v1/testing": "e95f277ea8e8e11d",
    "negative-transfer/v3": "7948ca5d4d40b48f",
    "negative-transfer/v3/cpu": "65f11dac3921f947",
    "negative-transfer/v3/testing": "b8a82c1687056fbb",
    "confirm/v1": "3e872bed09d1e5d2",
    "confirm/v1/cpu": "b88729acedac5636",
    "confirm/v1/testing": "a68fa2614ec5e339",
    "hidden-harm/v1": "9f3b79aacaa6ea31",
    "hidden-harm/v1/cpu": "bfcc56ab77826dd3",
    "hidden-harm/v1/testing": "ed639f3320885ffb",
    "published-size/v1": "54a299cfee96e629",
    "published-size/v1/cpu": "38c1b5422b03d4ca",
    "published-size/v1/testing": "62172cbbb77c1ef8",
    "checked/v2": "44f01f94f2c5f99e",
    "checked/v2/cpu": "99eb1a31fd02237b",
    "checked/v2/testing": "2c09384f93a7f26d",
    "own-states/v1": "94b256f2cff5beb8",
    "own-states/v1/cpu": "a5c96c237445351b",
    "own-states/v1/testing": "c75ddd11626d9e50",
    "other-targets/v1": "430dbb4c51ffff42",
    "other-targets/v1/cpu": "0ea7783aefa4788e",
    "other-targets/v1/testing": "5b0d971325190e95",
    "validation-harm/v1": "76aa60e76690d80a",
    "validation-harm/v1/cpu": "e81ab37479a13bae",
    "validation-harm/v1/testing": "87354d30abbbffd2",
    "scarce/v1": "02006ba14594ce5d",
    "scarce/v1/cpu": "1a6b2443e524a60c",
    "scarce/v1/testing": "dd9c43c4db20817a",
    "demo/v2": "4bff7ec6437c3ff3",
    "demo/v2/cpu": "809b02f6293098dd",
    "demo/v2/testing": "1a4e6800d4ad8d1f",
    "auctionnet-synthetic/v3": "d451223e72a8215c",
    "auctionnet-synthetic/v3/cpu": "d1de3ca98cfda7ed",
    "auctionnet-synthetic/v3/testing": "36b6dc9ad00f436c",
}
"""First 16 digits of `Suite.hash`. A released suite is never edited: make another version instead."""


FEW_SEEDED = (
    auctionnet.SYNTHETIC_ID, from_logs.ID, many_tasks.ID, online.ID, shift.ID, validation_harm.ID, validation_size.ID,
)  # fmt: skip
METHODS_OF_TRAINING = set(get_args(Method)) - {"sharing_rule"}  # a user's own: no suite has one
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
        else:
            method_of(arm).resolve(arm.settings, found.training)
    assert len({run.id for run in found.runs()}) == len(found.runs())
    few: dict[str, dict[Size, int]] = {
        demo.ID: {"testing": 1, "cpu": 3},
        hidden_harm.ID: hidden_harm.N_SEEDS,
        published_size.ID: published_size.N_SEEDS,
        checked.ID: checked.N_SEEDS,
        own_states.ID: own_states.N_SEEDS,
        other_targets.ID: other_targets.N_SEEDS,
        **dict.fromkeys(FEW_SEEDED, families.FEW_SEEDS),
    }
    assert len(found.train_seeds) == few.get(name, {"testing": 2}).get(size, 10)


def test_the_method_default_is_what_the_library_does_without_settings() -> None:
    config = vamo_config(arms.DEFAULT.settings, ())
    assert config == override(Config(), [f"data.dagger_rounds={default_rounds(Config(), n_pairs=36)}"])


def test_sizes_compare_the_same_methods() -> None:
    for name in SUITES:
        assert len({tuple(arm.name for arm in get_suite(name, size).arms) for size in get_args(Size)}) == 1


def test_all_learners_and_optimisers_are_compared_somewhere() -> None:
    from_logs, optimisers = get_suite("from-logs/v2"), get_suite("optimisers/v1")
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
    of_whole = {run.id: config_hash(run) for run in whole.runs()}
    assert {run.id: config_hash(run) for run in part.runs()}.items() <= of_whole.items()
    assert len(set(of_whole.values())) == len(of_whole)


def test_confirmation_families_are_seen_by_no_other_suite() -> None:
    confirmations = {
        name: get_suite(name)
        for name in ("confirm/v1", "hidden-harm/v1", "published-size/v1", checked.ID, own_states.ID)
    }
    for name, confirmed in confirmations.items():
        n_families = {published_size.ID: 5, checked.ID: 20, own_states.ID: 16}.get(name, 10)
        for world in {variant.group for variant in confirmed.variants} - {"scaled-bids"}:  # those of `sound`
            of_world = [variant for variant in confirmed.variants if variant.group == world]
            assert len({variant.data.seed for variant in of_world}) == n_families
    for name, size in ALL:
        found = get_suite(name, size)
        for other, confirmed in confirmations.items():
            if name == other:
                continue
            known = {variant.data.seed for variant in confirmed.variants}
            for variant in found.variants:
                if isinstance(variant.data, FamilyData):
                    assert variant.data.seed not in known
                    assert variant.data.seed < 100 or name in confirmations
            for mine, theirs in itertools.product(
                (found.test, found.validation), (confirmed.test, confirmed.validation)
            ):
                assert mine.first + mine.n <= theirs.first or theirs.first + theirs.n <= mine.first


@pytest.mark.parametrize("size", get_args(Size))
def test_periods_are_seen_by_one_suite_and_set_only(size: Size) -> None:
    """The two variants of a set of periods differ in what is played alone."""
    known: dict[int, tuple[str, str]] = {}
    for name in (other_targets.ID, auctionnet.SYNTHETIC_ID):
        for variant in get_suite(name, size).variants:
            data = variant.data
            assert isinstance(data, PeriodsData) and isinstance(data.source, SyntheticPeriods)
            own = name, variant.name.rpartition("-")[2] if name == other_targets.ID else ""
            for period in (*data.train, *data.validation, *data.test):
                assert known.setdefault(data.source.seed + period, own) == own
    assert len(set(known.values())) == 1 + other_targets.N_SETS[size]


def test_contrasts_name_what_is_compared() -> None:
    contrast = Contrast(name="a", first="vao", second="uniform")
    whole = replace(suite(VAO, UNIFORM, RULES[0]), contrasts=(contrast,))
    assert whole.only(arms=(VAO, RULES[0])).contrasts == () and whole.only(n_seeds=1).contrasts == (contrast,)
    assert whole.hash() != replace(whole, contrasts=()).hash()  # registered: what is compared is not changed afterwards
    for bad, message in (
        (replace(contrast, second="pid"), "must compare methods that are run in 'family', found 'pid'"),
        (replace(contrast, variants=("nowhere",)), "`variants` of contrast 'a' must be of tiny/v1, found 'nowhere'"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(whole, contrasts=(bad,))
    with pytest.raises(ValueError, match="must have different names"):
        replace(whole, contrasts=(contrast, contrast))
    for arguments in ({"kind": "equivalence"}, {"margin": 0.01}, {"kind": "equivalence", "margin": -1.0}):
        with pytest.raises(ValueError, match="`margin` of contrast 'a' must be positive for an equivalence"):
            replace(contrast, **arguments)
    with pytest.raises(ValueError, match="must differ, found 'vao' twice"):
        replace(contrast, second="vao")


def test_some_seeds_and_methods_only() -> None:
    few = suite(*RULES, VAO, UNIFORM).only(n_seeds=1)
    assert [run.id for run in few.runs()][-2:] == ["family--vao--s7", "family--uniform--s7"]
    assert get_suite("data-scarce/v2").only(arms=(RULES[1],)).baseline == ""
    size = get_suite("validation-size/v2", "testing")
    alone = size.only(arms=tuple(arm for arm in size.arms if arm.name == "uniform"))
    assert [run.variant.name for run in alone.runs()] == ["n=6", "n=6"]  # where the whole suite runs it
    with pytest.raises(ValueError, match=r"`seeds` must lie in 1\.\.2, found 3"):
        size.only(n_seeds=3)
    whole = get_suite("confirm/v1", "testing")
    sound = whole.only(variants=[whole.contrasts[-1].variants[0]])
    assert {run.variant.name for run in sound.runs()} == {"sound-100"} and sound.contrasts == ()
    with pytest.raises(ValueError, match=r"`variants` must be one of .*found 'sparce', nearest: sparse"):
        get_suite(auctionnet.SYNTHETIC_ID, "testing").only(variants=["sparce"])


def test_seeds_go_round_slowest() -> None:
    assert [run.id for run in suite(RULES[0], VAO, UNIFORM).runs()] == [
        "family--fixed", "family--vao--s7", "family--uniform--s7", "family--vao--s9", "family--uniform--s9",
    ]  # fmt: skip


def test_unknown_names_are_errors_that_name_the_nearest() -> None:
    with pytest.raises(ValueError, match="nearest: data-scarce/v2"):
        get_suite("data-scarse/v2")
    assert get_suite("shift/v2/cpu").size == "cpu"
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
