"""`auction_env/BAT-v0`: Gymnasium's checks, the same hours as a rollout, copies side by side, wrong arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from agents import FixedBidder, rollout
from auction_env.replay.bat.market import BatMarket, read_bat
from auction_env.replay.bat.storage import import_bat
from auction_env.tasks import Task
from tests.auction_env.envs.small import BAT
from tests.auction_env.replay.test_bat import tables

TASK = Task(name="clicks", objective="clicks")


@pytest.fixture(scope="module")
def market() -> BatMarket:
    return read_bat(*tables(), mechanism="first_price")


def test_gymnasium_accepts_it(market: BatMarket) -> None:
    check_env(gym.make(BAT, market=market, task=TASK).unwrapped, skip_render_check=True)


def test_hours_are_those_of_a_rollout_and_stay_in_the_space(market: BatMarket) -> None:
    env = gym.make(BAT, market=market, task=TASK, advertiser=1)
    observation, info = env.reset(seed=3)
    assert info == {"advertiser": 1}
    total, is_over = 0.0, False
    while not is_over:
        assert env.observation_space.contains(observation)
        observation, reward, terminated, truncated, info = env.step(np.zeros(1, np.float32))  # the worth of a click
        total, is_over = total + float(reward), terminated or truncated
    played = rollout(FixedBidder(1.0), seeds=[0], advertisers=[1], task=TASK, market=market)
    assert total == pytest.approx(played.totals.clicks[0]) and info["score"] == pytest.approx(total)
    highest = np.ones(1, np.float32)
    env.reset(seed=3)
    assert all(env.observation_space.contains(env.step(highest)[0]) for _ in range(market.n_ticks))


def test_pictures_are_drawn(market: BatMarket) -> None:
    env = gym.make(BAT, market=market, task=TASK, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(np.zeros(1, np.float32))
    picture = env.render()
    assert isinstance(picture, np.ndarray) and picture.ndim == 3 and picture.std() > 0


def test_copies_are_single_environments(market: BatMarket, tmp_path: Path) -> None:
    import_bat(*tables(), tmp_path / "bat", mechanism="first_price")
    many = gym.make_vec(BAT, num_envs=3, market=tmp_path / "bat", task=TASK)
    together, infos = many.reset(seed=5)
    actions = np.random.default_rng(0).uniform(-1, 1, (market.n_ticks, 3, 1)).astype(np.float32)
    rewards = np.stack([many.step(action)[1] for action in actions])
    for copy in range(3):
        env = gym.make(BAT, market=market, task=TASK)
        observation, info = env.reset(seed=5 + copy)
        np.testing.assert_array_equal(observation, together[copy])
        assert info["advertiser"] == infos["advertiser"][copy]
        alone = [env.step(action[copy])[1] for action in actions]
        np.testing.assert_allclose(alone, rewards[:, copy], atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"market": None}, "`market` must be a BatMarket or the directory of a saved one, found None"),
        ({"advertiser": 3}, "`advertiser` must be from 0 to 2 or None, found 3"),
        ({"task": Task(name="gmv", objective="gmv")}, "counts gmv, which must be recorded"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str, market: BatMarket) -> None:
    with pytest.raises(ValueError, match=message):
        gym.make(BAT, **{"market": market, "task": TASK, **arguments})
