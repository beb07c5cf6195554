"""The Stable-Baselines3 adapter equals a DummyVecEnv of single environments, and PPO trains on it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import vector as wrappers

from auction_env import MarketParams

pytest.importorskip("stable_baselines3")
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from agents.sb3.vector_env import NativeVecEnv

ID = "auction_env/Bidding-v0"
SMALL: dict[str, Any] = {"params": MarketParams(n_impressions=300, n_ticks=6), "task": "TargetCPA"}


def native(n: int, mode: str = "SameStep", **kwargs: Any) -> NativeVecEnv:
    return NativeVecEnv(gym.make_vec(ID, num_envs=n, autoreset_mode=mode, **SMALL | kwargs))


def assert_same_records(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for key, value in other.items():
            np.testing.assert_array_equal(one[key], value)
            assert type(one[key]) is type(value)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_equals_a_dummy_vec_env_elementwise(mode: str) -> None:
    one, other = native(3, mode), DummyVecEnv([lambda: gym.make(ID, **SMALL)] * 3)
    for envs in (one, other):
        envs.seed(8)
    np.testing.assert_array_equal(one.reset(), other.reset())
    rng = np.random.default_rng(0)
    for _ in range(20):
        actions = rng.uniform(-1, 1, (3, 1)).astype(np.float32)
        found, expected = one.step(actions), other.step(actions)
        for part, wanted in zip(found[:3], expected[:3], strict=True):
            np.testing.assert_array_equal(part, wanted)
            assert part.dtype == wanted.dtype
        assert_same_records(found[3], expected[3])
        assert_same_records(one.reset_infos, other.reset_infos)


def test_ppo_learns_the_same_as_on_a_dummy_vec_env() -> None:
    weights = []
    for envs in (native(4), DummyVecEnv([lambda: gym.make(ID, **SMALL)] * 4)):
        model = PPO("MlpPolicy", VecNormalize(VecMonitor(envs)), n_steps=6, batch_size=12, seed=0, device="cpu")
        model.learn(72)
        assert {"r", "l", "t"} <= model.ep_info_buffer[0].keys()
        assert {info["l"] for info in model.ep_info_buffer} == {6}
        weights.append(model.policy.state_dict())
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value.numpy(), weights[1][name].numpy())


def test_vec_monitor_returns_are_sums_of_rewards() -> None:
    envs = VecMonitor(native(2))
    envs.seed(0)
    envs.reset()
    total = np.zeros(2)
    for _ in range(6):
        _, rewards, dones, infos = envs.step(np.zeros((2, 1), np.float32))
        total += rewards
    assert dones.all()
    assert [info["episode"]["r"] for info in infos] == pytest.approx(total)
    assert [info["TimeLimit.truncated"] for info in infos] == [False, False]
    assert all(envs.observation_space.contains(info["terminal_observation"]) for info in infos)
    assert all({"score", "ratios"} <= info.keys() for info in infos)


def test_options_and_attributes() -> None:
    envs = native(2)
    envs.set_options([{"episode_seed": 1, "advertiser": 3}, {"episode_seed": 2, "advertiser": 4}])
    envs.reset()
    assert [info["advertiser"] for info in envs.reset_infos] == [3, 4]
    envs.reset()  # options count once
    assert envs.get_attr("num_envs", [0]) == [2]
    envs.set_attr("note", "x")
    assert envs.get_attr("note") == ["x", "x"]
    assert not envs.has_attr("nothing") and envs.env_is_wrapped(gym.Wrapper) == [False, False]
    with pytest.raises(ValueError, match="`indices` must name all copies"):
        envs.set_attr("note", "y", 0)
    with pytest.raises(NotImplementedError, match="no methods of their own"):
        envs.env_method("reset")
    envs.set_options([{"episode_seed": 1}, {}])
    with pytest.raises(ValueError, match="the options of all copies must have the same names"):
        envs.reset()
    envs.close()


def test_frames_are_tiled() -> None:
    envs = native(2, render_mode="rgb_array")
    envs.reset()
    frame = envs.render()
    assert frame is not None and frame.shape == (1280, 960, 3) and frame.dtype == np.uint8


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_gymnasium_s_reward_wrappers_work_underneath(mode: str) -> None:
    env = gym.make_vec(ID, num_envs=3, autoreset_mode=mode, **SMALL)
    envs = NativeVecEnv(wrappers.TransformReward(wrappers.RecordEpisodeStatistics(env), lambda reward: 2 * reward))
    envs.seed(1)
    envs.reset()
    total = np.zeros(3)
    for _ in range(6):
        _, rewards, dones, infos = envs.step(np.zeros((3, 1), np.float32))
        total += rewards
    assert dones.all() and [2 * info["episode"]["r"] for info in infos] == pytest.approx(total)
    assert {info["episode"]["l"] for info in infos} == {6}
    assert all("episode" not in info for info in envs.reset_infos)


def test_gymnasium_s_normalisation_is_that_of_the_episodes_alone() -> None:
    """Statistics count every observation once, last and first ones included, as those of the bare environment do."""
    bare = native(3, "NextStep")
    wrapped = wrappers.NormalizeObservation(gym.make_vec(ID, num_envs=3, **SMALL))
    envs = NativeVecEnv(wrapped)
    seen = []
    for one in (bare, envs):
        one.seed(2)
    seen.append(bare.reset())
    envs.reset()
    for _ in range(14):
        found = bare.step(np.zeros((3, 1), np.float32))
        if found[2].all():
            seen.append(np.stack([info["terminal_observation"] for info in found[3]]))
        seen.append(found[0])
        normalised = envs.step(np.zeros((3, 1), np.float32))
        np.testing.assert_array_equal(normalised[1], found[1])
        np.testing.assert_array_equal(normalised[2], found[2])
    counted = np.concatenate(seen)
    np.testing.assert_allclose(wrapped.obs_rms.mean, counted.mean(axis=0), rtol=1e-3, atol=1e-3)
    model = PPO("MlpPolicy", envs, n_steps=6, batch_size=6, n_epochs=1, seed=0, device="cpu").learn(36)
    assert np.isfinite(np.concatenate([p.detach().numpy().ravel() for p in model.policy.parameters()])).all()


def test_what_cannot_be_played_is_refused_with_the_fix() -> None:
    with pytest.raises(ValueError, match=r"NEXT_STEP .*found AutoresetMode.DISABLED: make_vec.*autoreset_mode='Same"):
        native(2, "Disabled")
    with pytest.raises(ValueError, match=r"`env` must be a Gymnasium VectorEnv, as gymnasium.make_vec makes it"):
        NativeVecEnv(gym.make(ID, **SMALL))  # type: ignore[arg-type]  # the mistake
    envs = native(2, "NextStep")
    envs.reset()
    for _ in range(3):
        envs.step(np.zeros((2, 1), np.float32))
    envs.env.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ValueError, match=r"must end together in the mode NEXT_STEP, found the end of \[1\]"):
        for _ in range(3):
            envs.step(np.zeros((2, 1), np.float32))
