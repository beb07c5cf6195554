"""Parts of figures as plotly.js specifications: plain data, drawn and re-coloured by the page's script.

A figure is a dict of
    traces: list of {"trace": plotly trace, "when": {control: [choices]}}: shown while all controls agree;
    layout: plotly layout;
    patches: list of {"when": ..., "layout": {"dotted.path": value}}: laid over the layout while they agree.
A trace may also have `until`, the name of a control: as many of its points are drawn as that control has come to.
A map of targets by sources may have `names` in place of a text for every cell.
A figure that is made of the page's records instead is {"build": name, "controls": [names]}: see `assets/suite.js`.
Colours are names of CSS variables, so that they follow the colour scheme. Text is escaped for plotly's own
markup; numbers sit on numeric axes with text labels, so that a name is never read as a date or a number.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.pages.text import interval, number
from benchmarks.statistics.bootstrap import Estimate
from benchmarks.statistics.summaries import Summary

Float = NDArray[np.float64]
Figure = dict[str, Any]

# Colours searched for the largest smallest distance (OKLab) under normal, protan, deutan and tritan vision, with a
# contrast of at least 3 to the page; a method keeps its hue in both schemes.
METHOD_COLOURS = {
    "light": ("#0242bb", "#f16005", "#00a675", "#7c1574", "#5e5500", "#13798f", "#ae6fd9", "#303436"),
    "dark": ("#3e6ad9", "#b14614", "#49a954", "#fe7fab", "#fac168", "#72ddfc", "#ad94fd", "#73767b"),
}
TASK_COLOURS = {
    "light": ("#1d2f8a", "#789d3b", "#6c0629", "#007475", "#9c4903", "#b16fcb"),
    "dark": ("#736ac2", "#a8df85", "#b05044", "#4ea5a3", "#cb9326", "#ebb5f8"),
}
DASHES = ("solid", "dash", "dot", "dashdot")  # tell apart what shares a colour beyond the palette
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "pentagon", "hexagon", "star", "triangle-down")
INK, MUTED, RULE = "var(--ink)", "var(--muted)", "var(--rule)"
SCALE = tuple(f"var(--scale-{k})" for k in range(5))
"""Colours of shares and weights from low to high."""
DIVERGING = ("var(--low)", "var(--middle)", "var(--high)")
"""Colours of what lies on both sides of a middle."""
MOST_NAMED = 24  # rows or columns of a heat map that are named
MOST_GAPS = 40  # columns of a heat map whose cells have gaps between them
MOST_WRITTEN = 12  # columns of a heat map whose cells are labelled
LABEL_LENGTH = 24  # characters of a name on an axis
WHOLE_LABEL_LENGTH = 56  # of one on the left of a plot, which a narrow page shortens to the other (page.js)


def colour(kind: str, index: int) -> str:
    """CSS variable of the method's or task's colour."""
    palette = METHOD_COLOURS if kind == "method" else TASK_COLOURS
    return f"var(--{kind}-{index % len(palette['light'])})"


def dash(kind: str, index: int) -> str:
    """Line style that goes with `colour`."""
    palette = METHOD_COLOURS if kind == "method" else TASK_COLOURS
    return DASHES[index // len(palette["light"]) % len(DASHES)]


def symbol(index: int) -> str:
    """Marker of the method with that index: open beyond the palette."""
    return SYMBOLS[index % len(SYMBOLS)] + ("-open" if index // len(SYMBOLS) % 2 else "")


def one_line(name: str, length: int | None = None) -> str:
    """A name on one line, shortened to a length: both its ends, since names of variants differ at either."""
    line = " ".join(name.split())
    if length is None or len(line) <= length:
        return line
    return f"{line[: length // 2]}…{line[length // 2 - length + 1 :]}"


def text(name: str, length: int | None = None) -> str:
    """A name for plotly: one line, shortened to a length, its markup characters escaped."""
    line = one_line(name, length)
    # a pair of dollars would ask plotly for a formula
    return html.escape(line, quote=False).replace("$", "&#36;")


def values(array: ArrayLike) -> list[float | None]:
    """Numbers for JSON: 6 significant digits, None where not finite."""
    flat = np.asarray(array, np.float64).tolist()
    return [float(f"{x:.6g}") if np.isfinite(x) else None for x in flat]


def dots(
    order: Sequence[str],
    estimates: Mapping[str, Estimate],
    when: Mapping[str, list[int]],
    labels: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """One point with its interval a method, at y = -row.

    Args:
        order: All methods of the page: a method's place gives its colour and marker.
        estimates: By method, from top to bottom.
        when: The choices of the controls at which the points are shown.
        labels: Of the methods for people; without, their names.
    """
    out = []
    for row, (method, estimate) in enumerate(estimates.items()):
        index = order.index(method)
        label = text(labels[method] if labels else method)
        runs = f", {estimate.n_train_seeds} training seeds" if estimate.n_train_seeds else ""
        hover = f"{label}<br>{number(estimate.value)} ({interval(estimate)})"
        trace = {
            "type": "scatter",
            "mode": "markers",
            "name": label,
            "x": values([estimate.value]),
            "y": [-row],
            "marker": {"color": colour("method", index), "size": 10, "symbol": symbol(index)},
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": values([estimate.high - estimate.value]),
                "arrayminus": values([estimate.value - estimate.low]),
                "color": colour("method", index),
                "thickness": 2,
                "width": 0,
            },
            "hoverinfo": "text",
            "hovertext": f"{hover}<br>{estimate.n_episodes} paired episodes{runs}",
        }
        out.append({"trace": trace, "when": dict(when)})
    return out


def named_rows(names: Sequence[str]) -> dict[str, Any]:
    """What an axis of rows has of their names, from top to bottom."""
    return {
        "tickvals": [-row for row in range(len(names))],
        "ticktext": [text(name, WHOLE_LABEL_LENGTH) for name in names],
        "range": [-len(names) + 0.4, 0.6],
    }


def dot_layout(methods: Sequence[str]) -> dict[str, Any]:
    """Names on the left, one row each."""
    layout = _layout()
    layout["yaxis"] |= named_rows(methods) | {"automargin": True, "fixedrange": True, "gridcolor": RULE}
    layout["xaxis"] |= {"nticks": 5, "tickangle": 0}
    layout["margin"] = {"l": 8, "r": 14, "t": 6, "b": 44}
    return layout


def line_layout() -> dict[str, Any]:
    """Layout of a plot of lines."""
    layout = _layout()
    layout["hovermode"] = "closest"
    layout["yaxis"] |= {"nticks": 6, "automargin": True}
    layout["margin"] = {"l": 8, "r": 22, "t": 8, "b": 40}
    return layout


def _layout() -> dict[str, Any]:
    """What all figures share: no background of their own, quiet axes, no legend (the page has one)."""
    axis = {
        "gridcolor": RULE,
        "zeroline": False,
        "linecolor": RULE,
        "tickfont": {"color": MUTED},
        "hoverformat": ".4~g",
    }
    title = {"color": MUTED, "size": 12}
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "var(--sans)", "size": 12, "color": INK},
        "hoverlabel": {
            "bgcolor": "var(--raised)",
            "bordercolor": RULE,
            "font": {"family": "var(--sans)", "color": INK},
            "namelength": -1,
            "align": "left",
        },
        "showlegend": False,
        "xaxis": {**axis, "title": {"font": title, "standoff": 8}},
        "yaxis": {**axis, "title": {"font": title}},
    }


def heat_map(z: ArrayLike, hover: Sequence[Sequence[str]] | None, scale: Sequence[str], **more: Any) -> dict[str, Any]:
    """A heat map whose rows go down from y = 0 and whose columns go right from x = 0.

    Args:
        z: (n_rows, n_columns); NaN is left empty.
        hover: What each cell says; None leaves it to the script, which has `names`.
        scale: Colours from low to high, evenly spaced.
        more: Of plotly's trace: `zmin`, `text`, ...
    """
    rows = np.asarray(z, np.float64)
    gap = 2 if rows.shape[1] <= MOST_GAPS else 0
    trace = {
        "type": "heatmap",
        "x": list(range(rows.shape[1])),
        "y": [-row for row in range(rows.shape[0])],
        "z": [values(row) for row in rows],
        "colorscale": [[k / (len(scale) - 1), colour] for k, colour in enumerate(scale)],
        "xgap": gap,
        "ygap": gap,
        "hoverinfo": "text",
        "hovertext": hover,
    }
    return trace | more


def pair_hover(targets: Sequence[str], sources: Sequence[str], said: Callable[[int, int], str]) -> list[list[str]]:
    """What the cells of a map of targets (rows) by sources (columns) say; `said` gets both positions."""
    return [
        [f"target {text(target)}<br>source {text(source)}<br>{said(k, i)}" for i, source in enumerate(sources)]
        for k, target in enumerate(targets)
    ]


def heat_map_layout(rows: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    """Names of the rows on the left, of the columns below; of many, every second, third ..."""
    layout = dot_layout(rows)
    del layout["xaxis"]["nticks"]
    every = [-(-len(names) // MOST_NAMED) for names in (rows, columns)]
    shown = range(0, len(columns), every[1])
    layout["xaxis"] |= {
        "tickvals": list(shown),
        "ticktext": [text(columns[k], LABEL_LENGTH) for k in shown],
        "range": [-0.5, len(columns) - 0.5],
        "tickangle": -40,
        "automargin": True,
        "fixedrange": True,
        "showgrid": False,
    }
    layout["yaxis"] |= {name: layout["yaxis"][name][:: every[0]] for name in ("tickvals", "ticktext")}
    layout["yaxis"] |= {"range": [-len(rows) + 0.5, 0.5], "showgrid": False}
    return layout


def line_trace(name: str, x: ArrayLike, y: ArrayLike, line: dict[str, Any]) -> dict[str, Any]:
    """A line as plotly draws it."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": text(name),
        "x": values(x),
        "y": values(y),
        "line": line,
    }


def vertical_line(x: float) -> dict[str, Any]:
    """A line at x over the height of the plot."""
    line = {"color": MUTED, "width": 1.5, "dash": "dot"}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line, "layer": "below"}


def share_dots(summaries: Sequence[Summary], task: str | None) -> Figure:
    """Shares of a reference as dots with intervals, a row a method, the best on top, with a line at 1.

    Args:
        summaries: Of all methods, in an order in which a place gives a colour.
        task: Whose are drawn; None: those over all tasks.
    """
    order = list(dict.fromkeys(summary.method for summary in summaries))
    own = sorted((s for s in summaries if s.task == task), key=lambda s: -s.share.value)
    layout = dot_layout([s.method for s in own])
    layout["xaxis"]["range"] = padded([1.0, *(end for s in own for end in (s.share.low, s.share.high))])
    layout["shapes"] = [vertical_line(1.0)]
    return {"traces": dots(order, {s.method: s.share for s in own}, {}), "layout": layout, "patches": []}


def padded(numbers: Sequence[float]) -> list[float | None]:
    """Range of the numbers with 6 % of air on both sides."""
    low, high = min(numbers), max(numbers)
    air = 0.06 * (high - low) or 1.0
    return values([low - air, high + air])
