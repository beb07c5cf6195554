"""The HTML of the report: sections, tables, legends and controls; every name is escaped here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.pages import plots
from benchmarks.pages.report.data import Analysis
from benchmarks.pages.report.text import (
    decimals_for,
    findings,
    number,
    p_text,
    percent,
    ranges,
    task_name,
)
from benchmarks.statistics.bootstrap import Estimate
from benchmarks.statistics.pairing import UNTRAINED, columns
from benchmarks.statistics.summaries import RATIO_COLUMNS

CONSTRAINT_NAMES = {
    "budget": "Budget",
    "cpa": "CPA",
    "cpc": "CPC",
    "roas": "ROAS",
    "min_delivery": "Delivery",
    "smoothness": "Smoothness",
}
_UNBOUNDED = ("cpa", "cpc", "roas", "min_delivery")  # ratios that may be infinite
DASH_ARRAYS = {"solid": "", "dash": "7 4", "dot": "2 3", "dashdot": "7 3 2 3"}


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: its anchor, its heading in the navigation, and its HTML."""

    anchor: str
    heading: str
    body: str


def escape(name: object) -> str:
    """Text for HTML, also within attributes."""
    return html.escape(str(name), quote=True)


def sections(analysis: Analysis) -> list[Section]:
    """The sections in order; those without data are left out."""
    report = analysis.report
    out = [
        Section("headline", "Findings", headline(analysis)),
        Section("scores", "Scores", scores(analysis)),
    ]
    if report.baselines:
        out.append(Section("differences", "Paired differences", differences(analysis)))
    out.append(Section("feasibility", "Feasibility", feasibility(analysis)))
    if report.episodes:
        out.append(Section("episodes", "Over the day", episodes(analysis)))
    if plots.weighted_methods(analysis):
        out.append(Section("weights", "Task weights", weights(analysis)))
    if report.histories:
        out.append(Section("validation", "Validation loss", losses(analysis)))
    out.append(Section("reproduce", "How to reproduce", reproduce(analysis)))
    return out


def controls(analysis: Analysis) -> dict[str, list[str]]:
    """Choices of every control by name, as the page's address spells them."""
    return {
        "measure": [name.replace("_", "-") for name in plots.MEASURES],
        "episode": [episode.title for episode in analysis.report.episodes],
        "method": ["all", *plots.viewer_methods(analysis)],
        "history": list(plots.weighted_methods(analysis)),
        "quantity": ["weights", "alignments"],
    }


def headline(analysis: Analysis) -> str:
    """What ran, where, on how many episodes; and what came out."""
    paired = analysis.paired
    counts = [len(units) for units in paired.units]
    each = f"{counts[0]:,} each" if len(set(counts)) == 1 else ", ".join(f"{n:,}" for n in counts)
    runs = sum(values.size for grids in paired.values.values() for values in grids)
    facts = {
        "Methods": f"{len(paired.methods)}",
        "Tasks": f"{len(paired.tasks)}",
        "Paired episodes": f"{sum(counts):,}" + (f" ({each})" if len(counts) > 1 else ""),
        "Evaluated episodes": f"{runs:,}",
        "Machine": analysis.report.machine,
    }
    suite = columns(analysis.report.rows, ()).get("suite")
    if suite is not None:
        facts = {"Suite": str(suite[0])} | facts
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in findings(analysis))
    return f'<dl class="facts">{items}</dl><ul class="findings">{sentences}</ul>'


def scores(analysis: Analysis) -> str:
    """Dot plots and the table of scores."""
    report = analysis.report
    level = f"{100 * report.bootstrap.level:g} %"
    intro = (
        f"Points are estimates, lines {level} intervals of a stratified bootstrap over the paired episodes and, "
        "where a method was trained several times, its training seeds. The reference is the constant multiplier "
        "that would have been best in hindsight (dotted line at 1)."
    )
    choice = radios("measure", "Measure", list(plots.MEASURES.values()))
    cards = [
        card(f"score-{k}", task_name(task), _counted(analysis, task), rows=len(analysis.paired.methods))
        for k, task in enumerate(analysis.tasks)
    ]
    return f"<p>{escape(intro)}</p>{choice}{grid(cards)}{_score_table(analysis)}"


def _score_table(analysis: Analysis) -> str:
    head = ["Mean", "Interquartile mean", "Share of the reference"]
    groups = []
    for task in analysis.tasks:
        summaries = [analysis.summaries[method, task] for method in analysis.paired.methods]
        lines: list[list[str]] = [[] for _ in summaries]
        for name in ("mean", "interquartile_mean", "share"):
            for line, cells in zip(lines, estimate_cells([getattr(s, name) for s in summaries]), strict=True):
                line += cells
        rows = [
            [name_cell(analysis, s.method), *line, seeds_cell(s.mean)] for s, line in zip(summaries, lines, strict=True)
        ]
        note = "in units of the reference" if task is None else f"score in {analysis.report.score_unit}"
        groups.append((f"{task_name(task)}: {_counted(analysis, task)}, {note}", rows))
    return table("Scores", ["Method", *head, "Training seeds"], {1: 3, 2: 3, 3: 3}, groups)


def differences(analysis: Analysis) -> str:
    """Per baseline the dot plots, and one table."""
    report = analysis.report
    intro = (
        "Method minus baseline on the same episodes. An interval that leaves out 0 is a difference at "
        f"{100 * report.bootstrap.level:g} % for that comparison alone; the last column adjusts the p value for all "
        f"{len(analysis.comparisons)} comparisons on this page (Holm). P(higher) is the probability that the method "
        "scores higher in an episode, ties counting half."
    )
    blocks, groups = [], []
    for b, baseline in enumerate(report.baselines):
        methods = [method for method in analysis.paired.methods if method != baseline]
        cards = [
            card(f"difference-{b}-{k}", task_name(task), _counted(analysis, task), rows=len(methods))
            for k, task in enumerate(analysis.tasks)
        ]
        blocks.append(f"<h3>Against {escape(baseline)}</h3>{grid(cards)}")
        for task in analysis.tasks:
            found = [analysis.comparisons[method, baseline, task] for method in methods]
            gaps = estimate_cells([c.difference for c in found], signed=True)
            wins = estimate_cells([c.improvement for c in found])
            rows = [
                [
                    name_cell(analysis, c.method),
                    *gap,
                    *win,
                    cell(p_text(c.p_value)),
                    cell(p_text(c.p_holm)),
                    seeds_cell(c.difference),
                ]
                for c, gap, win in zip(found, gaps, wins, strict=True)
            ]
            groups.append((f"Against {baseline}, {task_name(task)}: {_counted(analysis, task)}", rows))
    test = "paired bootstrap" if next(iter(analysis.comparisons.values())).test == "bootstrap" else "Wilcoxon"
    head = ["Method", "Difference", "P(higher)", f"p ({test})", "p (Holm)", "Training seeds"]
    return f"<p>{escape(intro)}</p>{''.join(blocks)}{table('Paired differences', head, {1: 3, 2: 3}, groups)}"


def feasibility(analysis: Analysis) -> str:
    """Table of the share of episodes within the limits."""
    intro = (
        "Share of the episodes that keep a limit (ratio of realised to limit at most 1), with Wilson intervals, and "
        "the mean overrun max(ratio − 1, 0) of the episodes with a finite ratio. Unbounded: money spent on "
        "nothing, or no money spent where some had to be."
    )
    present = {c for _, _, c in analysis.feasibility if c is not None}
    constraints = [c for c in RATIO_COLUMNS if c in present]
    head, spans = ["Method", "All limits kept"], {1: 3}
    for constraint in constraints:
        name = CONSTRAINT_NAMES[constraint]
        head += [f"{name} kept", f"{name}: mean overrun"]
    head += [f"{CONSTRAINT_NAMES[constraint]}: unbounded" for constraint in constraints if constraint in _UNBOUNDED]
    groups = []
    for task in analysis.paired.tasks:
        rows = []
        for method in analysis.paired.methods:
            kept = analysis.feasibility[method, task, None].feasible
            line = [
                name_cell(analysis, method),
                cell(percent(kept.value)),
                cell(percent(kept.low), "low"),
                cell(percent(kept.high), "high"),
            ]
            for constraint in constraints:
                found = analysis.feasibility.get((method, task, constraint))
                line.append(cell(percent(found.feasible.value) if found else "–"))
                line.append(cell(percent(found.mean_overrun) if found else "–"))
            for constraint in constraints:
                if constraint in _UNBOUNDED:
                    found = analysis.feasibility.get((method, task, constraint))
                    line.append(cell(percent(found.unbounded) if found else "–"))
            rows.append(line)
        groups.append((f"{task}: {_counted(analysis, task)}", rows))
    return f"<p>{escape(intro)}</p>{table('Feasibility', head, spans, groups)}"


def episodes(analysis: Analysis) -> str:
    """The viewer of single episodes."""
    shown = plots.viewer_methods(analysis)
    marks = [swatch("method", analysis.methods.index(method)) for method in shown]
    pick = radios("method", "Method", ["All methods", *shown], ["", *marks])
    titles = [episode.title for episode in analysis.report.episodes]
    episode = select("episode", "Episode", titles)
    plans = (
        f"{line_mark('var(--ink)', 'solid', 1)} budget",
        f"{line_mark('var(--muted)', 'dash', 1.5)} plan in proportion to the traffic",
        f"{line_mark('var(--muted)', 'dot', 1.5)} even plan",
    )
    legend = '<ul class="legend">' + "".join(f"<li>{entry}</li>" for entry in plans) + "</ul>"
    cards = [
        card(f"episode-{panel}", title, note, wide=panel == "cost")
        for panel, (title, note) in plots.EPISODE_PANELS.items()
    ]
    note = '<p class="note" id="episode-note" aria-live="polite"></p>'
    intro = (
        "<p>One campaign, bid by each method in turn against the same competitors; hours of the day. "
        "The page's address keeps what you choose.</p>"
    )
    return f"{intro}{episode if len(titles) > 1 else f'<p>{escape(titles[0])}</p>'}{pick}{note}{legend}{grid(cards)}"


def weights(analysis: Analysis) -> str:
    """Weights of the source tasks over training, a plot a target."""
    methods = plots.weighted_methods(analysis)
    sources = plots.history_sources(analysis)
    pick = radios("history", "Method", methods) if len(methods) > 1 else f"<p>Method: {escape(methods[0])}</p>"
    quantity = ""
    if any(h.alignments is not None for h in analysis.report.histories.values()):
        quantity = radios("quantity", "Quantity", ["Weights", "Alignments"])
    entries = "".join(f"<li>{swatch('task', i)} {escape(s)}</li>" for i, s in enumerate(sources))
    intro = (
        "How much each source task counts in the training of a target task. The target's own data are drawn thicker; "
        "the dotted line marks equal weights, or no alignment."
    )
    titles = plots.history_targets(analysis)
    cards = [card(f"weights-{k}", f"Target {t}", "") for k, t in enumerate(titles)]
    return f'<p>{escape(intro)}</p>{pick}{quantity}<ul class="legend">{entries}</ul>{grid(cards)}'


def losses(analysis: Analysis) -> str:
    """Validation loss over training, a plot a target."""
    methods = list(analysis.report.histories)
    entries = "".join(f"<li>{swatch('method', analysis.methods.index(m))} {escape(m)}</li>" for m in methods)
    titles = plots.history_targets(analysis)
    cards = [card(f"loss-{k}", f"Target {t}", "") for k, t in enumerate(titles)]
    intro = "Loss on held-out trajectories of the target task. A lower loss need not mean a higher score."
    return f'<p>{intro}</p><ul class="legend">{entries}</ul>{grid(cards)}'


def reproduce(analysis: Analysis) -> str:
    """Command, seeds, settings and versions."""
    report, paired = analysis.report, analysis.paired
    units = np.concatenate(paired.units)
    train = {int(s) for seeds in paired.train_seeds.values() for s in seeds if s != UNTRAINED}
    boot = report.bootstrap
    seeds = {
        "Market seeds": ranges(units[:, 0].tolist()),
        "Advertisers": ranges(units[:, 1].tolist()),
        "Training seeds": ranges(train) or "none",
        "Bootstrap": f"{boot.n_resamples:,} resamples by {boot.unit}, seed {boot.seed}, level {boot.level:g}",
    }
    parts = [f"<pre tabindex='0'><code>{escape(report.command)}</code></pre>", pairs_table("Seeds", seeds)]
    if report.parameters:
        parts.append(pairs_table("Parameters", report.parameters))
    if report.versions:
        parts.append(pairs_table("Versions", report.versions))
    return "".join(parts)


def pairs_table(heading: str, pairs: Mapping[str, str]) -> str:
    """A heading and a table of names and values."""
    rows = [f'<tr><th scope="row">{escape(k)}</th><td class="value">{escape(v)}</td></tr>' for k, v in pairs.items()]
    return f"<h3>{heading}</h3>{scroll(heading, '<table class=pairs><tbody>' + ''.join(rows) + '</tbody></table>')}"


# ---------------------------------------------------------------- building blocks


def card(figure: str, title: str, note: str, rows: int = 0, wide: bool = False) -> str:
    """A figure's frame; the height follows the rows of a dot plot."""
    height = f' style="height:{62 + 26 * rows}px"' if rows else ""
    small = f'<small id="note-{figure}">{escape(note)}</small>' if note else ""
    return (
        f'<figure class="card{" wide" if wide else ""}"><figcaption>{escape(title)} {small}</figcaption>'
        f'<div class="plot" id="plot-{figure}" data-figure="{figure}" role="img"'
        f' aria-label="{escape(title)}: {escape(note or "plot")}"{height}></div></figure>'
    )


def grid(cards: Iterable[str]) -> str:
    """Cards side by side as the width allows."""
    return f'<div class="grid">{"".join(cards)}</div>'


def radios(control: str, legend: str, labels: Sequence[str], marks: Sequence[str] | None = None) -> str:
    """A group of radio buttons for a control; the first is chosen."""
    items = [
        f'<label><input type="radio" name="{control}" data-control="{control}" value="{i}"'
        f"{' checked' if i == 0 else ''}>{marks[i] if marks else ''}<span>{escape(label)}</span></label>"
        for i, label in enumerate(labels)
    ]
    return f'<fieldset class="choice"><legend>{escape(legend)}</legend>{"".join(items)}</fieldset>'


def select(control: str, label: str, choices: Sequence[str], where: str = "") -> str:
    """A list to choose from; `where` tells apart several of one control."""
    options = "".join(f'<option value="{i}">{escape(choice)}</option>' for i, choice in enumerate(choices))
    identity = f"control-{control}{where}"
    return (
        f'<p class="choice"><label for="{identity}">{escape(label)}</label> '
        f'<select id="{identity}" data-control="{control}">{options}</select></p>'
    )


def line_mark(colour: str, dash: str, width: float) -> str:
    """A short line for legends."""
    array = f' stroke-dasharray="{DASH_ARRAYS[dash]}"' if DASH_ARRAYS[dash] else ""
    style = f'style="stroke:{colour};stroke-width:{width}"'
    return f'<svg class="mark" viewBox="0 0 26 10" aria-hidden="true"><path d="M0 5H26" {style}{array}/></svg>'


def swatch(kind: str, index: int) -> str:
    """The line of a method or task as the plots draw it."""
    return line_mark(plots.colour(kind, index), plots.dash(kind, index), 3)


def cell(content: str, kind: str = "") -> str:
    """A cell of the page's own text."""
    return f'<td class="{kind}">{escape(content)}</td>' if kind else f"<td>{escape(content)}</td>"


def name_cell(analysis: Analysis, method: str) -> str:
    """Row header with the method's colour."""
    return f'<th scope="row">{swatch("method", analysis.methods.index(method))} {escape(method)}</th>'


def seeds_cell(estimate: Estimate) -> str:
    """Number of training seeds."""
    return cell(str(estimate.n_train_seeds) if estimate.n_train_seeds else "–")


def estimate_cells(estimates: Sequence[Estimate], signed: bool = False) -> list[list[str]]:
    """Value, low and high of each, with one count of decimals for all."""
    places = decimals_for([x for e in estimates for x in (e.value, e.low, e.high)])

    def show(x: float) -> str:
        return ("+" if signed and x > 0 else "") + number(x, places)

    return [[cell(show(e.value)), cell(show(e.low), "low"), cell(show(e.high), "high")] for e in estimates]


def table(
    caption: str, head: Sequence[str], spans: dict[int, int], groups: Sequence[tuple[str, list[list[str]]]]
) -> str:
    """A table of row groups, in a box that scrolls sideways; spanned columns are value, low and high."""
    width = sum(spans.get(i, 1) for i in range(len(head)))
    first = "".join(
        f'<th scope="col" colspan="{spans[i]}">{escape(h)}<small>value, interval</small></th>'
        if i in spans
        else f'<th scope="col">{escape(h)}</th>'
        for i, h in enumerate(head)
    )
    bodies = "".join(
        f'<tbody><tr class="group"><th scope="rowgroup" colspan="{width}"><span>{escape(title)}</span></th></tr>'
        + "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
        + "</tbody>"
        for title, rows in groups
    )
    return scroll(
        caption, f"<table><caption>{escape(caption)}</caption><thead><tr>{first}</tr></thead>{bodies}</table>"
    )


def scroll(label: str, content: str) -> str:
    """A box for a wide table: it scrolls sideways, the page does not."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="Table: {escape(label)}">{content}</div>'


def _counted(analysis: Analysis, task: str | None) -> str:
    n = sum(len(analysis.paired.units[k]) for k in analysis.paired.task_indices(task))
    return f"{n:,} paired episodes"
