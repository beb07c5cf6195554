"""Self-play on logged values: PettingZoo's checker, equality with the single environment, periods with all agents."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from auction_env import ReplayMarket
from tests.auction_env.replay.logs import three_periods

pytest.importorskip("pettingzoo")
from pettingzoo.test import parallel_api_test

from auction_env.replay.parallel import LoggedValuesParallelEnv


@pytest.fixture(scope="module")
def log() -> ReplayMarket:
    return three_periods()


def test_pettingzoos_checker_is_clean(log: ReplayMarket) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(LoggedValuesParallelEnv(market=log, task="TargetCPA"), num_cycles=12)


def test_one_agent_equals_the_single_environment(log: ReplayMarket) -> None:
    arguments: dict[str, Any] = {"market": log, "task": "TargetCPA"}
    env = LoggedValuesParallelEnv(advertisers=[3], **arguments)
    single = gym.make("auction_env/LoggedValues-v0", advertiser=3, **arguments)
    for seed in (5, None, None):
        observations, infos = env.reset(seed=seed)
        expected, info = single.reset(seed=seed)
        np.testing.assert_array_equal(observations["advertiser_3"], expected)
        assert infos["advertiser_3"] == info
        while env.agents:
            action = np.array([0.4], np.float32)
            found = [part["advertiser_3"] for part in env.step({"advertiser_3": action})]
            expected, *rest = single.step(action)
            np.testing.assert_array_equal(found[0], expected)
            assert found[1:] == rest


def test_periods_are_those_in_which_all_agents_are(log: ReplayMarket) -> None:
    env = LoggedValuesParallelEnv(market=log, advertisers=[2, 0])  # period 12 lacks advertiser 0
    seen = set()
    for seed in range(8):
        _, infos = env.reset(seed=seed)
        assert {infos[agent]["advertiser"] for agent in env.agents} == {0, 2}
        seen |= {info["period"] for info in infos.values()}
    assert seen == {10, 11}
    _, infos = env.reset(options={"period": 11})
    assert infos["advertiser_2"]["period"] == 11
    with pytest.raises(ValueError, match=r"`period` must be one in which all agents are, of \[10, 11\].* found 12"):
        env.reset(options={"period": 12})
    with pytest.raises(ValueError, match=r"`period` must be one in which all agents are, .* found 12"):
        LoggedValuesParallelEnv(market=log, advertisers=[2, 0], period=12)
    assert LoggedValuesParallelEnv(market=log, advertisers=[2], period=12).reset()[1]["advertiser_2"]["period"] == 12


def test_agents_share_the_auctions(log: ReplayMarket) -> None:
    def outcome(rival: float) -> list[float]:
        env = LoggedValuesParallelEnv(market=log, advertisers=[1, 4], period=10)
        env.reset(seed=0)
        infos: dict[str, dict[str, Any]] = {}
        bids = {"advertiser_1": 0.0, "advertiser_4": rival}
        while env.agents:
            *_, infos = env.step({agent: np.array([bids[agent]], np.float32) for agent in env.agents})
        return [infos["advertiser_1"]["budget_left"], infos["advertiser_1"]["least_winning_cost"]]

    assert outcome(-1.0) != outcome(1.0)


def test_bad_input_is_named(log: ReplayMarket) -> None:
    with pytest.raises(ValueError, match=r"`advertisers` must hold different indices, .* found \[1, 1\]"):
        LoggedValuesParallelEnv(market=log, advertisers=[1, 1])
    with pytest.raises(ValueError, match=r"`advertiser` must be one of .* found 9"):
        LoggedValuesParallelEnv(market=log, advertisers=[9])
    with pytest.raises(ValueError, match="`advertiser` must be given as `advertisers`, found 3"):
        LoggedValuesParallelEnv(market=log, advertiser=3)
