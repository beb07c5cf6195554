"""Which logs a method learns from: the same choice for every kind of method, and the truth behind the oracle's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.suites.data.opening import open_variant
from benchmarks.suites.data.variant import VariantData
from benchmarks.suites.methods.fitting import Setting
from benchmarks.suites.methods.methods import METHODS
from benchmarks.suites.spec import Arm, LogsChoice, MarketData, Suite, Variant
from tests.benchmarks.suites.tiny import DATA, UNIFORM, suite

HARMED = replace(DATA, n_tasks=4, n_scored=1, most=60, fewest=40, harms="scaled_bid=1,delay=1@0.5")
OFFLINE = Arm(name="bc", label="", method="offline", settings=("algo=bc", "steps=50"))
GENERATIVE = Arm(name="dt", label="", method="generative", settings=("algo=dt",))


def of(*arms: Arm) -> Suite:
    training = (
        "train.steps=12",
        "train.warmup_steps=1",
        "train.log_every=6",
        "train.batch_size=8",
        "train.evaluation_windows=4",
    )
    variant = Variant(name="family", label="", data=HARMED)
    return replace(suite(*arms, seeds=(7,)), variants=(variant,), training=training, n_viewed=0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def data(cache: Path) -> VariantData:
    return open_variant(of(UNIFORM).variants[0], of(UNIFORM), cache)


def setting(data: VariantData, choice: LogsChoice) -> Setting:
    return Setting(data=data, settings=(), training=(), train_seed=7, n_candidates=1, learns_from=choice)


def keys(log: object) -> set[tuple[int, int]]:
    """What tells trajectories apart: market seed and advertiser."""
    first = log.episode_starts[:-1]  # type: ignore[attr-defined]
    return set(zip(log.seed[first].tolist(), log.advertiser[first].tolist(), strict=True))  # type: ignore[attr-defined]


def test_validation_data_take_the_place_of_training_data_or_join_them(data: VariantData) -> None:
    training, validation = setting(data, "training").logs
    instead, held_out = setting(data, "validation").logs
    assert {name: keys(log) for name, log in instead.items()} == {name: keys(log) for name, log in validation.items()}
    assert held_out.keys() == validation.keys() < training.keys()  # harmful tasks are no targets
    both, held_out = setting(data, "both").logs
    assert {name: keys(log) for name, log in held_out.items()} == {name: keys(log) for name, log in validation.items()}
    for name, log in training.items():
        more = keys(validation[name]) if name in validation else set()
        assert not keys(log) & more and keys(both[name]) == keys(log) | more
        assert both[name].n_episodes == log.n_episodes + len(more)
        assert both[name].cost.sum() == pytest.approx(log.cost.sum() + (validation[name].cost.sum() if more else 0.0))


def test_the_oracle_sees_sound_trajectories_only(data: VariantData) -> None:
    training, _ = setting(data, "training").logs
    sound, _ = setting(data, "sound").logs
    assert data.is_sound is not None
    shares = {name: float(data.is_sound(name, log).mean()) for name, log in training.items()}
    assert sorted(np.sign(list(shares.values()))) == [0, 1, 1, 1]  # one source is wrong throughout
    (mixed,) = [name for name, share in shares.items() if 0 < share < 1]
    assert sound.keys() == {name for name, share in shares.items() if share}
    for name, log in sound.items():
        assert log.n_episodes == round(shares[name] * training[name].n_episodes)
        assert data.is_sound(name, log).all()
    assert keys(sound[mixed]) < keys(training[mixed])


def test_nobody_knows_the_truth_of_other_data(tmp_path: Path) -> None:
    market = MarketData(
        tasks=("MaxConversions",), n_train=(2,), n_validation=2, n_impressions=240, policy="noisy-pid", log_seed=2**41
    )
    of_market = replace(suite(), variants=(Variant(name="v", label="", data=market),))
    opened = open_variant(of_market.variants[0], of_market, tmp_path)
    with pytest.raises(ValueError, match="`logs` must not be 'sound' on data whose truth nobody knows"):
        _ = setting(opened, "sound").logs
    both, validation = setting(opened, "both").logs
    assert both["MaxConversions"].n_episodes == 4  # periods of both parts begin with 0
    assert keys(validation["MaxConversions"]) < keys(both["MaxConversions"])


@pytest.mark.parametrize("arm", [UNIFORM, OFFLINE, GENERATIVE], ids=lambda arm: arm.method)
def test_every_kind_of_method_learns_from_what_is_chosen(arm: Arm, data: VariantData) -> None:
    choices: tuple[LogsChoice, ...] = ("training", "both")
    multipliers = []
    for choice in choices:
        given = replace(setting(data, choice), settings=arm.settings, training=of(arm).training)
        for name, bidder in METHODS[arm.method].fit(given).bidders.items():
            # not scores: in a market so small, bidders that differ can win the same impressions
            multipliers.append(data.targets[name].play(bidder).ticks.multiplier)
    first, second = multipliers
    assert not np.allclose(first, second, rtol=1e-6)


def test_a_method_without_logs_chooses_none() -> None:
    assert not METHODS["rule"].has_logs and not METHODS["sb3"].has_logs
    with pytest.raises(ValueError, match="`logs` of 'uniform' must be one of"):
        replace(UNIFORM, logs="some")  # type: ignore[arg-type]  # what a typo gives
