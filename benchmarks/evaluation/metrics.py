"""What an evaluation measures beside scores: where it is defined, and its columns of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agents.hindsight.welfare import Welfare, measure_welfare
from auction_env.control.bidder import Bidder
from auction_env.control.simulation import LiveMarket
from auction_env.market.tracing import check_traceable
from auction_env.names import check_name
from benchmarks.evaluation.episodes import EpisodeSet
from benchmarks.evaluation.result import EFFICIENT, METRICS, REVENUE, WELFARE
from benchmarks.suites.storage.rows import Rows


def check_metrics(metrics: Sequence[str], sets: Sequence[EpisodeSet]) -> None:
    """Raises ValueError for an unknown metric, or for welfare in a market that does not know it."""
    for name in metrics:
        check_name("metrics", name, METRICS)
    for of_task in sets if WELFARE in metrics else ():
        if not isinstance(of_task.market, LiveMarket):
            raise ValueError(
                f"`metrics` must not hold {WELFARE!r} for task {of_task.task.name!r}, which is played in a log: what"
                " the others' impressions are worth to them is known in live markets"
            )
        check_traceable(of_task.market.params)


def welfare_columns(bidders: Mapping[str, Bidder], episodes: Mapping[str, Any]) -> Rows:
    """Columns of the rows of some episodes in a live market, bidder by bidder as in `result_rows`.

    Args:
        bidders: By name.
        episodes: Arguments of `agents.rollout`: `EpisodeSet.part`.
    """
    market: LiveMarket = episodes["market"]
    found = [
        measure_welfare(
            bidder,
            seeds=episodes["seeds"],
            advertisers=episodes["advertisers"],
            task=episodes["task"],
            params=market.needed(episodes["task"]).params,
            population=market.population,
            competitors=market.competitors,
            competitor_task=market.competitor_task,
            days=episodes["days"],
            progress=False,
        )
        for bidder in bidders.values()
    ]
    columns = dict(zip(Welfare._fields, (WELFARE, EFFICIENT, REVENUE), strict=True))
    return {column: np.concatenate([getattr(part, name) for part in found]) for name, column in columns.items()}
