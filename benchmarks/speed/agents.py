"""Speed of playing and training agents on the market."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np

from agents import Bidder, PidBidder, rollout, rollout_each
from auction_env import TASKS, Funnel, MarketParams
from benchmarks.speed.environment import N_COPIES, N_IMPRESSIONS
from benchmarks.speed.measure import Row, median_seconds, seconds_of


def agents_rows(quick: bool) -> Iterator[Row]:
    """What a tuning saves by playing its candidates side by side, and the environment's share of PPO's time."""
    yield _side_by_side_row(quick)
    if importlib.util.find_spec("stable_baselines3") is not None:
        yield _ppo_row(quick)


def _side_by_side_row(quick: bool) -> Row:
    """What `rollout_each` saves: a tuning of 12 candidates that see the same episodes."""
    bidders: list[Bidder] = [PidBidder(start) for start in np.linspace(0.5, 1.5, 12)]
    n_episodes, params = 24, MarketParams(n_impressions=4800, funnel=Funnel())
    episodes: dict[str, Any] = {"seeds": np.arange(n_episodes), "advertisers": np.arange(n_episodes)}
    episodes |= {"task": TASKS["TargetCPA"], "params": params}
    n_runs = 3 if quick else 7
    apart = median_seconds(lambda: [rollout(bidder, **episodes) for bidder in bidders], n_runs)
    together = median_seconds(lambda: rollout_each(bidders, **episodes), n_runs)
    return Row(
        name="side_by_side_speedup",
        value=apart / together,
        unit="x",
        reference=f"12 PIDs on 24 episodes of 4,800 impressions with a funnel, one after the other: {apart:.2f} s",
        bound=f"{len(bidders)}x: everything done once, auctions included",
    )


def _ppo_row(quick: bool) -> Row:
    """The environment's share of the time of PPO with its default settings, a rollout being an episode a copy."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecNormalize

    from agents.sb3.vector_env import NativeVecEnv

    spent = 0.0

    class Timed(NativeVecEnv):
        def step_wait(self) -> Any:
            nonlocal spent
            start = time.perf_counter()
            outcome = super().step_wait()
            spent += time.perf_counter() - start
            return outcome

    vector = gymnasium.make_vec(
        "auction_env/Bidding-v0",
        num_envs=N_COPIES,
        n_impressions=N_IMPRESSIONS,
        autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
    )
    n_ticks = MarketParams().n_ticks
    model = PPO("MlpPolicy", VecNormalize(Timed(vector)), n_steps=n_ticks, seed=0, device="cpu")
    model.learn(n_ticks * N_COPIES)  # not counted: compilation and first calls
    spent = 0.0
    seconds = seconds_of(lambda: model.learn((1 if quick else 3) * n_ticks * N_COPIES))
    return Row(
        name="ppo_env_share",
        value=spent / seconds,
        unit="of the time",
        reference=f"PPO's default settings on {N_COPIES} copies; the whole: {seconds:.1f} s",
        bound="0: an environment that costs nothing",
    )
