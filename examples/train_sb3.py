"""Trains Stable-Baselines3's PPO by playing and lets the policy that validated best bid in new episodes."""

from __future__ import annotations

import numpy as np

from agents import FixedBidder, learner, rollout
from auction_env import TASKS, MarketParams


def main(n_steps: int = 16_384, n_envs: int = 16) -> None:
    from agents.learning.learner import MarketExperience

    task, params = TASKS["MaxConversions"], MarketParams(n_impressions=4_800)
    ppo = learner("ppo")
    settings = ppo.settings(assignments=[f"run.steps={n_steps}", f"run.n_envs={n_envs}"])
    result = ppo.train(
        MarketExperience(params=params),
        task=task,
        settings=settings,
        progress=lambda step, _, found: print(f"step {step}: {found.numbers}") if found else None,
    )

    episodes = {"seeds": np.arange(48), "advertisers": np.arange(48), "task": task, "params": params}
    for bidder in (result.bidder, FixedBidder(1.3)):
        score = rollout(bidder, **episodes).score(expected=True).mean()
        print(f"{bidder.name}: mean score over 48 episodes {score:.3f}")


if __name__ == "__main__":
    main()
