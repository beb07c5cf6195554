"""Self-play: PettingZoo's checker, one shared market, equality with the single environment."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from auction_env import MarketParams
from auction_env.control.actions import ACTION_KINDS

pytest.importorskip("pettingzoo")
from pettingzoo.test import parallel_api_test, parallel_seed_test

from auction_env.envs.parallel import BiddingParallelEnv

SMALL: dict[str, Any] = {"params": MarketParams(n_impressions=300, n_ticks=6), "task": "TargetCPA"}


@pytest.mark.parametrize("kind", ACTION_KINDS)
@pytest.mark.parametrize("advertisers", [None, [5], [9, 0, 47]], ids=["all", "one", "three"])
def test_pettingzoos_checker_is_clean(kind: str, advertisers: list[int] | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(BiddingParallelEnv(advertisers=advertisers, action_kind=kind, **SMALL), num_cycles=20)


def test_pettingzoos_seed_test_is_clean() -> None:
    parallel_seed_test(lambda: BiddingParallelEnv(advertisers=[1, 2], **SMALL), num_cycles=10)


def test_one_agent_equals_the_single_environment() -> None:
    env, single = (
        BiddingParallelEnv(advertisers=[11], **SMALL),
        gym.make("auction_env/Bidding-v0", advertiser=11, **SMALL),
    )
    observations, infos = env.reset(seed=4)
    expected, info = single.reset(seed=4)
    np.testing.assert_array_equal(observations["advertiser_11"], expected)
    assert infos["advertiser_11"] == info
    for step in range(6):
        action = np.array([np.cos(step)], np.float32)
        outcome = env.step({"advertiser_11": action})
        found = [part["advertiser_11"] for part in outcome]
        expected, *rest = single.step(action)
        np.testing.assert_array_equal(found[0], expected)
        assert found[1:] == rest


def play(env: BiddingParallelEnv, bids: dict[str, float]) -> dict[str, dict[str, Any]]:
    env.reset(seed=1)
    infos: dict[str, dict[str, Any]] = {}
    while env.agents:
        *_, infos = env.step({agent: np.array([bids.get(agent, 0.0)], np.float32) for agent in env.agents})
    return infos


def test_agents_share_one_market() -> None:
    env = BiddingParallelEnv(advertisers=[3, 4], **SMALL | {"params": MarketParams(n_impressions=3000, n_ticks=6)})
    calm, fierce = play(env, {}), play(env, {"advertiser_4": 1.0})
    assert fierce["advertiser_4"]["least_winning_cost"] == fierce["advertiser_3"]["least_winning_cost"]
    assert fierce["advertiser_3"] != calm["advertiser_3"]  # the rival's bids reach it


def test_order_of_agents_changes_nothing() -> None:
    bids = {"advertiser_3": 0.5, "advertiser_4": -0.3}
    one, other = (play(BiddingParallelEnv(advertisers=order, **SMALL), bids) for order in ([3, 4], [4, 3]))
    assert one == other


def test_state_and_frame_cover_all_agents() -> None:
    env = BiddingParallelEnv(advertisers=[1, 2, 3], render_mode="rgb_array", **SMALL)
    with pytest.raises(RuntimeError, match="call `reset` first"):
        env.state()
    observations, _ = env.reset(seed=0)
    np.testing.assert_array_equal(env.state(), np.stack(list(observations.values())))
    frame = env.render()
    assert frame is not None and frame.dtype == np.uint8 and frame.shape == (640, 960, 3)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"`advertisers` must hold different indices, at least one, found \[1, 1\]"):
        BiddingParallelEnv(advertisers=[1, 1])
    with pytest.raises(ValueError, match=r"`advertiser` must lie in 0..47, found 48"):
        BiddingParallelEnv(advertisers=[48])
    env = BiddingParallelEnv(advertisers=[1, 2], **SMALL)
    with pytest.raises(RuntimeError, match="call `reset` first"):
        env.step({})
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"missing \['advertiser_2'\], unknown \['x'\]"):
        env.step({"advertiser_1": np.zeros(1), "x": np.zeros(1)})
    with pytest.raises(ValueError, match="`render` needs a `render_mode`"):
        env.render()
