"""The offline learners in a market whose optimum is known.

    python -m benchmarks.studies.known_optimum.offline [--algos iql cql] [--seed 0]

Each learns from logs of advertiser 0 in `stationary_market` with few ticks: half by random constants with noise, half
by a noisy PID. Behaviour cloning, which can only be as good as its logs, learns from the noisy PID alone. Prints shares
of the linear programme's optimum on episodes that nobody has seen, beside those of the two logging policies and of the
best constant.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from agents import (
    Bidder,
    FixedBidder,
    NoisyBidder,
    PidBidder,
    RandomMultiplierBidder,
    ScoreBounds,
    lp_reference,
    rollout,
    shares_of,
    to_trajectories,
    train,
)
from agents.offline import ALGORITHMS
from auction_env import TASKS
from auction_env.data import TrajectoryData
from benchmarks.studies.known_optimum.markets import stationary_market

MARKET = stationary_market(n_ticks=12, impressions_per_tick=1000, budget_per_tick=2.0)
TEST_SEEDS, LOG_SEED = np.arange(24), 5_000
RATIOS = np.geomspace(0.25, 1.5, 25)


def logging_policies() -> dict[str, Bidder]:
    """What logs: poor exploration, and a decent rule with noise."""
    return {
        "random": NoisyBidder(RandomMultiplierBidder(0.25, 1.5), level_sd=0.0),
        "noisy-pid": NoisyBidder(PidBidder()),
    }


def known_answer_log(n: int = 200, only: str | None = None) -> TrajectoryData:
    """n trajectories, in equal parts of the logging policies, or all of the one that `only` names."""
    policies = {name: policy for name, policy in logging_policies().items() if only in (None, name)}
    each = n // len(policies)
    parts = []
    for position, (name, policy) in enumerate(policies.items()):
        period = position * each + np.arange(each)
        played = rollout(policy, seeds=LOG_SEED + period, advertisers=np.zeros(each, np.int64), **_market())
        parts.append(to_trajectories(played, period=period, policy=name))
    return TrajectoryData.concat(parts)


def optimum() -> ScoreBounds:
    """What the linear programme reaches on the test episodes."""
    return lp_reference(FixedBidder(), **_episodes())


def share_of_optimum(bidder: Bidder, best: ScoreBounds | None = None) -> float:
    """Mean share of the linear programme's predicted conversions on the test episodes; `best` is `optimum()`."""
    return float(np.mean(shares_of(optimum() if best is None else best, rollout(bidder, **_episodes()))))


def _market() -> dict[str, Any]:
    return {"task": TASKS["MaxConversions"], "params": MARKET.params, "population": MARKET.population}


def _episodes() -> dict[str, Any]:
    return {"seeds": TEST_SEEDS, "advertisers": np.zeros(len(TEST_SEEDS), np.int64), **_market()}


def main(argv: Sequence[str] | None = None) -> None:
    """Trains and prints the shares."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.known_optimum.offline")
    parser.add_argument("--algos", nargs="*", choices=ALGORITHMS, default=list(ALGORITHMS))
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    best, mixed = optimum(), known_answer_log()
    for name, policy in logging_policies().items():
        print(f"log by {name}: {share_of_optimum(policy, best):.3f}")
    print(f"best constant: {max(share_of_optimum(FixedBidder(ratio), best) for ratio in RATIOS):.3f}")
    for algo in arguments.algos:
        data = known_answer_log(only="noisy-pid") if algo == "bc" else mixed
        bidder = train(algo, data, task="MaxConversions", seed=arguments.seed).bidder
        print(f"{algo}: {share_of_optimum(bidder, best):.3f}", flush=True)


if __name__ == "__main__":
    main()
