"""Tables over several variants of a suite: registered contrasts, means over families, a column a variant, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.pages.tables.cells import Cells, estimate
from benchmarks.pages.tables.variant import RECOVERED_NOTE, basis
from benchmarks.pages.text import p_text
from benchmarks.statistics.analysis import FamilyGroup, VariantAnalysis, shares_by_task
from benchmarks.statistics.contrasts import Registered
from benchmarks.suites.storage.store import Store, SuiteRecord


def variant_labels(record: SuiteRecord) -> dict[str, str]:
    """Names of the variants for people, by name."""
    return {variant["name"]: variant["label"] for variant in record.variants}


def registered_cells(record: SuiteRecord, found: Sequence[Registered]) -> Cells:
    """The registered contrasts, each once a group of families or a variant."""
    labels = variant_labels(record)
    several = len(record.variants) > 1
    rows = []
    for contrast in found:
        first, second = (record.labels.get(name, name) for name in (contrast.first, contrast.second))
        where = (
            f"{len(contrast.variants)} families, {contrast.group}" if contrast.group else labels[contrast.variants[0]]
        )
        d = contrast.difference
        kind = "" if contrast.margin is None else f", equivalence within \u00b1{contrast.margin:g}"
        rows.append(
            (
                f"{contrast.name.replace('-', ' ')}{kind}: {first} \u2212 {second}{f' ({where})' if several else ''}",
                "no rows" if d is None else f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]",
                "-" if d is None else p_text(contrast.p_value),
                "-" if d is None else p_text(contrast.p_holm),
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
    header = ("contrast", "difference", "p", "p (Holm)", "at 5 %")
    return Cells(
        kind="registered",
        title=f"Registered contrasts: {record.title} ({record.id})",
        header=header,
        rows=tuple(rows),
        notes=tuple(notes),
        text_columns=frozenset({0, 4}),
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


def family_task_cells(record: SuiteRecord, group: FamilyGroup, found: Mapping[str, VariantAnalysis]) -> list[Cells]:
    """Means over the families of a group, a column a task; none where the families do not have the same tasks."""
    by_task = shares_by_task(group, found)
    if not by_task:
        return []
    rows = tuple(
        (record.labels.get(method, method), *(estimate(shares[method], 3) for shares in by_task.values()))
        for method in group.share
    )
    title = f"Mean over families, by task: {group.name} ({record.id})"
    notes = ("Means and intervals as over all tasks.",)
    return [Cells(kind="family-tasks", title=title, header=("method", *by_task), rows=rows, notes=notes)]


def each_family_cells(record: SuiteRecord, group: FamilyGroup, found: Mapping[str, VariantAnalysis]) -> Cells:
    """Mean share of the reference, a row a family of a group and a column a method."""
    families, shared = _without_shared_ending([variant_labels(record)[variant] for variant in group.variants])
    rows = tuple(
        (family, *(f"{found[variant].summary(method, None).share.value:.3f}" for method in group.share))
        for family, variant in zip(families, group.variants, strict=True)
    )
    return Cells(
        kind="each-family",
        title=f"Each family: {group.name} ({record.id})",
        header=("family", *(record.labels.get(method, method) for method in group.share)),
        rows=rows,
        notes=(*([f"Each: {shared}."] if shared else []), "All about one of them: vamo bench table --variant NAME."),
    )


def _without_shared_ending(labels: Sequence[str]) -> tuple[list[str], str]:
    """Labels without what all of them say behind the first comma, and that: a column of one line a label."""
    parts = [label.partition(", ") for label in labels]
    endings = {ending for _, _, ending in parts}
    return ([first for first, _, _ in parts], endings.pop()) if len(endings) == 1 else (list(labels), "")


def axis_cells(record: SuiteRecord, found: Mapping[str, VariantAnalysis]) -> Cells:
    """Mean share of the reference, a column a variant: its place where all lie on the suite's axis, or its label."""
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
    places = {variant["name"]: variant["x"] for variant in record.variants}
    is_axis = bool(record.axis) and all(places[name] is not None for name in found)
    header = tuple(f"{places[name]:g}" if is_axis else variant_labels(record)[name] for name in found)
    by = f", by {record.axis}" if is_axis else ""
    return Cells(
        kind="axis",
        title=f"{record.title} ({record.id}): mean over the tasks{by}",
        header=("method", *header),
        rows=rows,
        notes=tuple(basis(next(iter(found.values())))),
    )


def cost_cells(record: SuiteRecord, store: Store) -> Cells:
    """Medians of time and memory over the runs that did not fail, by method and variant, or group of variants."""
    runs = [run for run in store.runs().to_pylist() if not run["failed"]]
    names = ("train_seconds", "tune_seconds", "play_seconds", "step_milliseconds", "decision_milliseconds")
    place = {variant["name"]: variant["group"] or variant["name"] for variant in record.variants}
    several = len({place[run["variant"]] for run in runs}) > 1
    rows = []
    for where in dict.fromkeys(place.values()):
        for method, label in record.labels.items():
            mine = [run for run in runs if (place[run["variant"]], run["method"]) == (where, method)]
            if mine:
                figures = [_median(mine, name) for name in (*names, "peak_memory_mb")]
                rows.append((f"{label}, {where}" if several else label, str(len(mine)), *figures))
    header = ("method", "runs", "train s", "tune s", "test s", "step ms", "decision ms", "memory MB")
    notes = (*sorted({run["machine"] for run in runs}), "commit " + ", ".join(sorted({run["commit"] for run in runs})))
    return Cells(kind="cost", title="Cost of a run (medians)", header=header, rows=tuple(rows), notes=notes)


def _median(runs: Sequence[dict[str, Any]], name: str) -> str:
    value = float(np.median([run[name] for run in runs]))
    return "-" if np.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
