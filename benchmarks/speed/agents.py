"""Speed of playing and training agents on the market."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np

from agents import Bidder, FixedBidder, HindsightBidder, PidBidder, rollout, rollout_each
from auction_env import TASKS, Funnel, MarketParams
from benchmarks.speed.environment import N_COPIES, N_IMPRESSIONS
from benchmarks.speed.measure import Measurement, Row, median_seconds, seconds_of


def side_by_side_rows(quick: bool) -> Iterator[Row]:
    """What `rollout_each` saves: a tuning of 12 candidates that see the same episodes."""
    bidders: list[Bidder] = [PidBidder(start) for start in np.linspace(0.5, 1.5, 12)]
    n_episodes, params = 8 if quick else 24, MarketParams(n_impressions=4800, funnel=Funnel())
    episodes: dict[str, Any] = {"seeds": np.arange(n_episodes), "advertisers": np.arange(n_episodes)}
    episodes |= {"task": TASKS["TargetCPA"], "params": params}
    n_runs = 1 if quick else 7
    apart = median_seconds(lambda: [rollout(bidder, **episodes) for bidder in bidders], n_runs)
    together = median_seconds(lambda: rollout_each(bidders, **episodes), n_runs)
    yield Row(
        name="side_by_side_speedup",
        value=apart / together,
        unit="x",
        reference=f"12 PIDs on {n_episodes} episodes of 4,800 impressions with a funnel, one after the other:"
        f" {apart:.2f} s",
        bound=f"{len(bidders)}x: everything done once, auctions included",
        bound_value=float(len(bidders)),
        more_is_better=True,
    )


def hindsight_rows(quick: bool) -> Iterator[Row]:
    """The search for the best constant of 64 episodes, with `quick` of 16."""
    n = 16 if quick else N_COPIES
    search, constant = (_episode_seconds(bidder, n, quick) for bidder in (HindsightBidder(), FixedBidder()))
    yield Row(
        name="hindsight_reference_s",
        value=search,
        unit="s",
        reference=f"best constant of {n} episodes of {N_IMPRESSIONS:,} impressions; 18 plays with a constant, "
        f"one after the other: {18 * constant:.2f} s",
        bound=f"{constant:.2f} s: every episode played once",
        reference_value=18 * constant,
        bound_value=constant,
    )


def learned_rows(quick: bool) -> Iterator[Row]:
    """Episodes of the default model and of a transformer; what they have learned does not change their arithmetic."""
    if importlib.util.find_spec("torch") is None:
        return
    from benchmarks.speed.inference import TRANSFORMER, untrained_bidder
    from vamo.config import ModelConfig

    n = 16 if quick else N_COPIES
    constant = _episode_seconds(FixedBidder(), n, quick)
    models = {"learned": ("default model", ModelConfig()), "transformer": ("a transformer", TRANSFORMER)}
    for name, (what, model) in models.items():
        yield Row(
            name=f"{name}_rollout_s",
            value=_episode_seconds(untrained_bidder(model), n, quick),
            unit="s",
            reference=f"{n} episodes of {N_IMPRESSIONS:,} impressions, {what}, one controlled advertiser in each",
            bound=f"{constant:.2f} s: the same episodes with a constant multiplier",
            bound_value=constant,
        )


def _episode_seconds(bidder: Bidder, n: int, quick: bool) -> float:
    """Of n episodes at once."""
    episodes: dict[str, Any] = {"seeds": np.arange(n), "advertisers": np.arange(n) % 48, "task": TASKS["TargetCPA"]}
    params = MarketParams(n_impressions=N_IMPRESSIONS)
    return median_seconds(lambda: rollout(bidder, **episodes, params=params, progress=False), 1 if quick else 5)


def ppo_rows(quick: bool) -> Iterator[Row]:
    """The environment's share of the time of PPO with its default settings, a rollout being an episode a copy."""
    if importlib.util.find_spec("stable_baselines3") is None:
        return
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
    seconds = seconds_of(lambda: model.learn((1 if quick else 2) * n_ticks * N_COPIES))
    yield Row(
        name="ppo_env_share",
        value=spent / seconds,
        unit="of 1",
        reference=f"PPO's default settings on {N_COPIES} copies; the whole: {seconds:.1f} s",
        bound="0: an environment that costs nothing",
    )


MEASUREMENTS = (
    Measurement(what="tuning side by side", rows=side_by_side_rows),
    Measurement(what="hindsight reference", rows=hindsight_rows),
    Measurement(what="learned agents", rows=learned_rows),
    Measurement(what="PPO", rows=ppo_rows),
)
