"""Trains Stable-Baselines3's SAC by playing, and compares it in new episodes with the best constant and PID.

Every number has a fixed seed. It takes a minute of one core, most of it gradient steps.
"""

from __future__ import annotations

import numpy as np

from agents import FixedBidder, PidBidder, learner, rollout_each
from agents.learning.learner import MarketExperience
from auction_env import TASKS, MarketParams
from auction_env.market.params import LOG_IMPRESSIONS

RATIOS = (
    0.8,
    1.0,
    1.2,
    1.4,
    1.6,
)  # constants over the worth of a conversion; the best is chosen on validation episodes


def main(n_steps: int = 9_216, n_episodes: int = 192) -> None:
    task = TASKS["MaxConversions"]
    params = MarketParams(n_impressions=LOG_IMPRESSIONS)
    market = {"task": task, "params": params}
    sac = learner("sac")
    settings = sac.settings(assignments=[f"run.steps={n_steps}", "run.validate_every=3072"])
    result = sac.train(
        MarketExperience(params=params),
        task=task,
        settings=settings,
        seed=0,
        progress=lambda step, _, found: print(f"step {step:>6,}: {found.numbers}") if found else None,
    )

    held_out = {"seeds": np.arange(1_000_000, 1_000_000 + 48), "advertisers": np.arange(48)}
    constants = rollout_each([FixedBidder(ratio) for ratio in RATIOS], **held_out, **market)
    best = int(np.argmax([played.score(expected=True).mean() for played in constants]))

    advertisers = np.resize(np.arange(48), n_episodes)
    bidders = {
        "SAC": result.bidder,
        f"best constant ({RATIOS[best]})": FixedBidder(RATIOS[best]),
        "PID": PidBidder(),
    }
    played = rollout_each(list(bidders.values()), seeds=np.arange(n_episodes), advertisers=advertisers, **market)
    for name, episodes in zip(bidders, played, strict=True):
        print(f"{name:<28} mean score over {n_episodes} new episodes {episodes.score(expected=True).mean():.4f}")


if __name__ == "__main__":
    main()
