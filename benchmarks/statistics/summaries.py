"""Statistics of benchmark results, computed from result rows only: summaries, comparisons, feasibility.

The estimates and how their intervals come about: `benchmarks.statistics.bootstrap`; pairing:
`benchmarks.statistics.pairing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from auction_env.tasks import CONSTRAINT_KINDS
from benchmarks.statistics.bootstrap import (
    Bootstrap,
    Draws,
    Estimate,
    delta_m,
    delta_m_estimate,
    difference,
    draw,
    holm,
    improvement,
    interquartile_mean,
    mean,
    p_value,
    share_of_reference,
    wilson,
)
from benchmarks.statistics.pairing import KEY_COLUMNS, UNTRAINED, Paired, Rows, columns, in_order, pair

Float = NDArray[np.float64]

__all__ = [
    "Bootstrap",
    "Comparison",
    "Estimate",
    "Feasibility",
    "Summary",
    "as_table",
    "compare",
    "delta_m",
    "delta_m_estimate",
    "difference",
    "draw",
    "feasibility",
    "holm",
    "improvement",
    "interquartile_mean",
    "mean",
    "p_value",
    "pair",
    "share_of_reference",
    "summarise",
    "summary",
    "wilson",
]

RATIO_COLUMNS = {name: f"{name}_ratio" for name in ("budget", *CONSTRAINT_KINDS)}
"""Constraint -> column of realised over limit; rows may lack those of constraints that none of their tasks has."""
RATIO_TOLERANCE = 1e-9  # summation error of a budget spent to the last cent is not an overrun


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Scores of a method on a task; `task` None averages the tasks, in units of each one's mean reference.

    `share` is the method's mean over the mean of the hindsight reference, averaged over the tasks.
    """

    method: str
    task: str | None
    mean: Estimate
    interquartile_mean: Estimate
    share: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A method against a baseline on the same episodes; `task` None as in `Summary`.

    It is exploratory: nobody named it before the suite was run. What was is `benchmarks.statistics.contrasts`.

    Attributes:
        method: The method.
        baseline: What it is compared with.
        task: Name, or None for the average over the tasks.
        difference: Mean of method minus baseline.
        improvement: Probability that the method scores higher in an episode, draws counting half: the paired
            form of arXiv 2108.13264's, over all pairs of training seeds, averaged over the tasks.
        p_value: Two-sided p value of no difference, by `test`.
        p_holm: `p_value` adjusted for all comparisons made together.
        test: `bootstrap` or `wilcoxon`.
        is_exploratory: True, for files.
    """

    method: str
    baseline: str
    task: str | None
    difference: Estimate
    improvement: Estimate
    p_value: float
    p_holm: float
    test: str
    is_exploratory: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Feasibility:
    """How often, and by how much, a method breaks a constraint of a task.

    Attributes:
        method: The method.
        task: The task.
        constraint: A key of `RATIO_COLUMNS`, or None for all that the task has at once.
        feasible: Share of the episodes with a ratio of at most 1, and its Wilson interval for as many trials
            as there are paired episodes (training seeds on the same episodes do not narrow it).
        mean_overrun: Mean of max(ratio - 1, 0) over the episodes with a finite ratio, NaN if none has; the
            largest of the constraints where `constraint` is None.
        unbounded: Share of the episodes with an infinite ratio, such as money spent without a conversion.
    """

    method: str
    task: str
    constraint: str | None
    feasible: Estimate
    mean_overrun: float
    unbounded: float


def summarise(rows: Rows, metric: str = "score", bootstrap: Bootstrap | None = None) -> tuple[Summary, ...]:
    """Scores of every method, per task and, if there are several tasks, over all of them (`task` None)."""
    paired = pair(rows, metric)
    draws = draw(paired, bootstrap)
    return tuple(summary(paired, draws, method, task) for task in _tasks_and_all(paired) for method in paired.methods)


def summary(paired: Paired, draws: Draws, method: str, task: str | None) -> Summary:
    """Scores of a method on a task, or over all tasks."""
    scored = paired if task is not None else paired.normalised()
    return Summary(
        method=method,
        task=task,
        mean=mean(scored, method, draws, task),
        interquartile_mean=interquartile_mean(scored, method, draws, task),
        share=share_of_reference(paired, method, draws, task),
    )


def compare(
    rows: Rows,
    baselines: Sequence[str],
    metric: str = "score",
    bootstrap: Bootstrap | None = None,
    test: Literal["bootstrap", "wilcoxon"] = "bootstrap",
) -> tuple[Comparison, ...]:
    """Every other method against each baseline, per task and over all tasks; Holm's correction spans all."""
    paired = pair(rows, metric)
    draws = draw(paired, bootstrap)
    normalised = paired.normalised() if len(paired.tasks) > 1 else paired
    keys = [
        (method, baseline, task)
        for baseline in baselines
        for task in _tasks_and_all(paired)
        for method in paired.methods
        if method != baseline
    ]
    of_task = [paired if task is not None else normalised for _, _, task in keys]
    p_values = [
        p_value(scored, method, baseline, draws, task, test)
        for scored, (method, baseline, task) in zip(of_task, keys, strict=True)
    ]
    return tuple(
        Comparison(
            method=method,
            baseline=baseline,
            task=task,
            difference=difference(scored, method, baseline, draws, task),
            improvement=improvement(scored, method, baseline, draws, task),
            p_value=p,
            p_holm=float(p_adjusted),
            test=test,
        )
        for scored, (method, baseline, task), p, p_adjusted in zip(of_task, keys, p_values, holm(p_values), strict=True)
    )


def feasibility(rows: Rows, level: float = 0.95) -> tuple[Feasibility, ...]:
    """Feasibility of every method per task, for each constraint that the task has and for all at once.

    Raises:
        ValueError: A ratio is negative, or NaN (no limit) in only some episodes of a task.
    """
    table = columns(rows, (*KEY_COLUMNS, *(name for name in RATIO_COLUMNS.values() if name in rows)))
    out = []
    for task in in_order(table["task"]):
        of_task = {name: column[table["task"] == task] for name, column in table.items()}
        ratios = _ratios(task, of_task)
        for method in in_order(table["method"]):
            mine = of_task["method"] == method
            n_episodes = len(set(zip(of_task["seed"][mine], of_task["advertiser"][mine], strict=True)))
            train_seeds = np.unique(of_task["train_seed"][mine])
            for constraint, ratio in ratios.items():
                share = float(np.mean(ratio[mine] <= 1 + RATIO_TOLERANCE))
                low, high = wilson(share, n_episodes, level)
                finite = ratio[mine][np.isfinite(ratio[mine])]
                feasible = Estimate(
                    value=share,
                    low=low,
                    high=high,
                    n_episodes=n_episodes,
                    n_train_seeds=int(np.count_nonzero(train_seeds != UNTRAINED)),
                )
                overrun = float(np.maximum(finite - 1, 0).mean()) if len(finite) else float("nan")
                out.append(
                    Feasibility(
                        method=method,
                        task=task,
                        constraint=constraint,
                        feasible=feasible,
                        mean_overrun=overrun,
                        unbounded=float(np.mean(np.isinf(ratio[mine]))),
                    )
                )
    return tuple(out)


def as_table(items: Sequence[Summary | Comparison | Feasibility]) -> dict[str, list[Any]]:
    """Flat columns for a file: an estimate `mean` becomes `mean`, `mean_low`, `mean_high`, `mean_n_...`."""
    out: dict[str, list[Any]] = {}
    for item in items:
        for field in fields(item):
            value = getattr(item, field.name)
            if isinstance(value, Estimate):
                for part in fields(value):
                    name = field.name if part.name == "value" else f"{field.name}_{part.name}"
                    out.setdefault(name, []).append(getattr(value, part.name))
            else:
                out.setdefault(field.name, []).append(value)
    return out


def _ratios(task: str, of_task: dict[str, NDArray[Any]]) -> dict[str | None, Float]:
    """Ratios (n_rows,) of a task's rows by constraint, and under None the largest of them."""
    ratios: dict[str | None, Float] = {}
    for constraint, name in RATIO_COLUMNS.items():
        if name not in of_task:
            continue
        ratio = np.asarray(of_task[name], np.float64)
        absent = np.isnan(ratio)
        if absent.any() and not absent.all():
            rule = f"`{name}` of task {task!r} must be NaN in all rows or in none"
            raise ValueError(f"{rule}, found {np.count_nonzero(absent)} of {len(ratio)}")
        if (ratio < 0).any():
            raise ValueError(f"`{name}` of task {task!r} must not be negative, found {ratio.min()}")
        if not absent.all():
            ratios[constraint] = ratio
    if not ratios:
        raise ValueError(f"task {task!r} must have a ratio that is not NaN, found none")
    ratios[None] = np.max(list(ratios.values()), axis=0)
    return ratios


def _tasks_and_all(paired: Paired) -> tuple[str | None, ...]:
    return (*paired.tasks, None) if len(paired.tasks) > 1 else paired.tasks
