"""The Stable-Baselines3 agents in a market whose optimum is known.

    python -m benchmarks.studies.known_optimum.sb3 [--algos ppo td3] [--seeds 3]

Trains each on `stationary_market` with few ticks and prints its share of the linear programme's optimum on episodes
that it has not seen, beside that of the constant it starts from (the target CPA). The budget binds well below that.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from agents import Bidder, FixedBidder, learner, lp_reference, rollout, shares_of
from agents.learning.learner import MarketExperience
from agents.sb3.settings import ALGORITHMS
from auction_env import TASKS
from benchmarks.studies.known_optimum.markets import stationary_market

MARKET = stationary_market(n_ticks=12, impressions_per_tick=1000, budget_per_tick=2.0)
STEPS = {"ppo": 30_720, "recurrent_ppo": 30_720, "sac": 15_360, "td3": 15_360, "tqc": 15_360}
TEST_SEEDS = np.arange(12)


def trained(name: str, *, seed: int = 0) -> Bidder:
    """The agent of advertiser 0 on the known market; updates on policy hold one episode a copy, as elsewhere."""
    changes = [f"run.steps={STEPS[name]}", "run.validate_every=1536", "run.validation_episodes=16"]
    if "ppo" in name:
        changes += ["algorithm.n_steps=12", "algorithm.batch_size=256"]
    market = MarketExperience(params=MARKET.params, population=MARKET.population, advertiser=0)
    own = learner(name)
    bidder: Bidder = own.train(
        market, task="MaxConversions", settings=own.settings(assignments=changes), seed=seed
    ).bidder
    return bidder


def share_of_optimum(bidder: Bidder) -> float:
    """Mean share of the linear programme's predicted conversions on the test episodes."""
    market: dict[str, Any] = {"params": MARKET.params, "population": MARKET.population}
    episodes: dict[str, Any] = {"seeds": TEST_SEEDS, "advertisers": np.zeros(len(TEST_SEEDS), np.int64)}
    task = TASKS["MaxConversions"]
    optimum = lp_reference(FixedBidder(), **episodes, task=task, **market)
    return float(np.mean(shares_of(optimum, rollout(bidder, **episodes, task=task, **market))))


def main(argv: Sequence[str] | None = None) -> None:
    """Trains and prints the shares."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.known_optimum.sb3")
    parser.add_argument("--algos", nargs="*", choices=ALGORITHMS, default=list(ALGORITHMS))
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each (default: %(default)s)")
    arguments = parser.parse_args(argv)
    if arguments.seeds < 1:
        parser.error(f"`seeds` must be at least 1, found {arguments.seeds}")
    torch.set_num_threads(1)
    print(f"target CPA as a constant: {share_of_optimum(FixedBidder()):.3f}")
    for name in arguments.algos:
        shares = []
        for seed in range(arguments.seeds):
            shares.append(share_of_optimum(trained(name, seed=seed)))
        each = ", ".join(f"{share:.3f}" for share in shares)
        print(f"{name}: {np.mean(shares):.3f} after {STEPS[name]:,} steps (seeds: {each})", flush=True)


if __name__ == "__main__":
    main()
