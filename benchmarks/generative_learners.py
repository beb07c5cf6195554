"""Compares the generative baselines and `vamo` on small logs of single tasks: python -m benchmarks.generative_learners.

Every policy has as many candidates on validation episodes as the PID; test episodes are fresh and the same for all.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents import Bidder, Episodes, HindsightBidder, NoisyBidder, PidBidder, collect, rollout
from agents.bidder import Campaigns, TickView
from auction_env import MarketParams, auctionnet_population
from auction_env.data import TrajectoryData
from auction_env.files import write_atomically
from auction_env.tasks import TASKS, Task
from benchmarks.experiment import ASKED_QUANTILES, PID, EpisodeSet, asked_candidates, pid_candidates
from benchmarks.runner import Rows, concatenate, result_rows
from benchmarks.statistics import as_table, compare, summarise
from benchmarks.tuning import choose
from vamo import Config, override, split, train
from vamo.baselines import ALGORITHMS, read, train_baseline


class _Timed:
    """A bidder that measures its decisions."""

    def __init__(self, bidder: Bidder) -> None:
        self._bidder, self.name, self.seconds, self.n = bidder, bidder.name, 0.0, 0

    def reset(self, campaigns: Campaigns) -> None:
        """As the bidder."""
        self._bidder.reset(campaigns)

    def act(self, view: TickView) -> NDArray[np.float64]:
        """As the bidder, on the clock."""
        start = time.perf_counter()
        out = self._bidder.act(view)
        self.seconds += time.perf_counter() - start
        self.n += 1
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is computed."""

    n_periods: int  # logged, of 48 trajectories each
    n_impressions: int
    n_episodes: int  # for tuning, and again for the test
    n_seeds: int
    steps: int


VAMO = "vamo (hindsight)"


def _learned(label: str, logs: TrajectoryData, task: Task, seed: int, steps: int) -> list[Bidder]:
    """The candidates of a policy trained on the logs."""
    training, validation = split({task.name: logs})
    if label == VAMO:
        config = override(Config(), ["train.method=single", f"train.seed={seed}", f"train.steps={steps}"])
        return asked_candidates(train(training, validation, config, name=label).bidder)
    settings = read(label, [f"train.seed={seed}", f"train.steps={steps}"])
    bidder = train_baseline(training[task.name], validation[task.name], settings)
    return [bidder.asking(quantile=quantile) for quantile in ASKED_QUANTILES]


def run(task: Task, labels: Sequence[str], sizes: Sizes) -> tuple[Rows, list[dict[str, float | str]]]:
    """Result rows of a task, and training seconds and milliseconds a decision of every policy."""
    params, population = (
        dataclasses.replace(MarketParams.for_task(task), n_impressions=sizes.n_impressions),
        auctionnet_population(),
    )
    logger = NoisyBidder(PidBidder())
    seeds = range(sizes.n_periods)
    logs = TrajectoryData.concat(list(collect(logger, seeds=seeds, task=task, params=params, population=population)))
    n = population.n_advertisers
    validation = EpisodeSet.draw(sizes.n_episodes, first_seed=100_000, n_advertisers=n)
    test = EpisodeSet.draw(sizes.n_episodes, first_seed=200_000, n_advertisers=n)

    def tuned(candidates: list[Bidder]) -> Bidder:
        return choose(
            candidates, seeds=validation.seeds, advertisers=validation.advertisers, task=task, params=params,
            population=population,
        ).bidder  # fmt: skip

    def play(bidder: Bidder) -> Episodes:
        return rollout(
            bidder, seeds=test.seeds, advertisers=test.advertisers, task=task, params=params, population=population
        )

    reference = play(HindsightBidder(task, params=params, population=population, expected=True))
    parts = [result_rows({PID: play(tuned(pid_candidates()))}, reference, suite="generative")]
    costs: list[dict[str, float | str]] = []
    for label in labels:
        for seed in range(sizes.n_seeds):
            start = time.perf_counter()
            candidates = _learned(label, logs, task, seed, sizes.steps)
            seconds = time.perf_counter() - start
            timed = _Timed(tuned(candidates))
            parts.append(result_rows({label: play(timed)}, reference, suite="generative", train_seed=seed))
            latency = 1000 * timed.seconds / timed.n
            costs.append({"task": task.name, "method": label, "seed": seed, "train_s": seconds, "tick_ms": latency})
    return concatenate(parts), costs


def main(argv: Sequence[str] | None = None) -> None:
    """Prints shares of the hindsight constant with 95 % intervals, training seconds and decision latency."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["MaxConversions", "TargetCPA"], choices=sorted(TASKS))
    parser.add_argument("--methods", nargs="+", default=[*ALGORITHMS, VAMO], choices=[*ALGORITHMS, VAMO])
    for name, value in (("periods", 21), ("impressions", 20_000), ("episodes", 48), ("seeds", 3), ("steps", 300)):
        parser.add_argument(f"--{name}", type=int, default=value, help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="JSON of the rows, summaries and costs")
    given = parser.parse_args(argv)
    sizes = Sizes(
        n_periods=given.periods, n_impressions=given.impressions, n_episodes=given.episodes, n_seeds=given.seeds,
        steps=given.steps,
    )  # fmt: skip
    results = [run(TASKS[name], given.methods, sizes) for name in given.tasks]
    rows = concatenate([part for part, _ in results])
    costs = [line for _, lines in results for line in lines]
    summaries, comparisons = summarise(rows, "score_expected"), compare(rows, [PID], "score_expected")
    for line in summaries:
        share = line.share
        mine = [c for c in costs if c["method"] == line.method and line.task in (None, c["task"])]
        train_s, tick_ms = (np.mean([c[key] for c in mine]) if mine else np.nan for key in ("train_s", "tick_ms"))
        task = line.task or "all"
        print(
            f"{task:16} {line.method:18} share {share.value:.3f} [{share.low:.3f}, {share.high:.3f}] "
            f"train {train_s:6.1f} s  tick of {sizes.n_episodes} campaigns {tick_ms:7.2f} ms"
        )
    if given.out is not None:
        record = {"summaries": as_table(summaries), "comparisons": as_table(comparisons), "costs": costs}
        write_atomically(given.out, json.dumps(record, indent=1).encode())


if __name__ == "__main__":
    main()
