"""Tables of one variant of a suite: scores, tasks, comparisons, feasibility."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.pages.tables.cells import Cells, estimate
from benchmarks.pages.text import p_text
from benchmarks.statistics.analysis import VariantAnalysis
from benchmarks.statistics.summaries import Comparison
from benchmarks.suites.storage.store import SuiteRecord

RECOVERED_NOTE = (
    "Recovered: share of the way from uniform sharing to the oracle, (method - uniform) / (oracle - uniform)."
)
EXPLORATORY = "exploratory"
"""Marks every comparison that was not registered before the suite was run."""


def score_cells(record: SuiteRecord, analysis: VariantAnalysis, variant: str, only: Sequence[str] = ()) -> Cells:
    """Share of the hindsight reference over all tasks with its interval, interquartile mean and delta_m.

    Also, where there are any: the share of sampled scores, and the recovered share.
    """
    sampled, recovered = analysis.sampled, analysis.recovered
    rows = []
    for method in listed(analysis, only):
        over_all, deviation = analysis.summary(method, None), analysis.deviation[method]
        rows.append(
            (
                record.labels.get(method, method),
                estimate(over_all.share, 3),
                _iqm(analysis, method),
                "-" if np.isnan(deviation) else f"{deviation:.3f}",
                "-" if method not in analysis.delta_m else estimate(analysis.delta_m[method], 1),
                *([f"{sampled[method].value:.3f}"] if sampled else []),
                *([estimate(recovered[method], 2) if method in recovered else "-"] if recovered else []),
            )
        )
    return Cells(
        kind="scores",
        title=f"{record.title} ({record.id}): {variant}",
        header=(
            "method",
            "mean score",
            "IQM",
            "sd of seeds",
            "delta_m %",
            *(["sampled"] if sampled else []),
            *(["recovered"] if recovered else []),
        ),
        rows=tuple(rows),
        notes=_notes(record, analysis),
    )


def _notes(record: SuiteRecord, analysis: VariantAnalysis) -> tuple[str, ...]:
    """What the scores rest on, how to read them, what is missing."""
    notes = basis(analysis)
    if analysis.delta_m:
        notes.append(f"delta_m counts against {record.labels[record.baseline]}; lower is better.")
    if analysis.sampled:
        notes.append("Sampled: the mean score of sampled outcomes, over the expected score of that constant.")
    if analysis.recovered:
        notes.append(RECOVERED_NOTE)
    alike: dict[str, list[str]] = {}
    for lack in analysis.missing:
        why = f": {lack.errors[0]}" if lack.errors else ""
        label = record.labels.get(lack.method, lack.method)
        alike.setdefault(f"training seeds {', '.join(map(str, lack.seeds))}{why}", []).append(label)
    for seeds, labels in alike.items():
        named = labels[0] if len(labels) == 1 else f"{'; '.join(labels[:-1])} and {labels[-1]}"
        notes.append(f"Incomplete: {named} {'lacks' if len(labels) == 1 else 'lack'} {seeds}")
    return tuple(notes)


def basis(analysis: VariantAnalysis) -> list[str]:
    """What the scores rest on."""
    n_seeds = _n_seeds(analysis)
    n_episodes = analysis.summary(analysis.methods[0], None).mean.n_episodes
    notes = [
        "Score over that of the best constant multiplier in hindsight, with 95 % intervals;"
        f" {n_seeds} training seed{'' if n_seeds == 1 else 's'}, {n_episodes} paired test episodes."
    ]
    few = few_seeds(analysis)
    return [*notes, few] if few else notes


def _n_seeds(analysis: VariantAnalysis) -> int:
    """Training seeds of the method that has most; 0 where nothing was trained."""
    return max(analysis.summary(method, None).mean.n_train_seeds for method in analysis.methods)


def few_seeds(analysis: VariantAnalysis) -> str:
    """What to bear in mind where there are few training seeds; empty with 10, or where nothing was trained."""
    n_seeds = _n_seeds(analysis)
    if n_seeds == 1:
        return (
            "Intervals and p values are over episodes, for these very policies: one training seed says nothing about"
            " others. Published tables have 10."
        )
    return f"{n_seeds} training seeds are few: published tables have 10." if 1 < n_seeds < 10 else ""


def task_cells(record: SuiteRecord, analysis: VariantAnalysis, variant: str, only: Sequence[str] = ()) -> Cells:
    """Shares of the hindsight reference by task."""
    header, rows = by_task(
        record, listed(analysis, only), analysis.tasks, lambda m, task: f"{analysis.summary(m, task).share.value:.3f}"
    )
    return Cells(kind="tasks", title=f"By task: {variant}", header=header, rows=rows)


def feasibility_cells(record: SuiteRecord, analysis: VariantAnalysis, variant: str) -> Cells:
    """Share of episodes within all limits."""
    share = {(f.method, f.task): f.feasible.value for f in analysis.feasibility if f.constraint is None}
    header, rows = by_task(record, analysis.methods, analysis.tasks, lambda m, task: f"{share[m, task]:.0%}")
    return Cells(kind="feasibility", title=f"Episodes within all limits: {variant}", header=header, rows=rows)


def comparison_cells(record: SuiteRecord, analysis: VariantAnalysis, variant: str) -> Cells:
    """Our methods against the best baseline of each task."""
    rows = []
    for found in analysis.comparisons:
        rows.append(
            (
                record.labels.get(found.method, found.method),
                found.task or "all",
                record.labels.get(found.baseline, found.baseline),
                estimate(found.difference, 3),
                estimate(found.improvement, 2),
                p_text(found.p_holm),
            )
        )
    header = ("method", "task", "best baseline", "difference", "P(improvement)", "p (Holm)")
    note = (
        "Exploratory: nobody registered these comparisons before the suite was run. Differences are over the mean score"
        " of the hindsight constant. The baseline is the best by its mean on the same test episodes, which flatters it."
    )
    return Cells(
        kind="comparisons",
        title=f"Against the best baseline ({EXPLORATORY}): {variant}",
        header=header,
        rows=tuple(rows),
        notes=(note,),
    )


def against_cells_of(record: SuiteRecord, found: Sequence[Comparison], title: str) -> Cells:
    """Differences of a variant's methods from one of them, by task and on average."""
    of = {(comparison.method, comparison.task or "all"): comparison for comparison in found}
    methods, scopes = (tuple(dict.fromkeys(part)) for part in zip(*of, strict=True))
    header, rows = by_task(record, methods, scopes, lambda method, task: _difference(of[method, task]))
    note = (
        "Exploratory. Paired differences over the mean score of the hindsight constant, with 95 % intervals; * p < 0.05"
        f" after Holm correction over these {len(found)} comparisons."
    )
    return Cells(kind="against", title=title, header=header, rows=rows, notes=(note,))


def _difference(found: Comparison) -> str:
    d = found.difference
    return f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]{'*' if found.p_holm < 0.05 else ''}"


def listed(analysis: VariantAnalysis, only: Sequence[str]) -> tuple[str, ...]:
    """The methods of `only`, or all, in the suite's order."""
    for name in only:
        if name not in analysis.methods:
            raise ValueError(f"`only` must be methods with rows, of {list(analysis.methods)}, found {name!r}")
    return tuple(name for name in analysis.methods if not only or name in only)


def by_task(
    record: SuiteRecord, methods: Sequence[str], tasks: Sequence[str], cell: Callable[[str, str], str]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Header and rows of a table of methods by tasks; there are as many columns as there are of the fewer ones."""
    labels = [record.labels.get(method, method) for method in methods]
    if len(tasks) > len(methods):
        return ("task", *labels), tuple((task, *(cell(method, task) for method in methods)) for task in tasks)
    rows = ((label, *(cell(method, task) for task in tasks)) for label, method in zip(labels, methods, strict=True))
    return ("method", *tasks), tuple(rows)


def _iqm(analysis: VariantAnalysis, method: str) -> str:
    """Over several tasks it is in units of the reference; of one task it is divided by it."""
    summary = analysis.summary(method, None)
    scale = 1.0 if len(analysis.tasks) > 1 else summary.mean.value / summary.share.value
    return f"{summary.interquartile_mean.value / scale:.3f}" if np.isfinite(scale) else "-"
