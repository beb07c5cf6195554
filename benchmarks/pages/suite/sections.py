"""The HTML of a suite's page: sections, tables and controls; every name is escaped here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa

from benchmarks.pages.elements import (
    CONSTRAINT_NAMES,
    DASH_ARRAYS,
    Section,
    card,
    escape,
    grid,
    line_mark,
    pairs_table,
    radios,
    scroll,
    select,
    slider,
    swatch,
)
from benchmarks.pages.suite.axis import n_forest_rows
from benchmarks.pages.suite.records import Records
from benchmarks.pages.suite.results import MEASURES, Results, counted, counted_by_task, measured
from benchmarks.pages.tables.cells import Cells
from benchmarks.pages.tables.variant import RECOVERED_NOTE, few_seeds
from benchmarks.pages.text import number, p_text, ranges
from benchmarks.statistics.analysis import VariantAnalysis
from benchmarks.statistics.bootstrap import Estimate
from benchmarks.suites.spec import SIZES
from benchmarks.suites.storage.store import SuiteRecord

RATIO_DASHES = dict(
    zip(
        (kind for kind in CONSTRAINT_NAMES if kind != "budget"),
        ("solid", "dash", "dot", "dashdot", "longdash"),
        strict=True,
    )
)
"""Line styles of the constraints' ratios in the episode viewer."""
_DASHES = {**DASH_ARRAYS, "longdash": "12 5"}
_NUMBER = re.compile(r"[<+\-−]?\s*([\d,]*\.?\d+(?:e[+-]?\d+)?)")


MOST_LISTED = 8
"""Variants whose tables of tasks stand side by side; those of more are folded into one."""


def about(record: SuiteRecord, runs: pa.Table, found: Results) -> Section:
    """What was run: counts, machine, commits, the command, tasks and versions."""
    done = [run for run in runs.to_pylist() if not run["failed"]]
    facts = {
        "Suite": record.id,
        "Size": f"{record.size}: {SIZES[record.size]}" if record.size in SIZES else record.size,
        "Methods": str(len(found.methods)),
        "Tasks": str(len(found.tasks)),
        "Training seeds": f"{len(record.train_seeds)} ({ranges(record.train_seeds)})" if record.train_seeds else "none",
        "Runs": f"{len(done):,} finished, {len(runs) - len(done):,} failed",
        "Test episodes": _counts(found),
        "Machine": "; ".join(sorted({run["machine"] for run in done})),
        "Commit": ", ".join(sorted({run["commit"] for run in done} - {""})) or record.commit,
    }
    body = _facts(facts) + command(record)
    tables = "".join(_tasks_table(record, name, found.label(name)) for name in found.variants)
    if len(found.variants) > MOST_LISTED:
        tables = f"<details><summary>Tasks of the {len(found.variants)} variants</summary>{tables}</details>"
    body += tables
    return Section("about", "What was run", body + versions(record))


def _counts(found: Results) -> str:
    """How many episodes and seeds the variants have, once for all that have the same."""
    alike: dict[str, list[str]] = {}
    for name, analysis in found.variants.items():
        alike.setdefault(counted(analysis), []).append(found.label(name))
    if len(found.variants) == 1:
        return next(iter(alike))
    if len(alike) == 1:
        return f"each of the {len(found.variants)} variants: {next(iter(alike))}"
    return "; ".join(
        f"{labels[0]}: {count}" if len(labels) == 1 else f"{len(labels)} variants like {labels[0]!r}: {count}"
        for count, labels in alike.items()
    )


def _facts(facts: dict[str, str]) -> str:
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items() if v)
    return f'<dl class="facts">{items}</dl>'


def command(record: SuiteRecord) -> str:
    """The command that makes the results; empty where it is not known."""
    return f"<pre tabindex='0'><code>{escape(record.command)}</code></pre>" if record.command else ""


def versions(record: SuiteRecord) -> str:
    """Table of versions, folded."""
    if not record.versions:
        return ""
    return f"<details><summary>Versions</summary>{pairs_table('Versions', record.versions)}</details>"


def _tasks_table(record: SuiteRecord, variant: str, label: str) -> str:
    head = ("task", "training", "validation", "test episodes")
    keys = ("name", "n_train", "n_validation", "n_test")
    rows = tuple(
        tuple(f"{task[key]:,}" if key != "name" else task[key] for key in keys) for task in record.tasks[variant]
    )
    content = sortable(f"Tasks: {label}", head, rows)
    return f"<details><summary>Tasks and trajectories: {escape(label)}</summary>{content}</details>"


def registered(contrasts: Sequence[Cells], groups: Sequence[Cells]) -> Section:
    """What the suite was run to answer: registered contrasts, and means over families."""
    intro = (
        "What was decided before the suite was run. All other comparisons on this page are exploratory."
        if contrasts
        else "The suite registered no contrast: all comparisons on this page are exploratory."
    )
    heading = "Registered contrasts" if contrasts else "Means over families"
    body = "".join(of_cells(cells) for cells in (*contrasts, *groups))
    return Section("registered", heading, f"<p>{escape(intro)}</p>{body}")


def leaderboard(found: Results) -> Section:
    """Interval plot and sortable tables, one a variant."""
    ours = [found.labels[name] for name in found.record.ours if name in found.methods]
    intro = (
        "Scores are over that of the constant multiplier that would have been best in hindsight (dotted line at 1). "
        "Intervals: 95 % bootstrap over the market seeds of the paired test episodes, drawn jointly for all tasks, "
        "and, of trained methods, training seeds."
    )
    if any(analysis.comparisons for analysis in found.variants.values()):
        intro += (
            f" Exploratory: P(improvement) and p compare {', '.join(ours)} with the best of all other methods on the "
            "same episodes, averaged over the tasks; p has Holm correction over all of them. That baseline is chosen "
            "on the test episodes, which flatters it."
        )
    if found.record.baseline in found.methods:
        intro += f" delta_m is the mean relative loss against {found.labels[found.record.baseline]}: lower is better."
    body = f"<p>{escape(intro)}</p>{variant_select(found, 'leaderboard')}"
    body += radios("measure", "Measure", [MEASURES[name] for name in found.measures])
    body += grid([card("leaderboard", "Leaderboard", "95 % intervals", rows=len(found.methods), wide=True)])
    body += per_variant(found, leaderboard_table)
    return Section("leaderboard", "Leaderboard", body)


def leaderboard_table(found: Results, analysis: VariantAnalysis) -> str:
    """All measures of all methods."""
    over_all = {c.method: c for c in analysis.comparisons if c.task is None or len(analysis.tasks) == 1}
    feasible = {(f.method, f.task): f.feasible for f in analysis.feasibility if f.constraint is None}
    recovered = analysis.recovered
    best = next((found.labels[c.baseline] for c in over_all.values()), "best baseline")
    head = (
        "method", "share of reference", "IQM", "sd of seeds", "delta_m %", f"P(improvement) over {best}",
        "p (Holm, exploratory)", *(["sampled"] if analysis.sampled else []), *(["recovered"] if recovered else []),
        "within limits, worst task", "training seeds",
    )  # fmt: skip
    iqm, rows = measured(analysis, "iqm"), []
    for method, share in measured(analysis, "share").items():
        versus = over_all.get(method)
        worst = min((feasible[method, task] for task in analysis.tasks), key=lambda estimate: estimate.value)
        rows.append(
            (
                found.labels[method],
                _estimate(share, 3),
                _estimate(iqm[method], 3),
                number(analysis.deviation[method], 3),
                _estimate(analysis.delta_m[method], 1) if method in analysis.delta_m else "–",
                _estimate(versus.improvement, 2) if versus else "–",
                p_text(versus.p_holm) if versus else "–",
                *([number(analysis.sampled[method].value, 3)] if analysis.sampled else []),
                *([_estimate(recovered[method], 2) if method in recovered else "–"] if recovered else []),
                _share(worst),
                str(share.n_train_seeds) if share.n_train_seeds else "–",
            )
        )
    marks = {found.labels[method]: swatch("method", found.methods.index(method)) for method in analysis.methods}
    caption = f"Leaderboard, {found.label(analysis.variant)}: {counted(analysis)}"
    note = f'<p class="note">{escape(RECOVERED_NOTE)}</p>' if recovered else ""
    return sortable(caption, head, rows, marks) + note + _seeds_note(found, analysis)


def _seeds_note(found: Results, analysis: VariantAnalysis) -> str:
    """Few training seeds, and methods that lack some."""
    few = few_seeds(analysis)
    lines = [few] if few else []
    lines += [
        f"Incomplete: {found.labels.get(lack.method, lack.method)} lacks training seeds {ranges(lack.seeds)}."
        for lack in analysis.missing
        if lack.seeds != (-1,)
    ]
    return "".join(f'<p class="note">{escape(line)}</p>' for line in lines)


def axis(found: Results) -> Section:
    """Score along the suite's axis, or a forest plot of named variants."""
    n_rows = n_forest_rows(found)
    counts = dict.fromkeys(counted(analysis) for analysis in found.variants.values())
    title = f"Score against {found.record.axis}" if found.record.axis and not n_rows else "Score by variant"
    note = f"share of the reference over all tasks; 95 % bootstrap intervals; {'; '.join(counts)}"
    intro, shown = "One row a method and variant.", found.methods
    if not n_rows:
        intro = "What has no place on the axis is a level line, its interval at the right end."
        if found.methods_on_axis:
            intro += " The line in the colour of the text joins the methods that have one."
            shown = tuple(name for name in found.methods if name not in found.methods_on_axis)
    body = f"<p>{escape(intro)}</p>{legend(found, shown)}{grid([card('axis', title, note, rows=n_rows, wide=True)])}"
    return Section("axis", title, body)


def tasks(found: Results) -> Section:
    """Heat map, one task in detail, and the tables."""
    body = variant_select(found, "tasks")
    n_rows = len(found.methods) + 3
    body += grid([card("task-map", "Share of the reference, methods by tasks", "means", rows=n_rows, wide=True)])
    body += select("task", "Task", found.tasks)
    body += grid([card("by-task", "One task", "95 % intervals", rows=len(found.methods), wide=True)])
    body += per_variant(found, task_table) + per_variant(found, feasibility_table)
    return Section("tasks", "Scores by task", body)


def task_table(found: Results, analysis: VariantAnalysis) -> str:
    """Shares of the reference by task with intervals."""
    rows = [
        (found.labels[method], *(_estimate(analysis.summary(method, task).share, 3) for task in analysis.tasks))
        for method in measured(analysis, "share")
    ]
    n = counted_by_task(analysis)
    caption = f"Share of the reference, {found.label(analysis.variant)}: 95 % bootstrap intervals, {n}"
    return sortable(caption, ("method", *analysis.tasks), rows)


def feasibility_table(found: Results, analysis: VariantAnalysis) -> str:
    """Share of the episodes within all limits by task, with Wilson intervals."""
    share = {(f.method, f.task): f.feasible for f in analysis.feasibility if f.constraint is None}
    rows = [
        (found.labels[method], *(_share(share[method, task]) for task in analysis.tasks))
        for method in measured(analysis, "share")
    ]
    n = counted_by_task(analysis)
    caption = f"Episodes within all limits, {found.label(analysis.variant)}: 95 % Wilson intervals, {n}"
    return sortable(caption, ("method", *analysis.tasks), rows)


def profiles(found: Results) -> Section:
    """Performance profiles."""
    intro = (
        "Share of the test episodes, all tasks with equal weight, that score above a level: higher is better, and "
        "curves that cross show that the order depends on the level (arXiv 2108.13264, section 4.2)."
    )
    body = f"<p>{escape(intro)}</p>{variant_select(found, 'profiles')}"
    body += select("profile", "Band of", ["all methods", *(found.labels[name] for name in found.methods)])
    body += legend(found, found.methods) + grid([card("profiles", "Performance profiles", "95 % bands", wide=True)])
    return Section("profiles", "Performance profiles", body)


def weights(records: Records) -> Section:
    """The heat map with its slider."""
    intro = (
        "How much each source task (column) counts in the training of a target task (row). Drag the slider, use the "
        "arrow keys on it, or play. One run of one training seed: n = 1, no interval."
    )
    chooser = "".join(
        select(name, label, records.controls[name])
        for name, label in (("wvariant", "Variant"), ("wmethod", "Method"), ("wseed", "Training seed"))
        if len(records.controls[name]) > 1
    )
    scrub = slider("frame", "Training step", "the training", '<output id="frame-step" for="frame"></output>')
    cards = [
        card(name, title, "one run: n = 1, no interval").replace('class="plot"', 'class="plot square"')
        for name, title in (("weights", "Sources by targets"), ("weight-lines", "One target over training"))
    ]
    note = '<p class="note" id="weights-note" aria-live="polite"></p>'
    chooser += select("wtarget", "Target", _targets(records))
    body = f"<p>{escape(intro)}</p>{_left_out(records)}<div class='chooser'>{chooser}</div>"
    body += f"{radios('quantity', 'Quantity', ['Weight', 'Alignment'])}{scrub}{note}{grid(cards)}"
    return Section("weights", "Weights over time", body)


def _targets(records: Records) -> list[str]:
    return list(dict.fromkeys(target for entry in records.entries for target in entry["targets"]))


def episodes(records: Records) -> Section:
    """The episode viewer."""
    intro = (
        "One test episode tick by tick, on one axis of time: what one agent bid, what prices were, what it spent "
        "against the plan in proportion to the expected traffic, whether it kept its limits so far (ratio at most 1), "
        "and which slots it won. One campaign: n = 1, no interval."
    )
    names = (("evariant", "Variant"), ("etask", "Task"), ("episode", "Episode"), ("agent", "Agent"), ("eseed", "Seed"))
    chooser = "".join(
        select(name, label, records.controls[name]) for name, label in names if len(records.controls[name]) > 1
    )
    chooser += select("other", "Compare with", ["nobody", *records.controls["agent"]])
    present = [kind for kind in RATIO_DASHES if any(f"{kind}_ratio" in entry for entry in records.entries)]
    marks = [f"{line_mark('var(--muted)', 'dash', 1.5)} plan"]
    marks += [f"{_ratio_mark(kind)} {CONSTRAINT_NAMES[kind]} ratio" for kind in present]
    marks += [
        f'<span class="box" style="background:var(--slot-{k})"></span> slot {k + 1}{" and below" * (k == 2)}'
        for k in range(3)
    ]
    entries = "".join(f"<li>{mark}</li>" for mark in marks)
    note = '<p class="note" id="viewer-note" aria-live="polite"></p>'
    figure = card("episode", "Over the episode", "one campaign, tick by tick: n = 1, no interval", wide=True).replace(
        'class="plot"', 'class="plot tall"'
    )
    body = f"<p>{escape(intro)}</p>{_left_out(records)}<div class='chooser'>{chooser}</div>{note}"
    return Section(
        "episodes", "Episode viewer", f'{body}<ul class="legend" id="viewer-legend">{entries}</ul>{grid([figure])}'
    )


def _ratio_mark(kind: str) -> str:
    array = _DASHES[RATIO_DASHES[kind]]
    dashes = f' stroke-dasharray="{array}"' if array else ""
    style = 'style="stroke:var(--muted);stroke-width:2"'
    return f'<svg class="mark" viewBox="0 0 26 10" aria-hidden="true"><path d="M0 5H26" {style}{dashes}/></svg>'


def cost(cells: Cells) -> Section:
    """Time and memory of the runs."""
    body = "<p>Medians over the runs that did not fail, without intervals; n is the column “runs”.</p>"
    return Section("cost", "Cost", body + of_cells(cells))


def failed(runs: pa.Table) -> Section:
    """Runs that failed with their errors, or that none did."""
    rows = [(run["run_id"], run["started"], run["failed"]) for run in runs.to_pylist() if run["failed"]]
    body = sortable("Failed runs", ("run", "started", "error"), rows) if rows else "<p>No run failed.</p>"
    return Section("failed", "Failed runs", body)


def of_cells(cells: Cells) -> str:
    """A table of `benchmarks.pages.tables` with its notes."""
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in cells.notes)
    return sortable(cells.title, cells.header, cells.rows) + notes


def sortable(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], marks: dict[str, str] | None = None
) -> str:
    """A table whose columns sort by a button; cells that begin with a number by it, others by their text."""
    first = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{escape(name)}</button></th>' for name in head
    )
    lines = "".join(
        f'<tr><th scope="row" data-sort="{escape(row[0])}">{(marks or {}).get(row[0], "")} {escape(row[0])}</th>'
        + "".join(f'<td data-sort="{escape(_sort_key(content))}">{_with_interval(content)}</td>' for content in row[1:])
        + "</tr>"
        for row in rows
    )
    head_and_body = f"<thead><tr>{first}</tr></thead><tbody>{lines}</tbody>"
    return scroll(caption, f"<table class='sortable'><caption>{escape(caption)}</caption>{head_and_body}</table>")


def _sort_key(content: str) -> str:
    """The number that a cell begins with, as JavaScript reads it; otherwise its text."""
    match = _NUMBER.match(content)
    if not match:
        return "" if content in ("–", "-") else content
    sign = "-" if content[0] in "-−" else ""
    return sign + match[1].replace(",", "")


def _with_interval(content: str) -> str:
    value, bracket, rest = content.partition(" [")
    return f'{escape(value)}<span class="interval"> [{escape(rest)}</span>' if bracket else escape(content)


def per_variant(found: Results, make: object) -> str:
    """A block a variant, of which the page shows the chosen one; all of them without JavaScript."""
    assert callable(make)
    return "".join(
        f"<div data-when='{json.dumps({'variant': [v]})}'>{make(found, analysis)}</div>"
        for v, analysis in enumerate(found.variants.values())
    )


def variant_select(found: Results, where: str) -> str:
    """The list of variants; empty where there is one."""
    labels = [found.label(name) for name in found.variants]
    return select("variant", "Variant", labels, f"-{where}") if len(labels) > 1 else ""


def legend(found: Results, shown: Sequence[str]) -> str:
    """Methods with their lines."""
    entries = "".join(
        f"<li>{swatch('method', found.methods.index(name))} {escape(found.labels[name])}</li>" for name in shown
    )
    return f'<ul class="legend">{entries}</ul>'


def absent(parts: Sequence[str]) -> Iterator[str]:
    """Sentences on what the results lack."""
    why = {
        "axis": "No plot against an axis: the suite has one variant and methods without a number.",
        "weights": "No weights over time: no run recorded alignments.",
        "episodes": "No episode viewer: the suite keeps no episode tick by tick.",
    }
    return (why[part] for part in parts)


def _left_out(records: Records) -> str:
    return f'<p class="note">{escape(records.left_out)}</p>' if records.left_out else ""


def _estimate(found: Estimate, decimals: int) -> str:
    return f"{number(found.value, decimals)} [{number(found.low, decimals)}, {number(found.high, decimals)}]"


def _share(found: Estimate) -> str:
    return f"{number(100 * found.value, 0)} % [{number(100 * found.low, 0)}, {number(100 * found.high, 0)}]"
