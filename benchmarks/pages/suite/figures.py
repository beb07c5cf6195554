"""Plots of a suite's statistics: specifications as in `benchmarks.pages.plots`, one figure for all variants.

The control `variant` chooses among the variants that have rows, `measure` among the measures of the leaderboard,
`task` among the tasks and `profile` whose band is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.pages.plots import (
    INK,
    LABEL_LENGTH,
    MUTED,
    WHOLE_LABEL_LENGTH,
    Figure,
    colour,
    dash,
    dot_layout,
    dots,
    line_layout,
    named_rows,
    padded,
    symbol,
    text,
    values,
    vertical_line,
)
from benchmarks.pages.report.text import interval, number
from benchmarks.statistics.analysis import VariantAnalysis
from benchmarks.statistics.bootstrap import Estimate
from benchmarks.suites.storage.store import SuiteRecord

MEASURES = {
    "share": "Share of the reference",
    "iqm": "Interquartile mean",
    "delta_m": "delta_m (%), lower is better",
}
SEQUENTIAL = [[k / 4, f"var(--scale-{k})"] for k in range(5)]
"""Colours of shares and weights from low to high; they follow the colour scheme."""
MOST_WRITTEN = 12  # columns of a heat map whose cells are labelled

MOST_NAMED = 24  # columns of a heat map that are named; of more every second, third ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A suite and its statistics.

    Attributes:
        record: What was run.
        variants: Statistics of the variants that have rows, by name, in the suite's order.
    """

    record: SuiteRecord
    variants: dict[str, VariantAnalysis]

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods with rows: a method's place gives its colour on every plot."""
        present = {method for analysis in self.variants.values() for method in analysis.methods}
        return tuple(name for name in self.labels if name in present)

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the methods; those that the suite does not name have their names."""
        others = {method: method for analysis in self.variants.values() for method in analysis.methods}
        return {
            **self.record.labels,
            **{name: label for name, label in others.items() if name not in self.record.labels},
        }

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks of all variants."""
        return tuple(dict.fromkeys(task for analysis in self.variants.values() for task in analysis.tasks))

    @property
    def measures(self) -> list[str]:
        """Keys of `MEASURES` that exist in any variant."""
        with_delta = any(analysis.delta_m for analysis in self.variants.values())
        return [name for name in MEASURES if name != "delta_m" or with_delta]

    @property
    def methods_on_axis(self) -> tuple[str, ...]:
        """Methods that have a number on the suite's axis."""
        return tuple(name for name in self.methods if self.x("methods", name) is not None)

    def label(self, variant: str) -> str:
        """Of a variant, for people."""
        return str(next(entry["label"] for entry in self.record.variants if entry["name"] == variant))

    def x(self, part: str, name: str) -> float | None:
        """Place of one of the `variants` or `methods` on the suite's axis."""
        entries: list[dict[str, Any]] = getattr(self.record, part)
        found = next((entry["x"] for entry in entries if entry["name"] == name), None)
        return None if found is None else float(found)


def measured(analysis: VariantAnalysis, measure: str) -> dict[str, Estimate]:
    """A measure of all methods that have it, the best first."""
    if measure == "delta_m":
        return dict(sorted(analysis.delta_m.items(), key=lambda item: item[1].value))
    found = {method: _of_all(analysis, method, measure) for method in analysis.methods}
    return dict(sorted(found.items(), key=lambda item: -item[1].value))


def _of_all(analysis: VariantAnalysis, method: str, measure: str) -> Estimate:
    """Over all tasks; a single task's interquartile mean is in units of the score: divided by the reference."""
    summary = analysis.summary(method, None)
    if measure == "share":
        return summary.share
    found = summary.interquartile_mean
    if len(analysis.tasks) > 1 or not summary.share.value:
        return found
    scale = summary.mean.value / summary.share.value
    return replace(found, value=found.value / scale, low=found.low / scale, high=found.high / scale)


def leaderboard(found: Found) -> Figure:
    """Dots with intervals, sorted; controls `variant` and `measure`."""
    traces, patches = [], []
    for v, analysis in enumerate(found.variants.values()):
        for m, measure in enumerate(found.measures):
            when = {"variant": [v], "measure": [m]}
            estimates = measured(analysis, measure)
            if not estimates:
                continue
            traces += dots(found.methods, estimates, when, found.labels)
            line = 0.0 if measure == "delta_m" else 1.0
            ends = [x for estimate in estimates.values() for x in (estimate.low, estimate.high)]
            patch = _rows([found.labels[method] for method in estimates]) | {
                "xaxis.title.text": MEASURES[measure],
                "xaxis.range": padded([*ends, line] if measure != "delta_m" else [*ends, 0.0]),
                "shapes": [vertical_line(line)],
            }
            patches.append({"when": when, "layout": patch})
    return {"traces": traces, "layout": dot_layout(found.methods), "patches": patches}


def by_task(found: Found) -> Figure:
    """Share of the reference on one task with intervals; controls `variant` and `task`."""
    traces, patches = [], []
    for v, analysis in enumerate(found.variants.values()):
        for task in analysis.tasks:
            when = {"variant": [v], "task": [found.tasks.index(task)]}
            shares = {method: analysis.summary(method, task).share for method in analysis.methods}
            shares = dict(sorted(shares.items(), key=lambda item: -item[1].value))
            traces += dots(found.methods, shares, when, found.labels)
            ends = [x for estimate in shares.values() for x in (estimate.low, estimate.high)]
            patch = _rows([found.labels[method] for method in shares]) | {"xaxis.range": padded([*ends, 1.0])}
            patches.append({"when": when, "layout": patch})
    layout = dot_layout(found.methods)
    layout["xaxis"]["title"]["text"] = MEASURES["share"]
    layout["shapes"] = [vertical_line(1.0)]
    return {"traces": traces, "layout": layout, "patches": patches}


def task_map(found: Found) -> Figure:
    """Heat map of the shares, methods by tasks; control `variant`."""
    traces, patches = [], []
    for v, analysis in enumerate(found.variants.values()):
        methods, tasks = list(measured(analysis, "share")), analysis.tasks
        z = [[analysis.summary(method, task).share.value for task in tasks] for method in methods]
        trace = {
            "type": "heatmap",
            "x": list(range(len(tasks))),
            "y": [-row for row in range(len(methods))],
            "z": [values(line) for line in z],
            "colorscale": SEQUENTIAL,
            "showscale": True,
            "colorbar": {"thickness": 10, "outlinewidth": 0, "tickfont": {"color": MUTED}, "nticks": 5},
            "xgap": 2,
            "ygap": 2,
            "hoverinfo": "text",
            "hovertext": [
                [
                    f"{text(found.labels[method])}<br>{text(task)}<br>{number(share.value)} ({interval(share)})"
                    for task in tasks
                    for share in [analysis.summary(method, task).share]
                ]
                for method in methods
            ],
        }
        if len(tasks) <= MOST_WRITTEN:
            trace["texttemplate"] = "%{z:.2f}"
        when, every = {"variant": [v]}, -(-len(tasks) // MOST_NAMED)
        traces.append({"trace": trace, "when": when})
        patch = _rows([found.labels[method] for method in methods]) | {
            "xaxis.tickvals": list(range(0, len(tasks), every)),
            "xaxis.ticktext": [text(task, LABEL_LENGTH) for task in tasks[::every]],
            "xaxis.range": [-0.5, len(tasks) - 0.5],
        }
        patches.append({"when": when, "layout": patch})
    layout = dot_layout(found.methods)
    layout["xaxis"] |= {"tickangle": -40, "automargin": True, "fixedrange": True}
    del layout["xaxis"]["nticks"]
    return {"traces": traces, "layout": layout, "patches": patches}


def profiles(found: Found) -> Figure:
    """Share of the episodes above a level of the score; controls `variant` and `profile` (0: all bands)."""
    traces = []
    for v, analysis in enumerate(found.variants.values()):
        for item in analysis.profiles:
            index = found.methods.index(item.method)
            # where the curve has come to 0 nothing more is to be seen
            n = min(len(item.levels), int(np.count_nonzero(item.high > 0)) + 1)
            name, ink = text(found.labels[item.method]), colour("method", index)
            levels, low, high, value = (values(array[:n]) for array in (item.levels, item.low, item.high, item.value))
            band = {
                "type": "scatter",
                "mode": "lines",
                "x": [*levels, *levels[::-1]],
                "y": [*high, *low[::-1]],
                "fill": "toself",
                "fillcolor": ink,
                "opacity": 0.16,
                "line": {"width": 0},
                "hoverinfo": "skip",
                "name": name,
            }
            traces.append({"trace": band, "when": {"variant": [v], "profile": [0, 1 + index]}})
            line = {"color": ink, "dash": dash("method", index), "width": 1.75}
            curve = {"type": "scatter", "mode": "lines", "name": name, "x": levels, "y": value, "line": line}
            traces.append({"trace": curve, "when": {"variant": [v]}})
    layout = line_layout()
    layout["xaxis"]["title"]["text"] = "Score over the task's mean reference"
    layout["yaxis"] |= {"title": {**layout["yaxis"]["title"], "text": "Share of episodes above"}, "range": [0, 1.02]}
    return {"traces": traces, "layout": layout, "patches": []}


def has_axis(found: Found) -> bool:
    """Whether variants or methods lie on an axis, or there are several variants."""
    return len(found.variants) > 1 or bool(found.methods_on_axis)


def along_axis(found: Found) -> Figure:
    """Share of the reference against the suite's axis; for variants that are only named a forest plot."""
    if bool(found.methods_on_axis):
        return _methods_on_axis(found)
    if all(found.x("variants", name) is not None for name in found.variants):
        return _variants_on_axis(found)
    return _forest(found)


def _methods_on_axis(found: Found) -> Figure:
    """Methods with a number as a line; the others as level lines that they are compared with. Control `variant`."""
    traces = []
    on_axis = found.methods_on_axis
    places = [found.x("methods", name) or 0.0 for name in on_axis]
    for v, analysis in enumerate(found.variants.values()):
        when = {"variant": [v]}
        present = [(name, x) for name, x in zip(on_axis, places, strict=True) if name in analysis.methods]
        present.sort(key=lambda item: item[1])
        shares = [analysis.summary(name, None).share for name, _ in present]
        line = _with_intervals([x for _, x in present], shares, found.record.axis, INK, 0)
        traces.append({"trace": line, "when": when})
        for method in analysis.methods:
            if method not in on_axis:
                index = found.methods.index(method)
                share = analysis.summary(method, None).share
                level = _level(places, share, found.labels[method], colour("method", index), index)
                traces.append({"trace": level, "when": when})
    return {"traces": traces, "layout": _axis_layout(found.record.axis, places), "patches": []}


def _variants_on_axis(found: Found) -> Figure:
    traces = []
    places = {name: found.x("variants", name) or 0.0 for name in found.variants}
    for index, method in enumerate(found.methods):
        present = [
            (places[name], a.summary(method, None).share) for name, a in found.variants.items() if method in a.methods
        ]
        present.sort(key=lambda item: item[0])
        line = _with_intervals(
            [x for x, _ in present],
            [share for _, share in present],
            found.labels[method],
            colour("method", index),
            index,
        )
        if len(present) == 1 and len(places) > 1:  # does not depend on what distinguishes the variants
            line = _level(list(places.values()), present[0][1], found.labels[method], colour("method", index), index)
        traces.append({"trace": line, "when": {}})
    return {"traces": traces, "layout": _axis_layout(found.record.axis, list(places.values())), "patches": []}


def _with_intervals(x: Sequence[float], shares: Sequence[Estimate], name: str, ink: str, index: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": text(name),
        "x": values(x),
        "y": values([share.value for share in shares]),
        "line": {"color": ink, "width": 2, "dash": dash("method", index)},
        "marker": {"color": ink, "size": 8, "symbol": symbol(index)},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": values([share.high - share.value for share in shares]),
            "arrayminus": values([share.value - share.low for share in shares]),
            "color": ink,
            "thickness": 1.5,
            "width": 0,
        },
        "hoverinfo": "text",
        "hovertext": [
            f"{text(name)}<br>{place:g}: {number(share.value)} ({interval(share)})"
            for place, share in zip(x, shares, strict=True)
        ],
    }


def _level(places: Sequence[float], share: Estimate, name: str, ink: str, index: int) -> dict[str, Any]:
    """A level line over the axis; only its right end has the interval."""
    line = _with_intervals([min(places), max(places)], [share, share], name, ink, index)
    for side in ("array", "arrayminus"):
        line["error_y"][side][0] = 0
    hover = f"{text(name)}<br>{number(share.value)} ({interval(share)})"
    return {**line, "mode": "lines", "line": {**line["line"], "width": 1.5}, "hovertext": [hover, hover]}


def _axis_layout(title: str, places: Sequence[float]) -> dict[str, Any]:
    layout = line_layout()
    layout["xaxis"]["title"]["text"] = text(title)
    layout["yaxis"]["title"] = {**layout["yaxis"]["title"], "text": "Share of the reference"}
    marks = sorted(set(places))
    if marks and marks[0] > 0 and marks[-1] >= 4 * marks[0]:
        air = 0.04 * np.log10(marks[-1] / marks[0])
        ends = values([np.log10(marks[0]) - air, np.log10(marks[-1]) + air])
        layout["xaxis"] |= {
            "type": "log",
            "range": ends,
            "title": {**layout["xaxis"]["title"], "text": text(f"{title} (log)")},
        }
    shown = marks if len(marks) <= 7 else marks[::2]
    layout["xaxis"] |= {"tickvals": values(shown), "ticktext": [f"{x:g}" for x in shown], "tickangle": 0}
    return layout


def _forest(found: Found) -> Figure:
    """A block of rows a method, a row a variant."""
    names, traces, labels, ticks, row = list(found.variants), [], [], [], 0.0
    for method in found.methods:
        for variant in names:
            analysis = found.variants[variant]
            if method not in analysis.methods:
                continue
            (dot,) = dots(found.methods, {method: analysis.summary(method, None).share}, {}, found.labels)
            dot["trace"] |= {"y": [-row]}
            dot["trace"]["hovertext"] = f"{text(found.label(variant))}<br>{dot['trace']['hovertext']}"
            dot["trace"]["marker"] = {**dot["trace"]["marker"], "symbol": symbol(names.index(variant))}
            traces.append(dot)
            ticks.append(-row)
            labels.append(text(f"{found.labels[method]}: {found.label(variant)}", WHOLE_LABEL_LENGTH))
            row += 1
        row += 0.5
    layout = dot_layout(labels)
    layout["yaxis"] |= {"tickvals": ticks, "ticktext": labels, "range": [-row + 0.4, 0.6]}
    layout["xaxis"]["title"]["text"] = MEASURES["share"]
    layout["shapes"] = [vertical_line(1.0)]
    return {"traces": traces, "layout": layout, "patches": []}


def n_forest_rows(found: Found) -> int:
    """Rows of the forest plot, 0 where the axis has numbers."""
    is_numeric = bool(found.methods_on_axis) or all(found.x("variants", name) is not None for name in found.variants)
    return 0 if is_numeric else sum(len(analysis.methods) for analysis in found.variants.values())


def counted(analysis: VariantAnalysis, task: str | None = None) -> str:
    """What the figures of a variant rest on."""
    shares = [analysis.summary(method, task).share for method in analysis.methods]
    n_seeds = sorted({share.n_train_seeds for share in shares if share.n_train_seeds})
    seeds = "no training seeds" if not n_seeds else f"{n_seeds[0]} training seed{'s' * (n_seeds[0] != 1)}"
    if len(n_seeds) > 1:
        seeds = f"{n_seeds[0]} to {n_seeds[-1]} training seeds"
    return f"n = {shares[0].n_episodes:,} paired test episodes, {seeds}"


def captions(found: Found) -> Iterator[dict[str, Any]]:
    """What stands under the headings of the figures, by the choices that it belongs to."""
    bootstrap = "95 % stratified bootstrap intervals"
    for v, analysis in enumerate(found.variants.values()):
        when: Mapping[str, list[int]] = {"variant": [v]}
        n = counted(analysis)
        yield {"id": "leaderboard", "when": when, "text": f"{bootstrap}; {n}"}
        yield {"id": "task-map", "when": when, "text": f"means, intervals in the table; {n}"}
        yield {"id": "profiles", "when": when, "text": f"pointwise 95 % bootstrap bands; {n}"}
        for task in analysis.tasks:
            chosen = {"variant": [v], "task": [found.tasks.index(task)]}
            yield {"id": "by-task", "when": chosen, "text": f"{task}: {bootstrap}; {counted(analysis, task)}"}


def _rows(labels: Sequence[str]) -> dict[str, Any]:
    """Names on the left of a plot with rows."""
    return {f"yaxis.{name}": value for name, value in named_rows(labels).items()}
