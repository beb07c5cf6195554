"""The rules against each other: each tuned with the same budget, then played on fresh episodes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from agents import Bidder, HindsightBidder, record_prices, rollout_each
from auction_env import MarketParams, auctionnet_population, get_task
from benchmarks.console import console
from benchmarks.statistics.summaries import Summary, summarise
from benchmarks.suites.methods.tuning import read_spaces, tune
from benchmarks.suites.storage.rows import Rows, concatenate, result_rows

TASKS = ("MaxConversions", "TargetCPA", "TargetROAS", "MaxClicks")
HISTORY_SEED, VALIDATION_SEED, TEST_SEED = 50_000, 100_000, 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesSettings:
    """Sizes of the comparison.

    Attributes:
        n_impressions: Of an episode.
        n_candidates: Tried of every agent.
        n_validation, n_test: Episodes; the advertisers take turns.
        n_history: Market episodes behind the online LP.
    """

    n_impressions: int = 20_000
    n_candidates: int = 9
    n_validation: int = 48
    n_test: int = 96
    n_history: int = 8


def compare_on(task_name: str, settings: RulesSettings, out: Path) -> Rows:
    """Tunes and plays every agent of the search spaces on one task; writes the tunings' records below `out`."""
    task, population = get_task(task_name), auctionnet_population()
    params = MarketParams.for_task(task, n_impressions=settings.n_impressions)
    history = record_prices(params, population, HISTORY_SEED + np.arange(settings.n_history), task=task)
    validation, test = (
        (first + np.arange(n), np.arange(n) % population.n_advertisers)
        for first, n in ((VALIDATION_SEED, settings.n_validation), (TEST_SEED, settings.n_test))
    )

    bidders: dict[str, Bidder] = {}
    for agent, space in read_spaces().items():
        bidders[agent], record = tune(
            agent,
            space,
            n_candidates=settings.n_candidates,
            seed=0,
            task=task,
            params=params,
            fixed={"history": history} if agent == "online-lp" else None,
            seeds=validation[0],
            advertisers=validation[1],
        )
        record.save(out / f"{task_name}-{agent}.json")
    best = HindsightBidder(task, params=params, expected=True)
    *played, reference = rollout_each(
        [*bidders.values(), best], seeds=test[0], advertisers=test[1], task=task, params=params
    )
    return result_rows(dict(zip(bidders, played, strict=True)), reference, suite="rules")


def run(out: Path, settings: RulesSettings | None = None, tasks: Sequence[str] = TASKS) -> tuple[Summary, ...]:
    """The comparison on every task: shares of the best constant multiplier, of expected scores."""
    settings = settings or RulesSettings()
    out.mkdir(parents=True, exist_ok=True)
    parts = []
    for task in tasks:
        start = time.process_time()
        parts.append(compare_on(task, settings, out))
        console.print(f"{task}: {time.process_time() - start:,.0f} s of CPU")
    summaries = summarise(concatenate(parts), metric="score_expected")
    console.print(share_table(summaries, tasks))
    return summaries


def share_table(summaries: Sequence[Summary], tasks: Sequence[str]) -> Table:
    """Shares of the reference: a row a method, a column a task."""
    shares = {(summary.method, summary.task): summary.share for summary in summaries}
    table = Table("agent", *tasks, title="share of the best constant multiplier in hindsight")
    for method in dict.fromkeys(summary.method for summary in summaries):
        of_tasks = [shares[method, task] for task in tasks]
        table.add_row(method, *(f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}]" for share in of_tasks))
    return table


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the comparison from the command line: `python -m benchmarks.studies.rules`."""
    parser = argparse.ArgumentParser(description="Compares the rules, each tuned with the same budget.")
    parser.add_argument("--out", type=Path, default=Path("runs/rules"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, nothing more")
    arguments = parser.parse_args(argv)
    quick = RulesSettings(n_impressions=1_000, n_candidates=2, n_validation=4, n_test=4, n_history=1)
    run(arguments.out, quick if arguments.quick else None)


if __name__ == "__main__":
    main()
