"""Action kinds: the documented mappings, their bounds, their errors."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auction_env.control.actions import (
    ACTION_KINDS,
    ActionKind,
    LogMultiplier,
    RelativeAdjustment,
    TwoCoefficient,
    get_action_kind,
)

CPA = np.array([60.0, 100.0, 130.0])
unit = st.floats(-1, 1)


def multipliers(kind: ActionKind, actions: list[float], previous: np.ndarray = CPA) -> np.ndarray:
    return kind.multipliers(np.tile(actions, (3, 1)), base=CPA, previous=previous)


def test_log_multiplier() -> None:
    np.testing.assert_allclose(multipliers(LogMultiplier(max_ratio=4.0), [0.5]), 2 * CPA)


def test_relative_moves_from_the_tick_before_and_stays_in_range() -> None:
    kind = RelativeAdjustment(max_ratio=5.0, max_ratio_step=1.5)
    np.testing.assert_allclose(multipliers(kind, [1.0], previous=2 * CPA), 3 * CPA)
    np.testing.assert_allclose(multipliers(kind, [1.0], previous=4 * CPA), 5 * CPA)
    np.testing.assert_allclose(multipliers(kind, [-1.0], previous=0.21 * CPA), 0.2 * CPA)


def test_two_coefficients() -> None:
    kind = TwoCoefficient(reference=80.0, max_ratio=5.0)
    np.testing.assert_allclose(multipliers(kind, [0.0, 0.0]), 40 + CPA / 2)
    np.testing.assert_allclose(multipliers(kind, [1.0, -1.0]), [200.0] * 3)
    np.testing.assert_allclose(multipliers(kind, [-1.0, 1.0]), 8 + CPA)


@pytest.mark.parametrize("name", ACTION_KINDS)
@given(first=unit, second=unit, factor=st.floats(0.2, 5.0))
def test_multipliers_are_positive_and_at_most_the_highest(
    name: str, first: float, second: float, factor: float
) -> None:
    kind = get_action_kind(name, reference=90.0)
    found = multipliers(kind, [first, second][: kind.n_actions], previous=factor * CPA)
    assert np.all(found > 0) and np.all(found <= kind.highest(CPA) * (1 + 1e-12))


def test_the_environment_remembers_the_multiplier() -> None:
    env = gym.make(
        "auction_env/Bidding-v0", action_kind="relative", max_ratio_step=2.0, advertiser=0, n_impressions=500
    )
    for _ in range(2):  # each episode starts from the target CPA of 100
        env.reset(seed=0)
        found = [env.step(np.array([a], np.float32))[4]["multiplier"] for a in (1.0, 1.0, 1.0, -1.0)]
        assert found == [200.0, 400.0, 500.0, 250.0]


def test_own_kind() -> None:
    env = gym.make("auction_env/Bidding-v0", action_kind=LogMultiplier(max_ratio=3.0), advertiser=0, n_impressions=500)
    env.reset(seed=0)
    assert env.step(np.ones(1, np.float32))[4]["multiplier"] == pytest.approx(300.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: get_action_kind("log"), r"`action_kind` must be an ActionKind or one of .*, found 'log'"),
        (lambda: LogMultiplier(max_ratio=np.nan), "`max_ratio` must be greater than 1, found nan"),
        (lambda: RelativeAdjustment(max_ratio_step=0.5), "`max_ratio_step` must be greater than 1, found 0.5"),
        (lambda: TwoCoefficient(reference=0.0), "`reference` must be positive, found 0.0"),
    ],
)
def test_bad_parameters_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
