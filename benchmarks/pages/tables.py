"""A suite's statistics as tables: cells first, then the terminal's or Markdown's form of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from benchmarks.statistics.analysis import (
    METRIC,
    FamilyGroup,
    VariantAnalysis,
    analyse,
    compare_with,
    family_groups,
    registered_contrasts,
)
from benchmarks.statistics.bootstrap import Bootstrap, Estimate
from benchmarks.statistics.contrasts import Registered
from benchmarks.statistics.summaries import Comparison
from benchmarks.suites.storage.store import FIGURES, Store, SuiteRecord

AGAINST = "against="
RECOVERED_NOTE = (
    "Recovered: share of the way from uniform sharing to the oracle, (method - uniform) / (oracle - uniform)."
)
KINDS = ("registered", "families", "axis", "scores", "tasks", "comparisons", "feasibility", "cost")
"""Kinds of tables: "registered" contrasts, "families" means over those of a group, "axis" the mean score by variant,
"cost" of all; the others are of one variant."""

EXPLORATORY = "exploratory"
"""Marks every comparison that was not registered before the suite was run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """A table of one of the `KINDS`: the first column is text, the others are figures."""

    kind: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def to_rich(self) -> Table:
        """For the terminal."""
        table = Table(
            title=self.title,
            title_justify="left",
            caption="\n".join(self.notes),
            caption_justify="left",
            box=box.SIMPLE,
        )
        for position, name in enumerate(self.header):  # headings fold, figures do not
            width = max((len(row[position]) for row in self.rows), default=1)
            justify: Literal["left", "right"] = "left" if position == 0 else "right"
            table.add_column(name, justify=justify, overflow="fold", min_width=width)
        for row in self.rows:
            table.add_row(*(escape(cell) for cell in row))
        return table

    def to_markdown(self) -> str:
        """For the README."""
        lines = [
            "| " + " | ".join(self.header) + " |",
            "| " + " | ".join(["---", *["---:"] * (len(self.header) - 1)]) + " |",
            *("| " + " | ".join(row) + " |" for row in self.rows),
        ]
        return "\n".join([f"**{self.title}**", "", *lines, *(f"\n{note}" for note in self.notes)])


def tables(
    directory: Path, metric: str = METRIC, against: str | None = None, kinds: Sequence[str] = KINDS
) -> list[Table]:
    """Tables of a suite for the terminal, of some kinds or all, or those of its methods against one of them."""
    found = all_cells(directory, metric, kinds=kinds) if against is None else against_cells(directory, against, metric)
    return [cells.to_rich() for cells in found]


def all_cells(
    directory: Path,
    metric: str = METRIC,
    bootstrap: Bootstrap | None = None,
    kinds: Sequence[str] = KINDS,
    only: Sequence[str] = (),
) -> list[Cells]:
    """Tables of a suite.

    Args:
        directory: Results of the suite.
        metric: Column of the rows that is the score.
        bootstrap: How intervals are computed.
        kinds: Of `KINDS`; nothing is computed for the others.
        only: Names of the methods that "scores" and "tasks" list; empty: all.

    Raises:
        ValueError: `only` names a method without rows, or there are no rows at all.
    """
    store = Store(directory)
    record = store.suite()
    if (directory / FIGURES).is_file():
        return [speed_cells(record, json.loads((directory / FIGURES).read_text(encoding="utf-8")))]
    found = analyse(store, metric, bootstrap)
    labels = {variant["name"]: variant["label"] for variant in record.variants}
    out = []
    if "registered" in kinds and record.contrasts:
        out.append(registered_cells(record, registered_contrasts(record, found, bootstrap)))
    if "families" in kinds:
        out += [family_cells(record, group) for group in family_groups(record, found)]
    if len(found) > 1 and "axis" in kinds:
        out.append(axis_cells(record, found))
    for name, analysis in found.items():
        if "scores" in kinds:
            out.append(score_cells(record, analysis, labels[name], only))
        if len(analysis.tasks) > 1 and "tasks" in kinds:
            out.append(task_cells(record, analysis, labels[name], only))
        if "comparisons" in kinds and analysis.comparisons:
            out.append(comparison_cells(record, analysis, labels[name]))
        if "feasibility" in kinds:
            out.append(feasibility_cells(record, analysis, labels[name]))
    if "cost" in kinds:
        out.append(cost_cells(record, store))
    return out


def comparison_records(directory: Path, metric: str = METRIC, bootstrap: Bootstrap | None = None) -> dict[str, Any]:
    """All comparisons of a suite as JSON values: `registered` ones and, by variant, `exploratory` ones."""
    store = Store(directory)
    record = store.suite()
    found = analyse(store, metric, bootstrap)
    return {
        "suite": record.id,
        "registered": [asdict(contrast) for contrast in registered_contrasts(record, found, bootstrap)],
        EXPLORATORY: {name: [asdict(c) for c in analysis.comparisons] for name, analysis in found.items()},
    }


def _listed(analysis: VariantAnalysis, only: Sequence[str]) -> tuple[str, ...]:
    """The methods of `only`, or all, in the suite's order."""
    for name in only:
        if name not in analysis.methods:
            raise ValueError(f"`only` must be methods with rows, of {list(analysis.methods)}, found {name!r}")
    return tuple(name for name in analysis.methods if not only or name in only)


def score_cells(record: SuiteRecord, analysis: VariantAnalysis, variant: str, only: Sequence[str] = ()) -> Cells:
    """Share of the hindsight reference over all tasks with its interval, interquartile mean and delta_m.

    Also, where there are any: the share of sampled scores, and the recovered share.
    """
    sampled, recovered = analysis.sampled, analysis.recovered
    rows = []
    for method in _listed(analysis, only):
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


def _basis(analysis: VariantAnalysis) -> list[str]:
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


def _notes(record: SuiteRecord, analysis: VariantAnalysis) -> tuple[str, ...]:
    """What the scores rest on, how to read them, what is missing."""
    notes = _basis(analysis)
    if analysis.delta_m:
        notes.append(f"delta_m counts against {record.labels[record.baseline]}; lower is better.")
    if analysis.sampled:
        notes.append("Sampled: the mean score of sampled outcomes, over the expected score of that constant.")
    if analysis.recovered:
        notes.append(RECOVERED_NOTE)
    for lack in analysis.missing:
        why = f": {lack.errors[0]}" if lack.errors else ""
        label = record.labels.get(lack.method, lack.method)
        notes.append(f"Incomplete: {label} lacks training seeds {', '.join(map(str, lack.seeds))}{why}")
    return tuple(notes)


def task_cells(record: SuiteRecord, analysis: VariantAnalysis, variant: str, only: Sequence[str] = ()) -> Cells:
    """Shares of the hindsight reference by task."""
    header, rows = _by_task(
        record, _listed(analysis, only), analysis.tasks, lambda m, task: f"{analysis.summary(m, task).share.value:.3f}"
    )
    return Cells(kind="tasks", title=f"By task: {variant}", header=header, rows=rows)


def _by_task(
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
                _p(found.p_holm),
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


def against_cells(directory: Path, baseline: str, metric: str = METRIC) -> list[Cells]:
    """Every variant's methods against a named one: paired differences by task and on average.

    Raises:
        ValueError: No variant has rows of that method.
    """
    store = Store(directory)
    record = store.suite()
    labels = {variant["name"]: variant["label"] for variant in record.variants}
    return [
        _against_cells(record, found, f"Against {record.labels[baseline]} ({EXPLORATORY}): {labels[variant]}")
        for variant, found in compare_with(store, baseline, metric).items()
    ]


def _against_cells(record: SuiteRecord, found: Sequence[Comparison], title: str) -> Cells:
    of = {(comparison.method, comparison.task or "all"): comparison for comparison in found}
    methods, scopes = (tuple(dict.fromkeys(part)) for part in zip(*of, strict=True))
    header, rows = _by_task(record, methods, scopes, lambda method, task: _difference(of[method, task]))
    note = (
        "Exploratory. Paired differences over the mean score of the hindsight constant, with 95 % intervals; * p < 0.05"
        f" after Holm correction over these {len(found)} comparisons."
    )
    return Cells(kind="against", title=title, header=header, rows=rows, notes=(note,))


def _difference(found: Comparison) -> str:
    d = found.difference
    return f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]{'*' if found.p_holm < 0.05 else ''}"


def registered_cells(record: SuiteRecord, found: Sequence[Registered]) -> Cells:
    """The registered contrasts, each once a group of families or a variant."""
    labels = {variant["name"]: variant["label"] for variant in record.variants}
    several = len(record.variants) > 1
    rows = []
    for contrast in found:
        first, second = (record.labels.get(name, name) for name in (contrast.first, contrast.second))
        where = (
            f"{len(contrast.variants)} families, {contrast.group}" if contrast.group else labels[contrast.variants[0]]
        )
        d = contrast.difference
        margin = "" if contrast.margin is None else f" within \u00b1{contrast.margin:g}"
        rows.append(
            (
                f"{contrast.name}: {first} \u2212 {second}{f' ({where})' if several else ''}",
                contrast.kind + margin,
                "no rows" if d is None else f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]",
                "-" if d is None else _p(contrast.p_value),
                "-" if d is None else _p(contrast.p_holm),
                "-" if d is None else _verdict(contrast),
            )
        )
    notes = [
        "Registered before the suite was run; Holm's correction spans these alone, and all other comparisons are"
        " exploratory. Differences are over the mean score of the hindsight constant, with 95 % intervals."
    ]
    if any(contrast.kind == "equivalence" for contrast in found):
        notes.append("Equivalence: two one-sided tests with the registered margin, 90 % intervals.")
    if any(len(contrast.variants) > 1 for contrast in found):
        notes.append("Over several families the family is a random effect: intervals are for families not drawn.")
    header = ("contrast", "kind", "difference", "p", "p (Holm)", "at 5 %")
    return Cells(
        kind="registered",
        title=f"Registered contrasts: {record.title} ({record.id})",
        header=header,
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _verdict(contrast: Registered) -> str:
    if contrast.kind == "equivalence":
        return "equivalent" if contrast.holds else "not shown"
    if not contrast.holds or contrast.difference is None:
        return "no difference shown"
    return "first is above" if contrast.difference.value > 0 else "first is below"


def family_cells(record: SuiteRecord, group: FamilyGroup) -> Cells:
    """Means over the families of a group."""
    rows = tuple(
        (
            record.labels.get(method, method),
            estimate(share, 3),
            *([estimate(group.recovered[method], 2) if method in group.recovered else "-"] if group.recovered else []),
        )
        for method, share in group.share.items()
    )
    notes = [
        f"Mean over {len(group.variants)} families with the family as a random effect: 95 % intervals are for families"
        " not drawn. Score over that of the best constant multiplier in hindsight."
    ]
    if group.recovered:
        notes.append(RECOVERED_NOTE)
    return Cells(
        kind="families",
        title=f"Mean over families: {group.name} ({record.id})",
        header=("method", "mean score", *(["recovered"] if group.recovered else [])),
        rows=rows,
        notes=tuple(notes),
    )


def feasibility_cells(record: SuiteRecord, analysis: VariantAnalysis, variant: str) -> Cells:
    """Share of episodes within all limits."""
    share = {(f.method, f.task): f.feasible.value for f in analysis.feasibility if f.constraint is None}
    header, rows = _by_task(record, analysis.methods, analysis.tasks, lambda m, task: f"{share[m, task]:.0%}")
    return Cells(kind="feasibility", title=f"Episodes within all limits: {variant}", header=header, rows=rows)


def axis_cells(record: SuiteRecord, found: dict[str, VariantAnalysis]) -> Cells:
    """Mean share of the reference, a column a variant."""
    methods = dict.fromkeys(method for analysis in found.values() for method in analysis.methods)
    rows = tuple(
        (
            record.labels.get(method, method),
            *(
                estimate(analysis.summary(method, None).share, 3) if method in analysis.methods else "-"
                for analysis in found.values()
            ),
        )
        for method in methods
    )
    by_name = {variant["name"]: variant for variant in record.variants}
    header = tuple(by_name[name]["label"] for name in found)
    return Cells(
        kind="axis",
        title=f"{record.title} ({record.id}): mean over the tasks",
        header=("method", *header),
        rows=rows,
        notes=tuple(_basis(next(iter(found.values())))),
    )


def cost_cells(record: SuiteRecord, store: Store) -> Cells:
    """Medians of time and memory over the runs that did not fail, by method and variant."""
    runs = [run for run in store.runs().to_pylist() if not run["failed"]]
    names = ("train_seconds", "tune_seconds", "play_seconds", "step_milliseconds", "decision_milliseconds")
    several = len({run["variant"] for run in runs}) > 1
    rows = []
    for variant in [entry["name"] for entry in record.variants]:
        for method, label in record.labels.items():
            mine = [run for run in runs if (run["variant"], run["method"]) == (variant, method)]
            if mine:
                figures = [_median(mine, name) for name in (*names, "peak_memory_mb")]
                rows.append((f"{label}, {variant}" if several else label, str(len(mine)), *figures))
    header = ("method", "runs", "train s", "tune s", "test s", "step ms", "decision ms", "memory MB")
    notes = (*sorted({run["machine"] for run in runs}), "commit " + ", ".join(sorted({run["commit"] for run in runs})))
    return Cells(kind="cost", title="Cost of a run (medians)", header=header, rows=tuple(rows), notes=notes)


def speed_cells(record: SuiteRecord, figures: Sequence[dict[str, Any]]) -> Cells:
    """The speed figures."""
    rows = tuple(
        (figure["name"], f"{figure['value']:,.3g}", figure["unit"], figure["reference"], figure["bound"])
        for figure in figures
    )
    note = record.versions.get("machine", "")
    return Cells(
        kind="scores",
        title=f"{record.title} ({record.id})",
        header=("figure", "value", "unit", "reference", "bound"),
        rows=rows,
        notes=(note,) if note else (),
    )


def estimate(found: Estimate, digits: int) -> str:
    """A value with its interval."""
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _median(runs: Sequence[dict[str, Any]], name: str) -> str:
    value = float(np.median([run[name] for run in runs]))
    return "-" if np.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def markdown(directory: Path, wanted: Sequence[str], only: Sequence[str] = ()) -> Iterator[str]:
    """Tables of a published suite in Markdown: kinds, or "against=METHOD"; "scores" and "tasks" of some methods."""
    plain = [kind for kind in wanted if not kind.startswith(AGAINST)]
    for cells in all_cells(directory, kinds=plain, only=only) if plain else ():
        yield cells.to_markdown()
    for kind in wanted:
        if kind.startswith(AGAINST):
            yield from (cells.to_markdown() for cells in against_cells(directory, kind.removeprefix(AGAINST)))
