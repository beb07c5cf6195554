"""Observations and rewards of a user's own: the same in every kind of environment, and checked."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from auction_env.control.advertisers import ControlledTick
from auction_env.control.bidder import Campaigns, TickView
from auction_env.envs.own import Observation
from auction_env.envs.parallel import BiddingParallelEnv
from auction_env.tasks import TASKS, Totals

NAME = "auction_env/Bidding-v0"
TASK = TASKS["TargetCPA"]
MARKET: dict[str, Any] = {"task": TASK, "n_impressions": 480}
N_TICKS = 48


def plan(campaigns: Campaigns, view: TickView) -> NDArray[np.float64]:
    time_left = np.full(len(campaigns.base), 1 - view.tick / campaigns.n_ticks)
    return np.stack([view.budget_left / campaigns.budget, time_left, view.last_cost / campaigns.budget], axis=1)


def cost_and_score(campaigns: Campaigns, tick: ControlledTick, totals: Totals | None) -> NDArray[np.float64]:
    end = 0.0 if totals is None else TASK.score(totals, campaigns.targets)
    return end - tick.cost / campaigns.budget


OWN: dict[str, Any] = {
    "observation": Observation(names=("budget_left", "time_left", "last_cost"), function=plan, low=0.0, high=1.0),
    "reward": cost_and_score,
}


def test_the_view_and_the_outcome_are_what_the_environment_reports() -> None:
    env = gym.make(NAME, **MARKET, **OWN)
    observation, _ = env.reset(seed=3)
    assert env.observation_space == gym.spaces.Box(0.0, 1.0, (3,), np.float32)
    np.testing.assert_array_equal(observation, [1, 1, 0])
    spent = 0.0
    for tick in range(1, N_TICKS + 1):
        before = observation[0]
        observation, reward, terminated, _, info = env.step(np.zeros(1, np.float32))
        assert env.observation_space.contains(observation)
        assert observation[1] == pytest.approx(1 - tick / N_TICKS, abs=1e-6)
        assert before - observation[0] == pytest.approx(observation[2], abs=1e-5)
        end = info["score"] if terminated else 0.0
        assert reward == pytest.approx(end - observation[2], abs=1e-5)
        spent += observation[2]
    assert terminated and 0 < spent <= 1


def test_vector_and_single_environments_agree() -> None:
    envs = gym.make_vec(NAME, num_envs=2, vectorization_mode="vector_entry_point", **MARKET, **OWN)
    singles = [gym.make(NAME, **MARKET, **OWN) for _ in range(2)]
    many, _ = envs.reset(seed=5)
    np.testing.assert_array_equal(many, [env.reset(seed=5 + i)[0] for i, env in enumerate(singles)])
    rng = np.random.default_rng(0)
    for _ in range(N_TICKS):
        action = rng.uniform(-0.5, 0.5, (2, 1)).astype(np.float32)
        many, reward, *_ = envs.step(action)
        one = [env.step(row) for env, row in zip(singles, action, strict=True)]
        np.testing.assert_array_equal(many, [step[0] for step in one])
        np.testing.assert_array_equal(reward, [step[1] for step in one])


def test_agents_of_one_market_have_them() -> None:
    env = BiddingParallelEnv(advertisers=[2, 7], **MARKET, **OWN)
    observations, _ = env.reset(seed=1)
    assert {agent: list(o) for agent, o in observations.items()} == {
        "advertiser_2": [1, 1, 0],
        "advertiser_7": [1, 1, 0],
    }
    observations, rewards, *_ = env.step({agent: np.zeros(1, np.float32) for agent in env.agents})
    for agent, observation in observations.items():
        assert env.observation_space(agent).contains(observation)
        assert rewards[agent] == pytest.approx(-observation[2], abs=1e-6)


def test_stable_baselines_learns_from_them() -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    from agents.sb3.vector_env import NativeVecEnv

    envs = gym.make_vec(
        NAME, num_envs=2, vectorization_mode="vector_entry_point", autoreset_mode="SameStep", **MARKET, **OWN
    )
    model = sb3.PPO("MlpPolicy", NativeVecEnv(envs), n_steps=N_TICKS, batch_size=N_TICKS, n_epochs=1, seed=0)
    model.learn(2 * N_TICKS)
    assert model.observation_space.shape == (3,)
    assert model.predict(np.array([1, 1, 0], np.float32))[0].shape == (1,)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"observation": plan}, r"`observation` must be an `auction_env.envs.own.Observation`"),
        ({"reward": 1.0}, "`reward` must be a function of campaigns, tick and totals, found 1.0"),
        ({"observation": Observation(names=("a",), function=plan)}, r"the shape \(1, 1\), found \(1, 3\)"),
        ({"observation": Observation(names=("a", "b", "c"), function=plan, high=0.5)}, r"'a' .* in \[-inf, 0.5\]"),
        ({"observation": Observation(names=("a",), function=lambda c, v: [[np.nan]])}, "finite numbers, found nan"),
        ({"reward": lambda campaigns, tick, totals: 1.0}, r"`reward` must return the shape \(1,\), found \(\)"),
        ({"reward": lambda campaigns, tick, totals: [np.inf]}, "`reward` must return finite numbers, found inf"),
    ],
)
def test_what_is_none_is_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        env = gym.make(NAME, disable_env_checker=True, **MARKET, **arguments)
        env.reset(seed=0)
        env.step(np.zeros(1, np.float32))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"names": ()}, "`names` of an observation must be different"),
        ({"names": ("a", "a")}, "`names` of an observation must be different"),
        ({"names": ("a",), "function": 3}, "must be callable, found 3"),
        ({"names": ("a",), "low": 1.0, "high": 1.0}, "`low` of an observation must be below `high`"),
    ],
)
def test_an_observation_is_checked(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Observation(**{"function": plan, **fields})
