"""Known answer for the generative baselines: python -m benchmarks.sanity.generative [dt ...].

In the stationary market one constant multiplier is best. Logs are of constants around it; a learner that reads them
rightly ends near the best constant in hindsight. The share of its value is printed, and an error exits with 1.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from agents import FixedBidder, HindsightBidder, collect, rollout
from auction_env.data import TrajectoryData
from auction_env.tasks import TASKS
from benchmarks.sanity.markets import stationary_market
from vamo import split
from vamo.baselines import ALGORITHMS, read, train_baseline

N_TICKS = 24
LEAST_SHARE = 0.9  # of the best constant in hindsight
_RATIOS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)


def share_of_optimum(algo: str, *, n_days: int = 6, steps: int = 200) -> float:
    """Expected value of the trained learner over that of the best constant in hindsight, on fresh days."""
    market, task = stationary_market(N_TICKS, 200), TASKS["MaxConversions"]
    logs = [
        part
        for index, ratio in enumerate(_RATIOS)
        for part in collect(
            FixedBidder(ratio),
            seeds=range(index * n_days, (index + 1) * n_days),
            task=task,
            first_period=index * n_days,
            params=market.params,
            population=market.population,
        )
    ]
    mine = TrajectoryData.concat([part.select(np.flatnonzero(_of_first(part))) for part in logs])
    training, validation = split({task.name: mine})
    # the planner's window is the whole day
    day = [f"backbone.context={N_TICKS}"] if algo == "diffbid" else []
    settings = read(algo, [f"backbone.n_ticks={N_TICKS}", f"train.steps={steps}", "train.batch_size=64", *day])
    bidder = train_baseline(training[task.name], validation[task.name], settings)
    seeds = np.arange(10_000, 10_016)
    values = [
        rollout(
            player,
            seeds=seeds,
            advertisers=np.zeros(len(seeds), np.int64),
            task=task,
            params=market.params,
            population=market.population,
        )
        .score(expected=True)
        .mean()
        for player in (
            bidder,
            HindsightBidder(task, params=market.params, population=market.population, expected=True),
        )
    ]
    return float(values[0] / values[1])


def _of_first(data: TrajectoryData) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray(data.advertiser[data.episode_starts[:-1]] == 0)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the share of each learner; exits with 1 where one is below `LEAST_SHARE`."""
    shares = {algo: share_of_optimum(algo) for algo in (sys.argv[1:] if argv is None else argv) or ALGORITHMS}
    for algo, share in shares.items():
        print(f"{algo:8} {share:.3f}")
    if min(shares.values()) < LEAST_SHARE:
        sys.exit(1)


if __name__ == "__main__":
    main()
