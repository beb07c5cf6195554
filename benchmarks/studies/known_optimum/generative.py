"""Known answer for the generative baselines: python -m benchmarks.studies.known_optimum.generative [dt ...].

In the stationary market one constant multiplier is best. The logs are of constants spread around the target CPA, with
some noise from tick to tick; most of them are far from the best. A learner that reads them rightly earns far more than
they did. Printed are shares of the best constant in hindsight; an error exits with 1 where one falls short.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch

from agents import Bidder, Episodes, FixedBidder, HindsightBidder, NoisyBidder, rollout
from agents.rollouts import to_trajectories
from auction_env.data import TrajectoryData
from auction_env.tasks import TASKS
from benchmarks.studies.known_optimum.markets import stationary_market
from vamo import split
from vamo.baselines import ALGORITHMS
from vamo.baselines.bidder import GenerativeBidder
from vamo.baselines.training import GenerativeLearner

N_TICKS = 12
LEAST_SHARE = 0.8  # of the best constant in hindsight; the logs earn 0.7
STEPS = {"dt": 200, "cdt": 200, "gave": 200, "gas": 200, "qga": 200, "diffbid": 800}
ASKED = {"diffbid": 0.8}  # quantile of the logged returns; of the others the best logged one
_MARKET = stationary_market(N_TICKS, 400, budget_per_tick=2.0)
_TASK = TASKS["MaxConversions"]


def logged_days(n: int = 128) -> TrajectoryData:
    """Days of advertiser 0, which alone is controlled: all others bid as they do in the test."""
    return to_trajectories(play(NoisyBidder(FixedBidder(), level_sd=0.3, tick_sd=0.1), 0, n), period=np.arange(n))


def trained(algo: str, logs: TrajectoryData, *, steps: int | None = None, seed: int = 0) -> GenerativeBidder:
    """The learner of the logs, with few ticks and small batches."""
    sizes = [f"backbone.n_ticks={N_TICKS}", "train.batch_size=64", f"agent.quantile={ASKED.get(algo, 1.0)}"]
    if algo == "diffbid":  # its window is the whole day
        sizes.append(f"backbone.context={N_TICKS}")
    learner = GenerativeLearner(algo)
    settings = learner.settings(assignments=[*sizes, f"train.steps={STEPS[algo] if steps is None else steps}"])
    training, validation = split({_TASK.name: logs})
    return learner.train(training, validation=validation, settings=settings, seed=seed).bidder


def play(bidder: Bidder, first_seed: int, n: int) -> Episodes:
    """n days of advertiser 0."""
    return rollout(
        bidder,
        seeds=np.arange(first_seed, first_seed + n),
        advertisers=np.zeros(n, np.int64),
        task=_TASK,
        params=_MARKET.params,
        population=_MARKET.population,
    )


def share_of_optimum(bidder: Bidder, *, n_days: int = 32) -> float:
    """Expected value over that of the best constant in hindsight, on fresh days."""
    best = HindsightBidder()
    mine, optimum = (play(player, 10_000, n_days).score(expected=True).mean() for player in (bidder, best))
    return float(mine / optimum)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the share of each learner; exits with 1 where one is below `LEAST_SHARE`."""
    torch.set_num_threads(1)
    logs = logged_days()
    print(f"{'logs':8} {share_of_optimum(NoisyBidder(FixedBidder(), level_sd=0.3, tick_sd=0.1)):.3f}", flush=True)
    shares = []
    for algo in (sys.argv[1:] if argv is None else argv) or ALGORITHMS:
        shares.append(share_of_optimum(trained(algo, logs)))
        print(f"{algo:8} {shares[-1]:.3f}", flush=True)
    if min(shares) < LEAST_SHARE:
        sys.exit(1)


if __name__ == "__main__":
    main()
