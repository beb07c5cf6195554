"""The tables of an evaluation, made for 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.pages.plots import one_line
from benchmarks.pages.tables.cells import Cells
from benchmarks.pages.text import p_text
from benchmarks.statistics.bootstrap import Estimate
from benchmarks.statistics.summaries import Comparison, Feasibility, Summary

ALL_TASKS = "all tasks"

_NAME, _TASK = 22, 18  # characters of the names in `narrow`


def score_cells(summaries: Sequence[Summary], tasks: Sequence[str]) -> Cells:
    """A row a task and bidder, the best first; over all tasks first where there are several."""
    rows = []
    for task in _scopes(tasks):
        of_task = sorted((s for s in summaries if s.task == task), key=lambda s: -s.share.value)
        rows += [(s.method, task or ALL_TASKS, _estimate(s.share), f"{s.mean.value:.4g}") for s in of_task]
    n = next(s for s in summaries if s.task == _scopes(tasks)[0]).share.n_episodes
    note = f"share: mean score over that of the best constant in hindsight, 95 % interval; {n} paired episodes"
    return Cells(
        kind="scores", title="Scores", header=("bidder", "task", "share", "score"), rows=tuple(rows), notes=(note,)
    )


def difference_cells(comparisons: Sequence[Comparison], tasks: Sequence[str], against: str) -> Cells:
    """A row a task and other bidder."""
    rows = [
        (c.method, task or ALL_TASKS, _estimate(c.difference, signed=True), p_text(c.p_holm))
        for task in _scopes(tasks)
        for c in comparisons
        if c.task == task
    ]
    note = "paired; scores over all tasks are in units of each task's reference"
    return Cells(
        kind="against",
        title=f"Score minus that of {against}",
        header=("bidder", "task", "difference", "p (Holm)"),
        rows=tuple(rows),
        notes=(note,),
    )


def feasibility_cells(found: Sequence[Feasibility], tasks: Sequence[str]) -> Cells:
    """A row a task and bidder: how many of the episodes are within all limits."""
    rows = [
        (f.method, task, f"{100 * f.feasible.value:.0f} %", _overrun(f))
        for task in tasks
        for f in found
        if f.task == task and f.constraint is None
    ]
    return Cells(
        kind="feasibility",
        title="Within all limits",
        header=("bidder", "task", "episodes", "mean overrun"),
        rows=tuple(rows),
        notes=("overrun: of the worst limit, over all episodes",),
    )


def regret_cells(found: Sequence[Summary], tasks: Sequence[str]) -> Cells:
    """A row a task and bidder, the smallest regret first."""
    rows = [
        (s.method, task or ALL_TASKS, _estimate(s.share), f"{s.mean.value:.4g}")
        for task in _scopes(tasks)
        for s in sorted((s for s in found if s.task == task), key=lambda s: s.share.value)
    ]
    note = "share: regret over the mean score of the best constant in hindsight; below 0 the bidder beats it"
    return Cells(
        kind="regret",
        title="Regret: best constant in hindsight minus score",
        header=("bidder", "task", "share", "regret"),
        rows=tuple(rows),
        notes=(note,),
    )


def welfare_cells(found: Sequence[Summary], revenue: Sequence[Summary], tasks: Sequence[str]) -> Cells:
    """A row a task and bidder: welfare of all advertisers and what they pay, as shares of the efficient welfare."""
    rows = [
        (s.method, task or ALL_TASKS, _estimate(s.share), f"{paid.share.value:.3f}")
        for task in _scopes(tasks)
        for s, paid in sorted(zip(found, revenue, strict=True), key=lambda pair: -pair[0].share.value)
        if s.task == task
    ]
    note = "of all advertisers, as shares of the most that the slots could be worth; what lies between is their surplus"
    return Cells(
        kind="welfare",
        title="Welfare where the bidder is one of all",
        header=("bidder", "task", "welfare", "revenue"),
        rows=tuple(rows),
        notes=(note,),
    )


def narrow(cells: Cells) -> Cells:
    """The table with long names cut in their middle, for a terminal of 80 columns."""
    rows = tuple((one_line(row[0], _NAME), one_line(row[1], _TASK), *row[2:]) for row in cells.rows)
    return replace(cells, rows=rows)


def _scopes(tasks: Sequence[str]) -> tuple[str | None, ...]:
    return (None, *tasks) if len(tasks) > 1 else tuple(tasks)


def _estimate(estimate: Estimate, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"


def _overrun(found: Feasibility) -> str:
    return f"{100 * found.mean_overrun:.1f} %" if np.isfinite(found.mean_overrun) else "-"
