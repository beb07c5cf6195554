"""Plots of a suite's statistics: specifications as in `benchmarks.pages.plots`, one figure for all variants.

The control `variant` chooses among the variants that have rows, `measure` among the measures of the leaderboard,
`task` among the tasks and `profile` whose band is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.pages.plots import (
    LABEL_LENGTH,
    MOST_NAMED,
    MOST_WRITTEN,
    MUTED,
    SCALE,
    Figure,
    colour,
    dash,
    dot_layout,
    dots,
    heat_map,
    line_layout,
    named_rows,
    padded,
    text,
    values,
    vertical_line,
)
from benchmarks.pages.suite.results import MEASURES, Results, counted, counted_by_task, measured
from benchmarks.pages.text import interval, number


def leaderboard(found: Results) -> Figure:
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


def by_task(found: Results) -> Figure:
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


def task_map(found: Results) -> Figure:
    """Heat map of the shares, methods by tasks; control `variant`."""
    traces, patches = [], []
    for v, analysis in enumerate(found.variants.values()):
        methods, tasks = list(measured(analysis, "share")), analysis.tasks
        z = [[analysis.summary(method, task).share.value for task in tasks] for method in methods]
        hover = [
            [
                f"{text(found.labels[method])}<br>{text(task)}<br>{number(share.value)} ({interval(share)})"
                for task in tasks
                for share in [analysis.summary(method, task).share]
            ]
            for method in methods
        ]
        bar = {"thickness": 10, "outlinewidth": 0, "tickfont": {"color": MUTED}, "nticks": 5}
        trace = heat_map(z, hover, SCALE, showscale=True, colorbar=bar)
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


def profiles(found: Results) -> Figure:
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


def captions(found: Results) -> Iterator[dict[str, Any]]:
    """What stands under the headings of the figures, by the choices that it belongs to."""
    bootstrap = "95 % bootstrap intervals"
    for v, analysis in enumerate(found.variants.values()):
        when: Mapping[str, list[int]] = {"variant": [v]}
        n = counted(analysis)
        yield {"id": "leaderboard", "when": when, "text": f"{bootstrap}; {n}"}
        yield {"id": "task-map", "when": when, "text": f"means, intervals in the table; {counted_by_task(analysis)}"}
        yield {"id": "profiles", "when": when, "text": f"pointwise 95 % bootstrap bands; {n}"}
        for task in analysis.tasks:
            chosen = {"variant": [v], "task": [found.tasks.index(task)]}
            yield {"id": "by-task", "when": chosen, "text": f"{task}: {bootstrap}; {counted(analysis, task)}"}


def _rows(labels: Sequence[str]) -> dict[str, Any]:
    """Names on the left of a plot with rows."""
    return {f"yaxis.{name}": value for name, value in named_rows(labels).items()}
