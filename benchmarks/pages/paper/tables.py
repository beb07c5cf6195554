"""The paper's tables as Markdown: shares of the best constant in hindsight and delta_m, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.pages.paper.sources import LOGGED, Settings, Source
from benchmarks.pages.tables.cells import estimate
from benchmarks.statistics.analysis import VariantAnalysis
from benchmarks.statistics.bootstrap import delta_m_estimate, share_of_reference
from benchmarks.suites.catalogue import SUITES

FILM_OFF = "model.conditioning=token"
"""Setting of a model without FiLM: the requirements are a token."""
SINGLE, UNIFORM, VAO = "train.method=single", "train.method=uniform", "train.method=vao"


LABELS = ("-", "hindsight", "logged")
"""What a method learns from: no actions of this kind, hindsight-optimal ones, logged ones."""


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first two columns are text."""
    marks = ["---" if place < 2 else "---:" for place in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, marks, *rows))


def scarce_tasks(found: Mapping[str, Source]) -> str:
    """Table 1: methods by tasks with delta_m, once for hindsight-optimal labels and once for logged actions."""
    whole, logged = found.get("data-scarce"), found.get("ablation")
    if whole is None:
        return missing("data-scarce")
    rows, used = [], [whole]
    if logged is not None and logged.first.tasks == whole.first.tasks:  # it has single-task training on logged actions
        rows = [_task_row(logged, method) for method in logged.first.methods if _is_logged(logged, method)]
        used += [logged] if rows else []
    taken = {row[0] for row in rows}
    own = [_task_row(whole, method) for method in whole.first.methods if whole.label(method) not in taken]
    rows = sorted([*own, *rows], key=lambda row: LABELS.index(row[1]))
    notes = "\n\n".join(source.origin for source in used)
    lacking = "" if any(row[1] == LABELS[-1] for row in rows) else "\n\nLogged actions: " + missing("ablation")
    return f"{markdown_table(('method', 'labels', 'mean', 'delta_m %', *whole.first.tasks), rows)}\n\n{notes}{lacking}"


def _is_logged(source: Source, method: str) -> bool:
    return LOGGED in source.settings.get(method, ())


def _labels(settings: Settings | None) -> str:
    if settings is None:
        return LABELS[0]
    return LABELS[2] if LOGGED in settings else LABELS[1]


def _task_row(source: Source, method: str) -> tuple[str, ...]:
    """Shares by task, their mean with its interval, and delta_m against single-task training on the same labels."""
    analysis, settings = source.first, source.settings.get(method)
    single = source.method(SINGLE, LOGGED) if _is_logged(source, method) else source.method(SINGLE)
    shares = [share_of_reference(analysis.paired, method, analysis.draws, task).value for task in analysis.tasks]
    mean = share_of_reference(analysis.paired, method, analysis.draws)
    cells = (f"{share:.3f}" for share in shares)
    return (source.label(method), _labels(settings), estimate(mean, 3), _delta_m(analysis, method, single), *cells)


def _delta_m(analysis: VariantAnalysis, method: str, single: str | None) -> str:
    if single is None or method == single:
        return "-"
    return estimate(delta_m_estimate(analysis.paired, method, single, analysis.draws), 1)


def film_by_weighting(found: Mapping[str, Source]) -> str:
    """FiLM by weighting, 2 x 2: mean share and delta_m."""
    source = found.get("ablation")
    if source is None:
        return missing("ablation")
    rows, lacking = [], []
    for weighting, setting in (("uniform", UNIFORM), ("VAO", VAO)):
        cells = []
        for film in ((), (FILM_OFF,)):
            method = source.method(setting, *film)
            if method is None:
                cells.append("no rows")
                lacking.append(f"`{' '.join((setting, *film))}`")
            else:
                analysis = source.first
                share = share_of_reference(analysis.paired, method, analysis.draws)
                delta = _delta_m(analysis, method, source.method(SINGLE))
                cells.append(f"{estimate(share, 3)}; delta_m {delta}")
        rows.append((weighting, cells[1], cells[0]))
    note = f"\n\nWithout rows: the suite has no method with {', '.join(lacking)}." if lacking else ""
    return f"{markdown_table(('weighting', 'without FiLM', 'with FiLM'), rows)}\n\n{source.origin}{note}"


def validation_sizes(found: Mapping[str, Source]) -> str:
    """Table 4: mean share and delta_m by the number of validation trajectories."""
    source = found.get("validation-size")
    if source is None:
        return missing("validation-size")
    places = {v["name"]: v["x"] for v in source.record.variants if v["x"] is not None and v["name"] in source.variants}
    rows = []
    for method in dict.fromkeys(method for analysis in source.variants.values() for method in analysis.methods):
        for name in sorted(places, key=lambda variant: places[variant]):
            analysis = source.variants[name]
            if method not in analysis.methods:
                continue
            share = share_of_reference(analysis.paired, method, analysis.draws)
            depends = sum(method in other.methods for other in source.variants.values()) > 1
            delta = _delta_m(analysis, method, source.record.baseline if _has_baseline(source, analysis) else None)
            rows.append((source.label(method), f"{places[name]:g}" if depends else "any", estimate(share, 3), delta))
    head = ("method", "validation trajectories a task", "mean", "delta_m %")
    alone = "delta_m stands where single-task training was run too: in one variant, as it does not depend on them."
    return f"{markdown_table(head, rows)}\n\n{alone}\n\n{source.origin}"


def _has_baseline(source: Source, analysis: VariantAnalysis) -> bool:
    return source.record.baseline in analysis.methods


def missing(name: str) -> str:
    """What stands in the place of a table without rows of the suite with that name, of whatever version."""
    suite = next(known for known in SUITES if known.startswith(f"{name}/"))
    return f"No rows are published: run `vamo bench run {suite} --size cpu`, then `vamo bench publish`."
