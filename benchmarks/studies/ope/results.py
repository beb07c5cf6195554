"""From the rows of `ope/v1` to what an estimator is worth in a scenario."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import spearmanr

from agents.labels.off_policy.estimate import METHODS
from benchmarks.pages.tables.cells import Cells

Float = NDArray[np.float64]


class Quality(NamedTuple):
    """An estimator in a scenario, at a number of logs; means over the logs that were drawn.

    Attributes:
        scenario, method, n_logs: Which.
        rank_correlation: Spearman's, over the policies.
        bias: Mean over the policies of estimate / live score - 1.
        error: Mean over the policies of |estimate / live score - 1|.
        coverage: Share of the intervals that hold the live score.
        regret: Live score of the best policy minus that of the policy with the best estimate, over the former.
        n_policies, n_draws: What it rests on.
    """

    scenario: str
    method: str
    n_logs: int
    rank_correlation: float
    bias: float
    error: float
    coverage: float
    regret: float
    n_policies: int
    n_draws: int


def qualities(rows: pa.Table) -> list[Quality]:
    """By scenario, estimator and number of logs, in the order of the rows."""
    columns = {name: np.array(rows[name].to_pylist()) for name in rows.column_names}
    found = []
    for scenario in dict.fromkeys(columns["scenario"].tolist()):
        for method in METHODS:
            for n in np.unique(columns["n_logs"]).tolist():
                mask = (columns["scenario"] == scenario) & (columns["method"] == method) & (columns["n_logs"] == n)
                if mask.any():
                    found.append(_quality({name: values[mask] for name, values in columns.items()}))
    return found


def _quality(of_cell: dict[str, NDArray[np.generic]]) -> Quality:
    correlations, regrets = [], []
    draws = np.unique(of_cell["draw"])
    for draw in draws:
        own = of_cell["draw"] == draw
        live: Float = of_cell["live"][own].astype(np.float64)
        estimate: Float = of_cell["estimate"][own].astype(np.float64)
        correlations.append(float(spearmanr(estimate, live).statistic))
        regrets.append(float(1.0 - live[estimate.argmax()] / live.max()))
    live, low, high = (of_cell[name].astype(np.float64) for name in ("live", "low", "high"))
    relative = of_cell["estimate"].astype(np.float64) / live - 1.0
    return Quality(
        scenario=str(of_cell["scenario"][0]),
        method=str(of_cell["method"][0]),
        n_logs=int(of_cell["n_logs"][0]),
        rank_correlation=float(np.mean(correlations)),
        bias=float(relative.mean()),
        error=float(np.abs(relative).mean()),
        coverage=float(((low <= live) & (live <= high)).mean()),
        regret=float(np.mean(regrets)),
        n_policies=len(np.unique(of_cell["policy"])),
        n_draws=len(draws),
    )


def quality_cells(found: list[Quality]) -> list[Cells]:
    """A table a scenario: a row an estimator and number of logs."""
    tables = []
    for scenario in dict.fromkeys(one.scenario for one in found):
        own = [one for one in found if one.scenario == scenario]
        rows = tuple(
            (one.method, f"{one.n_logs:,}", f"{one.rank_correlation:.2f}", f"{100 * one.bias:+.0f} %",
             f"{100 * one.error:.0f} %", f"{100 * one.coverage:.0f} %", f"{100 * one.regret:.1f} %")
            for one in own
        )  # fmt: skip
        tables.append(
            Cells(
                kind="quality",
                title=f"{scenario}: {own[0].n_policies} policies, up to {max(one.n_draws for one in own)} logs each",
                header=("method", "logs", "rank", "bias", "error", "coverage", "regret"),
                rows=rows,
            )
        )
    return tables
