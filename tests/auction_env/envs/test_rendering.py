"""Rendering: frames of every environment, what they show, and what happens without matplotlib or a display."""

from __future__ import annotations

import builtins
import itertools
import logging
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from auction_env import MarketParams, TrafficParams
from auction_env.envs.rendering import episode_so_far
from auction_env.envs.single import BiddingEnv
from tests.auction_env.envs.small import BIDDING, MARKET, REPLAY

pytest.importorskip("matplotlib")

every_id = pytest.mark.parametrize("name", (BIDDING, REPLAY))  # all others draw the same


def small(name: str) -> dict[str, Any]:
    return {"task": "TargetCPA", "advertiser": 1, **MARKET[name]}


@every_id
def test_frames_change_with_the_episode(name: str) -> None:
    env = gym.make(name, render_mode="rgb_array", **small(name))
    env.reset(seed=0)
    frames = [env.render()]
    terminated = False
    while not terminated:
        terminated = env.step(env.action_space.sample())[2]
        frames.append(env.render())
    assert len(frames) == 7
    for frame in frames:
        assert frame.shape == (640, 960, 3) and frame.dtype == np.uint8
        assert (frame == 255).mean() > 0.5 and frame.min() < 100  # ink on white
    assert all(not np.array_equal(one, other) for one, other in itertools.pairwise(frames))
    env.close()


@every_id
def test_a_frame_shows_what_happened(name: str) -> None:
    env = gym.make(name, **small(name)).unwrapped
    env.reset(seed=0)
    infos = [env.step(np.array([0.2], np.float32))[4] for _ in range(6)]
    shown = episode_so_far(env._bidding, 0)
    np.testing.assert_array_equal(shown.multiplier, [info["multiplier"] for info in infos])
    np.testing.assert_array_equal(shown.least_winning_cost, [info["least_winning_cost"] for info in infos])
    assert shown.spent[-1] == pytest.approx(infos[-1]["ratios"]["budget"])
    assert {name: values[-1] for name, values in shown.ratios.items()} == pytest.approx(infos[-1]["ratios"])
    assert shown.plan[0] == 0 and shown.plan[-1] == pytest.approx(1) and len(shown.plan) == 7


@every_id
def test_vector_frames_equal_single_ones(name: str) -> None:
    envs = gym.make_vec(name, num_envs=2, render_mode="rgb_array", **small(name))
    single = gym.make(name, render_mode="rgb_array", **small(name))
    envs.reset(seed=0)
    single.reset(seed=1)
    envs.step(np.zeros((2, 1), np.float32))
    single.step(np.zeros(1, np.float32))
    frames = envs.render()
    assert frames is not None and len(frames) == 2
    np.testing.assert_array_equal(frames[1], single.render())


def test_the_plan_is_that_of_the_weekday() -> None:
    weekly = tuple((1.0, float(day)) for day in range(7))
    params = MarketParams(n_impressions=500, n_ticks=2, traffic=TrafficParams(weekly_curve=weekly))
    env = BiddingEnv(params=params, advertiser=0)
    env.reset(seed=0)
    env.step(np.zeros(1, np.float32))
    env.step(np.zeros(1, np.float32))
    assert episode_so_far(env._bidding, 0).plan[1] in [pytest.approx(1 / (1 + day)) for day in range(7)]


def test_human_draws_by_itself(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    import matplotlib

    matplotlib.use("Agg")
    env = gym.make(BIDDING, render_mode="human", **small(BIDDING))
    with caplog.at_level(logging.WARNING):
        env.reset(seed=0)
        env.step(np.zeros(1, np.float32))
    assert caplog.text.count("is not interactive") == 1
    assert env.render() is None
    env.close()


def test_modes_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ValueError, match=r"`render_mode` must be None or one of \['human', 'rgb_array'\], found 'ansi'"
    ):
        BiddingEnv(render_mode="ansi")
    env = BiddingEnv(render_mode="rgb_array")
    with pytest.raises(RuntimeError, match="call `reset` first"):
        env.render()
    real = builtins.__import__

    def without_matplotlib(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "matplotlib":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    BiddingEnv()  # needs none
    with pytest.raises(ImportError, match=r"pip install 'vamo-bidding\[report\]'"):
        BiddingEnv(render_mode="rgb_array")
