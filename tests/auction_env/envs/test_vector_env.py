"""The native vector environment equals Gymnasium's loop over single environments, elementwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from auction_env.control.actions import ACTION_KINDS
from auction_env.envs.vector import BiddingVectorEnv
from tests.auction_env.envs.small import BIDDING, IDS, MARKET, REPLAY

SMALL = {"task": "TargetCPA", **MARKET[BIDDING]}
AUTORESET = (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP)
every_id = pytest.mark.parametrize("name", IDS)


def arguments(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    return {"task": "TargetCPA"} | MARKET[name] | changes


def native(n: int, mode: AutoresetMode = AutoresetMode.NEXT_STEP, name: str = BIDDING, **kwargs: Any) -> VectorEnv:
    return gym.make_vec(
        name, n, vectorization_mode="vector_entry_point", autoreset_mode=mode, **arguments(name, kwargs)
    )


def looped(n: int, mode: AutoresetMode = AutoresetMode.NEXT_STEP, name: str = BIDDING, **kwargs: Any) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: gym.make(name, **arguments(name, kwargs))] * n, autoreset_mode=mode)


def assert_same(found: Any, expected: Any) -> None:
    """Equal in structure, type and every element."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray) and expected.dtype == object:
        assert_same(tuple(found), tuple(expected))
    else:
        np.testing.assert_array_equal(found, expected)
        assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)


@pytest.mark.parametrize("mode", AUTORESET, ids=lambda mode: mode.value)
@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("kind", ACTION_KINDS)
@every_id
def test_copy_i_equals_single_environment_i(name: str, kind: str, n: int, mode: AutoresetMode) -> None:
    one, other = native(n, mode, name, action_kind=kind), looped(n, mode, name, action_kind=kind)
    assert one.metadata["autoreset_mode"] is mode
    assert_same(one.reset(seed=3), other.reset(seed=3))
    one.action_space.seed(0)
    for _ in range(15):  # two autoresets and a half
        actions = one.action_space.sample()
        assert_same(one.step(actions), other.step(actions))
    assert_same(one.reset(), other.reset())  # an unfinished episode, unseeded: the generators go on


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
@every_id
def test_masked_resets_equal_those_of_single_environments(name: str, mode: AutoresetMode) -> None:
    one, other = native(4, mode, name), looped(4, mode, name)
    assert_same(one.reset(seed=0), other.reset(seed=0))
    rng = np.random.default_rng(0)
    masks = {3: [False, True, False, True], 4: [True, False, False, False], 12: [True, True, False, False]}
    over = np.zeros(4, bool)
    for step in range(30):
        mask = np.array(masks.get(step, [False] * 4))
        if mode is AutoresetMode.DISABLED:
            mask |= over
        if mask.any():
            seeds = [step, None, step + 1, None]
            assert_same(
                one.reset(seed=seeds, options={"reset_mask": mask}),
                other.reset(seed=seeds, options={"reset_mask": mask}),
            )
        actions = rng.uniform(-1, 1, (4, 1)).astype(np.float32)
        found = one.step(actions)
        assert_same(found, other.step(actions))
        over = found[2]


@every_id
def test_disabled_needs_a_reset(name: str) -> None:
    envs = native(2, AutoresetMode.DISABLED, name)
    envs.reset(seed=0)
    actions = np.zeros((2, 1), np.float32)
    for _ in range(6):
        _, _, terminated, _, _ = envs.step(actions)
    assert terminated.all()
    with pytest.raises(RuntimeError, match=r"copies \[0, 1\] are over"):
        envs.step(actions)
    envs.reset(options={"reset_mask": terminated})
    envs.step(actions)


def run(name: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    envs = native(n, name=name, advertiser=5)
    observations, rewards = [envs.reset(seed=seed)[0]], []
    for step in range(14):
        observation, reward, *_ = envs.step(np.full((n, 1), np.sin(step), np.float32))
        observations.append(observation)
        rewards.append(reward)
    return np.stack(observations), np.stack(rewards)


@every_id
def test_same_seed_same_numbers_for_any_number_of_copies(name: str) -> None:
    many, again, few, other = (run(name, n, seed) for n, seed in ((6, 1), (6, 1), (2, 1), (6, 2)))
    assert_same(many, again)
    np.testing.assert_array_equal(many[0][:, :2], few[0])
    np.testing.assert_array_equal(many[0][:, 1:], other[0][:, :-1])  # copy i has seed + i
    assert not np.array_equal(many[0], other[0])


@pytest.mark.parametrize(
    ("name", "choice"),
    [(BIDDING, {"advertiser": [1, 2, 1]}), (REPLAY, {"advertiser": [1, 2, 1], "period": [12, 10, 11]})],
)
def test_options_select_the_episode_of_each_copy(name: str, choice: dict[str, list[int]]) -> None:
    envs, single = native(3, name=name), gym.make(name, **arguments(name, {}))
    options = {"episode_seed": [5, 6, 7], **choice}
    observations, infos = envs.reset(seed=0, options=options)
    for part, numbers in choice.items():
        np.testing.assert_array_equal(infos[part], numbers)
    for i in range(3):
        expected, _ = single.reset(options={part: values[i] for part, values in options.items()})
        np.testing.assert_array_equal(observations[i], expected)
    assert options.keys() == {"episode_seed", *choice}  # the caller's dictionary is left alone


class Counting:
    """A competitor whose bids depend on how often it was asked: a state that copies must not share."""

    name = "counting"

    def reset(self, campaigns: Any) -> None:
        self.n_asked = 0

    def act(self, view: Any) -> np.ndarray:
        self.n_asked += 1
        return np.full(len(view.budget_left), 50.0 + 30.0 * self.n_asked)


def test_copies_do_not_share_the_state_of_competitors() -> None:
    kwargs = {"competitors": {5: Counting(), 7: Counting()}, "advertiser": 3}
    one, other = native(3, **kwargs), looped(3, **kwargs)
    assert_same(one.reset(seed=0), other.reset(seed=0))
    for step in range(8):
        if step == 2:
            options = {"reset_mask": np.array([True, False, False])}
            assert_same(one.reset(options=options.copy()), other.reset(options=options.copy()))
        actions = np.full((3, 1), 0.5, np.float32)
        assert_same(one.step(actions), other.step(actions))


@pytest.mark.parametrize("kind", ACTION_KINDS)
@pytest.mark.parametrize(
    ("name", "market"), [(BIDDING, {"params": None, "n_impressions": 1000, "mechanism": "first_price"}), (REPLAY, {})]
)
def test_spaces_hold_what_comes(name: str, market: dict[str, Any], kind: str) -> None:
    envs = native(3, AutoresetMode.SAME_STEP, name, action_kind=kind, **market)
    observation, _ = envs.reset(seed=0)
    for _ in range(50):
        assert envs.observation_space.contains(observation)
        observation, *_ = envs.step(envs.action_space.sample())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda envs: envs.step(np.zeros((3, 1))), r"`actions` must have shape \(2, 1\), found \(3, 1\)"),
        (lambda envs: envs.step(np.full((2, 1), np.inf)), r"`action` must be finite, found \[inf\] in row 0"),
        (lambda envs: envs.reset(seed=[1]), r"`seed` must be an integer or one a copy \(2\), found 1"),
        (lambda envs: envs.reset(options={"mask": 1}), r"`options` must hold only .* found \['mask'\]"),
        (lambda envs: envs.reset(options={"reset_mask": np.zeros(2, bool)}), "must select at least one copy"),
        (lambda envs: envs.reset(options={"reset_mask": [True, True]}), "`reset_mask` must be a bool array"),
        (lambda envs: envs.reset(options={"advertiser": [1]}), "`advertiser` must be an integer or 2 of them"),
        (
            lambda envs: envs.reset(options={"advertiser": 48}),
            "`advertiser` must .*, found 48",
        ),
        (lambda envs: envs.reset(options={"episode_seed": [3, -1]}), "`episode_seed` must not be negative, found -1"),
    ],
)
@every_id
def test_bad_calls_are_named(name: str, call: Any, message: str) -> None:
    envs = native(2, name=name)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        call(envs)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="`num_envs` must be at least 1, found 0"):
        BiddingVectorEnv(0)
    with pytest.raises(ValueError, match=r"one of .*'SameStep'.*, found 'samestep', nearest: SameStep"):
        BiddingVectorEnv(2, autoreset_mode="samestep")
    with pytest.raises(RuntimeError, match="the first `reset` must begin all copies"):
        BiddingVectorEnv(2, **SMALL).reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(RuntimeError, match="call `reset` first"):
        BiddingVectorEnv(2, **SMALL).step(np.zeros((2, 1), np.float32))


@every_id
def test_gymnasiums_normalising_wrappers_run(name: str) -> None:
    envs: Any = native(4, name=name)  # Gymnasium's observation wrappers refuse SAME_STEP
    envs = gym.wrappers.vector.NormalizeReward(gym.wrappers.vector.NormalizeObservation(envs))
    envs = gym.wrappers.vector.RecordEpisodeStatistics(envs)
    observation, _ = envs.reset(seed=0)
    ended = 0
    for _ in range(70):
        observation, reward, _, _, info = envs.step(envs.action_space.sample())
        assert observation.shape == (4, 31) and np.isfinite(observation).all() and np.isfinite(reward).all()
        ended += "episode" in info
    assert ended == 10
    assert np.abs(observation).mean() < 5


_FORKED = """
import multiprocessing

import gymnasium
import numpy as np
from auction_env import BatchMarket, MarketParams

def run(rule):
    market = BatchMarket(MarketParams(n_impressions=9000, n_ticks=2, budget_rule=rule))
    market.reset([0])
    return market.step(3 * market.cpa_target[None]).totals

def play(mode):
    envs = gymnasium.make_vec(
        "auction_env/Bidding-v0", num_envs=2, vectorization_mode=mode, n_impressions=480, mechanism="gsp"
    )
    first, _ = envs.reset(seed=3)
    steps = [envs.step(np.full((2, 1), 0.1, np.float32))[0] for _ in range(3)]
    envs.close()
    return np.stack([first, *steps])

if __name__ == "__main__":
    rules = ("in_order", "auctionnet")
    here, played = [run(rule) for rule in rules], play("sync")
    from numba.np.ufunc.parallel import threading_layer
    assert threading_layer() == "omp"  # what does not survive a fork
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert np.array_equal(here, pool.map(run, rules))
    assert np.array_equal(played, play("async"))
    print("equal")
"""


def test_processes_forked_after_the_market_ran_with_threads_play_on(tmp_path: Path) -> None:
    script = tmp_path / "forked.py"
    script.write_text(_FORKED)
    environment = os.environ | {"NUMBA_NUM_THREADS": "2", "NUMBA_THREADING_LAYER": "omp", "PYTHONPATH": os.getcwd()}
    out = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert out.stdout == "equal\n", out.stderr
