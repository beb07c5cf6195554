"""All tables of a suite's results, by kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from auction_env.names import check_name
from benchmarks.pages.tables.cells import Cells
from benchmarks.pages.tables.protocols import protocol_cells
from benchmarks.pages.tables.several import (
    axis_cells,
    cost_cells,
    each_family_cells,
    family_cells,
    family_task_cells,
    registered_cells,
    variant_labels,
)
from benchmarks.pages.tables.variant import (
    EXPLORATORY,
    against_cells_of,
    comparison_cells,
    feasibility_cells,
    score_cells,
    task_cells,
)
from benchmarks.statistics.analysis import (
    METRIC,
    VariantAnalysis,
    analyse,
    compare_with,
    family_groups,
    registered_contrasts,
)
from benchmarks.statistics.bootstrap import Bootstrap
from benchmarks.suites.storage.store import Store, SuiteRecord

AGAINST = "against="
KINDS = (
    "registered", "families", "family-tasks", "each-family", "axis", "protocols", "scores", "tasks", "comparisons",
    "feasibility", "cost",
)  # fmt: skip
"""Kinds of tables: "registered" contrasts, "families" means over those of a group, "family-tasks" the same by task,
"each-family" each of them, "axis" the mean score by variant, "cost" of all; the others are of one variant: "protocols"
where its tests are those."""


def tables(
    directory: Path,
    metric: str = METRIC,
    against: str | None = None,
    kinds: Sequence[str] = KINDS,
    variant: str | None = None,
) -> list[Table]:
    """Tables of a suite for the terminal, of some kinds or all, or those of its methods against one of them.

    A table of more columns than a line of 80 characters holds is several.
    """
    if against is None:
        found = all_cells(directory, metric, kinds=kinds, variant=variant)
    else:
        found = against_cells(directory, against, metric, variant)
    return [part.to_rich() for cells in found for part in cells.fitting()]


def all_cells(
    directory: Path,
    metric: str = METRIC,
    bootstrap: Bootstrap | None = None,
    kinds: Sequence[str] = KINDS,
    only: Sequence[str] = (),
    variant: str | None = None,
) -> list[Cells]:
    """Tables of a suite: those over all variants, and those of each that is not one of several families of a group.

    Args:
        directory: Results of the suite.
        metric: Column of the rows that is the score.
        bootstrap: How intervals are computed.
        kinds: Of `KINDS`; nothing is computed for the others.
        only: Names of the methods that "scores" and "tasks" list; empty: all.
        variant: Instead: the tables of this variant.

    Raises:
        ValueError: `only` names a method or `variant` a variant without rows, or there are no rows at all.
    """
    store = Store(directory)
    record = store.suite()
    found = analyse(store, metric, bootstrap)
    if variant is not None:
        _check_variant(variant, found)
        return [*_of_variant(record, found[variant], kinds, only)]
    out = []
    if "registered" in kinds and record.contrasts:
        out.append(registered_cells(record, registered_contrasts(record, found, bootstrap)))
    groups = family_groups(record, found)
    for group in groups:
        if "families" in kinds:
            out.append(family_cells(record, group))
        if "family-tasks" in kinds:
            out += family_task_cells(record, group, found)
        if "each-family" in kinds:
            out.append(each_family_cells(record, group, found))
    in_groups = {name for group in groups for name in group.variants}
    others = {name: analysis for name, analysis in found.items() if name not in in_groups}
    if len(others) > 1 and "axis" in kinds:
        out.append(axis_cells(record, others))
    for analysis in others.values():
        out += _of_variant(record, analysis, kinds, only)
    if "cost" in kinds:
        out.append(cost_cells(record, store))
    return out


def _of_variant(
    record: SuiteRecord, analysis: VariantAnalysis, kinds: Sequence[str], only: Sequence[str]
) -> Iterator[Cells]:
    label = variant_labels(record)[analysis.variant]
    if "protocols" in kinds:
        yield from protocol_cells(record, analysis, label)
    if "scores" in kinds:
        yield score_cells(record, analysis, label, only)
    if len(analysis.tasks) > 1 and "tasks" in kinds:
        yield task_cells(record, analysis, label, only)
    if "comparisons" in kinds and analysis.comparisons:
        yield comparison_cells(record, analysis, label)
    if "feasibility" in kinds:
        yield feasibility_cells(record, analysis, label)


def against_cells(directory: Path, baseline: str, metric: str = METRIC, variant: str | None = None) -> list[Cells]:
    """Every variant's methods, or those of one, against a named one: paired differences by task and on average.

    Raises:
        ValueError: No variant has rows of that method.
    """
    store = Store(directory)
    record = store.suite()
    if variant is not None:
        check_name("variant", variant, variant_labels(record))
    labels, against = variant_labels(record), f"Against {record.labels.get(baseline, baseline)} ({EXPLORATORY})"
    return [
        against_cells_of(record, found, f"{against}: {labels[name]}")
        for name, found in compare_with(store, baseline, metric, variant=variant).items()
    ]


def comparison_records(
    directory: Path, metric: str = METRIC, bootstrap: Bootstrap | None = None, variant: str | None = None
) -> dict[str, Any]:
    """All comparisons of a suite as JSON values: `registered` ones and, by variant, `exploratory` ones.

    With a `variant`, only those of it alone; the correction of registered ones is still that of all.
    """
    store = Store(directory)
    record = store.suite()
    found = analyse(store, metric, bootstrap)
    if variant is not None:
        _check_variant(variant, found)
    contrasts = registered_contrasts(record, found, bootstrap)
    return {
        "suite": record.id,
        "registered": [asdict(one) for one in contrasts if variant is None or one.variants == (variant,)],
        EXPLORATORY: {
            name: [asdict(comparison) for comparison in analysis.comparisons]
            for name, analysis in found.items()
            if variant is None or name == variant
        },
    }


def _check_variant(variant: str, found: Mapping[str, VariantAnalysis]) -> None:
    check_name("variant", variant, found, rule="must be a variant with rows, one of")


def markdown(directory: Path, wanted: Sequence[str], only: Sequence[str] = ()) -> Iterator[str]:
    """Tables of a published suite in Markdown: kinds, or "against=METHOD"; "scores" and "tasks" of some methods."""
    plain = [kind for kind in wanted if not kind.startswith(AGAINST)]
    for cells in all_cells(directory, kinds=plain, only=only) if plain else ():
        yield cells.to_markdown()
    for kind in wanted:
        if kind.startswith(AGAINST):
            yield from (cells.to_markdown() for cells in against_cells(directory, kind.removeprefix(AGAINST)))
