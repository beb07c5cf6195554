"""Integers from outside: one check, and every door that a seed or an advertiser comes through."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import FixedBidder, collect, rollout, rollout_each
from agents.logging.collection import Collection
from auction_env import Market, MarketParams, Population, replay_from_bids
from auction_env.control.simulation import Simulation
from auction_env.envs.parallel import BiddingParallelEnv
from auction_env.integers import check_integer, check_integers
from auction_env.replay.simulation import ReplaySimulation
from auction_env.tasks import TASKS

PARAMS = MarketParams(n_impressions=60, n_ticks=4)
POPULATION = Population(budget=(9_000.0,) * 3, cpa_target=(80.0,) * 3, category=(0, 1, 0))
MARKET: dict[str, Any] = {"params": PARAMS, "population": POPULATION}
LOG = replay_from_bids(
    tick=[0, 0, 1, 1], bids=np.full((4, 3), 0.1), values=np.full((4, 3), 0.001), sigmas=np.zeros((4, 3)),
    budget=np.full(3, 5.0), cpa_target=np.full(3, 80.0),
)  # fmt: skip
WRONG = (1.9, 1.0, True, "1", None)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integers_of_every_kind_pass_unchanged(values: list[int]) -> None:
    for given_ in (values, tuple(values), np.asarray(values, np.int64)):
        found = check_integers("seeds", given_)
        assert found.dtype == np.int64 and found.tolist() == values


@pytest.mark.parametrize("wrong", WRONG)
def test_anything_else_is_named(wrong: object) -> None:
    with pytest.raises(ValueError, match=rf"`seed` must be an integer, found {wrong!r}"):
        check_integer("seed", wrong)
    with pytest.raises(ValueError, match=re.escape(f"found {wrong!r}")):
        check_integers("seeds", [0, wrong])


def test_shape_and_size_are_named() -> None:
    assert check_integer("seed", np.uint8(3)) == 3 and check_integers("seeds", range(3)).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"`seed` must be one integer, found \[1, 2\]"):
        check_integer("seed", [1, 2])
    with pytest.raises(ValueError, match="`seed` must fit into 64 bits, found 9223372036854775808"):
        check_integer("seed", 2**63)


def env(**arguments: Any) -> gymnasium.Env[Any, Any]:
    return gymnasium.make("auction_env/Bidding-v0", **MARKET, **arguments)


def vector(**arguments: Any) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    return gymnasium.make_vec("auction_env/Bidding-v0", num_envs=2, **MARKET, **arguments)


def play(**arguments: Any) -> None:
    rollout(FixedBidder(), **{"seeds": [0], "advertisers": [0], "task": TASKS["MaxConversions"], **MARKET} | arguments)


def simulation() -> Simulation:
    return Simulation(PARAMS, POPULATION, controlled_market=[0], controlled_advertiser=[0])


DOORS: dict[str, Callable[[Any], object]] = {
    "rollout seeds": lambda value: play(seeds=[value]),
    "rollout advertisers": lambda value: play(advertisers=[value]),
    "rollout days": lambda value: play(days=[value]),
    "rollout_each": lambda value: rollout_each(
        [FixedBidder()], seeds=[value], advertisers=[0], task=TASKS["MaxConversions"], **MARKET
    ),
    "collect": lambda value: list(collect(FixedBidder(), seeds=[value], task=TASKS["MaxConversions"], **MARKET)),
    "Collection seed": lambda value: Collection(task=TASKS["MaxConversions"], n_episodes=1, seed=value),
    "Collection advertisers": lambda value: Collection(
        task=TASKS["MaxConversions"], n_episodes=1, advertisers=(value,)
    ),
    "simulation": lambda value: simulation().control([value]),
    "simulation reset": lambda value: simulation().reset([value]),
    "market": lambda value: Market(PARAMS, POPULATION).reset(value),
    "env seed": lambda value: env().reset(seed=value),
    "env advertiser": lambda value: env(advertiser=value),
    "env episode_seed": lambda value: env().reset(options={"episode_seed": value}),
    "env option": lambda value: env().reset(options={"advertiser": value}),
    "vector seed": lambda value: vector().reset(seed=value),
    "vector seeds": lambda value: vector().reset(seed=[0, value]),
    "vector advertiser": lambda value: vector(advertiser=value),
    "vector options": lambda value: vector().reset(options={"episode_seed": [0, value]}),
    "parallel seed": lambda value: BiddingParallelEnv(**MARKET).reset(seed=value),
    "parallel episode_seed": lambda value: BiddingParallelEnv(**MARKET).reset(options={"episode_seed": value}),
    "parallel advertisers": lambda value: BiddingParallelEnv(**MARKET, advertisers=[value]),
    "replay simulation": lambda value: ReplaySimulation(LOG, [value]),
    "replay seeds": lambda value: ReplaySimulation(LOG, [0]).reset([value], [0]),
    "replay periods": lambda value: ReplaySimulation(LOG, [0]).reset([0], [value]),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("wrong", [1.9, True, "1"])
def test_every_door_refuses_what_is_no_integer(door: str, wrong: object) -> None:
    with pytest.raises(ValueError, match=r"must (be an integer|hold integers), found") as caught:
        DOORS[door](wrong)
    assert repr(wrong) in str(caught.value)
