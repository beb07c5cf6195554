"""An observation and a reward of your own, in a single and in a vector environment, and for a bidder."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from agents import Campaigns, TickView
from auction_env.control.advertisers import ControlledTick
from auction_env.envs.own import Observation
from auction_env.tasks import TASKS, Totals

TASK = TASKS["TargetCPA"]


def pace(campaigns: Campaigns, view: TickView) -> np.ndarray:
    """(n, 2) the share of the budget and the share of the ticks that are left."""
    time_left = np.full(len(campaigns.base), 1 - view.tick / campaigns.n_ticks)
    return np.stack([view.budget_left / campaigns.budget, time_left], axis=1)


def score_at_the_end(campaigns: Campaigns, tick: ControlledTick, totals: Totals | None) -> np.ndarray:
    """(n,) 0 but for the last tick, which pays the score of the episode with expected outcomes."""
    return np.zeros(len(campaigns.base)) if totals is None else TASK.score(totals, campaigns.targets, expected=True)


def main() -> None:
    own = {"observation": Observation(names=("budget_left", "time_left"), function=pace, low=0.0, high=1.0)}
    market = {"task": TASK, "n_impressions": 2_000, "reward": score_at_the_end, **own}
    env = gym.make("auction_env/Bidding-v0", **market)
    envs = gym.make_vec("auction_env/Bidding-v0", num_envs=3, vectorization_mode="vector_entry_point", **market)
    print(env.reset(seed=0)[0], envs.reset(seed=0)[0].tolist())
    for _ in range(48):
        reward = envs.step(np.zeros((3, 1), np.float32))[1]
    print(f"scores {np.round(reward, 2)}")


if __name__ == "__main__":
    main()
