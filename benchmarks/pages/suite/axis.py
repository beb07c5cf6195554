"""Scores of a suite along its axis, or a forest plot where its variants only have names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.pages.plots import (
    INK,
    WHOLE_LABEL_LENGTH,
    Figure,
    colour,
    dash,
    dot_layout,
    dots,
    line_layout,
    symbol,
    text,
    values,
    vertical_line,
)
from benchmarks.pages.suite.results import MEASURES, Results
from benchmarks.pages.text import interval, number
from benchmarks.statistics.bootstrap import Estimate


def has_axis(found: Results) -> bool:
    """Whether variants or methods lie on an axis, or there are several variants."""
    return len(found.variants) > 1 or bool(found.methods_on_axis)


def along_axis(found: Results) -> Figure:
    """Share of the reference against the suite's axis; for variants that are only named a forest plot."""
    if bool(found.methods_on_axis):
        return _methods_on_axis(found)
    if all(found.x("variants", name) is not None for name in found.variants):
        return _variants_on_axis(found)
    return _forest(found)


def _methods_on_axis(found: Results) -> Figure:
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


def _variants_on_axis(found: Results) -> Figure:
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


def _forest(found: Results) -> Figure:
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


def n_forest_rows(found: Results) -> int:
    """Rows of the forest plot, 0 where the axis has numbers."""
    is_numeric = bool(found.methods_on_axis) or all(found.x("variants", name) is not None for name in found.variants)
    return 0 if is_numeric else sum(len(analysis.methods) for analysis in found.variants.values())
