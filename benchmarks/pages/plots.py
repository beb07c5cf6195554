"""Figures of the report as plotly.js specifications: plain data, drawn and re-coloured by the page's script.

A figure is a dict of
    traces: list of {"trace": plotly trace, "when": {control: [choices]}}: shown while all controls agree;
    layout: plotly layout;
    patches: list of {"when": ..., "layout": {"dotted.path": value}}: laid over the layout while they agree.
A figure that is made of the page's records instead is {"build": name, "controls": [names]}: see `assets/suite.js`.
Colours are names of CSS variables, so that they follow the colour scheme. Text is escaped for plotly's own
markup; numbers sit on numeric axes with text labels, so that a name is never read as a date or a number.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.pages.report.data import Analysis, Episode, EpisodeTrace
from benchmarks.pages.report.text import interval, number
from benchmarks.statistics.bootstrap import Estimate

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
LABEL_LENGTH = 24  # characters of a name on an axis
WHOLE_LABEL_LENGTH = 56  # of one on the left of a plot, which a narrow page shortens to the other (report.js)

MEASURES = {
    "share": "Share of the reference",
    "mean": "Mean score",
    "interquartile_mean": "Interquartile mean",
}


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


def scores(analysis: Analysis) -> dict[str, Figure]:
    """One dot plot a task, the choice of measure on a control `measure`."""
    shares = [s.share for s in analysis.summaries.values()]
    common = padded([1.0, *(x for e in shares for x in (e.low, e.high))])
    figures = {}
    for k, task in enumerate(analysis.tasks):
        traces, patches = [], []
        for choice, (name, label) in enumerate(MEASURES.items()):
            when = {"measure": [choice]}
            estimates = {m: getattr(analysis.summaries[m, task], name) for m in analysis.paired.methods}
            traces += dots(analysis.methods, estimates, when)
            is_share = name == "share" or task is None
            title = label if is_share else f"{label} ({analysis.report.score_unit})"
            patch: dict[str, Any] = {"xaxis.title.text": text(title)}
            if is_share:
                patch["xaxis.range"] = common
            if name == "share":
                patch["shapes"] = [vertical_line(1.0)]
            patches.append({"when": when, "layout": patch})
        figures[f"score-{k}"] = {
            "traces": traces,
            "layout": dot_layout(analysis.paired.methods),
            "patches": patches,
        }
    return figures


def differences(analysis: Analysis) -> dict[str, Figure]:
    """One dot plot a baseline and task: paired differences, a line at 0."""
    figures = {}
    for b, baseline in enumerate(analysis.report.baselines):
        methods = [m for m in analysis.paired.methods if m != baseline]
        for k, task in enumerate(analysis.tasks):
            estimates = {m: analysis.comparisons[m, baseline, task].difference for m in methods}
            layout = dot_layout(methods)
            unit = "share of reference" if task is None else analysis.report.score_unit
            layout["xaxis"]["title"]["text"] = text(f"Difference ({unit})")
            layout["xaxis"]["range"] = padded([0.0, *(x for e in estimates.values() for x in (e.low, e.high))])
            layout["shapes"] = [vertical_line(0.0)]
            figures[f"difference-{b}-{k}"] = {
                "traces": dots(analysis.methods, estimates, {}),
                "layout": layout,
                "patches": [],
            }
    return figures


EPISODE_PANELS = {
    "cost": ("Spent so far", "currency, with the budget and two plans"),
    "tick_cost": ("Cost of each tick", "currency, with the traffic-proportional plan"),
    "multiplier": ("Multiplier", "currency per conversion: bid = multiplier × predicted value"),
    "least_winning_cost": ("Least winning cost", "currency, mean over the tick's impressions"),
    "conversions": ("Conversions so far", "count"),
    "win_rate": ("Win rate", "share of the tick's impressions"),
}


def episodes(analysis: Analysis) -> dict[str, Figure]:
    """The panels of the episode viewer; controls `episode` and `method` (choice 0: all methods)."""
    report = analysis.report
    figures: dict[str, Figure] = {}
    for panel in EPISODE_PANELS if report.episodes else ():
        traces = []
        for e, episode in enumerate(report.episodes):
            traces += _plans(panel, episode, report.tick_hours, {"episode": [e]})
            for method, trace in episode.traces.items():
                index = analysis.methods.index(method)
                when = {"episode": [e], "method": [0, 1 + viewer_methods(analysis).index(method)]}
                x, y, shape = _panel_line(panel, trace, report.tick_hours)
                line = {"color": colour("method", index), "dash": dash("method", index), "shape": shape}
                traces.append({"trace": line_trace(method, x, y, {**line, "width": 2}), "when": when})
        layout = line_layout()
        layout["xaxis"] |= _hours([len(episode.first.cost) for episode in report.episodes], report.tick_hours)
        layout["yaxis"]["rangemode"] = "tozero"
        if panel == "cost":  # wide enough for a list of all lines
            layout["hovermode"] = "x unified"
        figures[f"episode-{panel}"] = {"traces": traces, "layout": layout, "patches": []}
    return figures


def viewer_methods(analysis: Analysis) -> tuple[str, ...]:
    """Methods that any episode shows, in the order of the colours."""
    shown = {method for episode in analysis.report.episodes for method in episode.traces}
    return tuple(method for method in analysis.methods if method in shown)


def history_targets(analysis: Analysis) -> tuple[str, ...]:
    """Target tasks of all histories."""
    return tuple(dict.fromkeys(t for history in analysis.report.histories.values() for t in history.targets))


def history_sources(analysis: Analysis) -> tuple[str, ...]:
    """Source tasks of all histories: targets first, so that a task has one colour."""
    sources = [s for history in analysis.report.histories.values() for s in history.sources]
    return tuple(dict.fromkeys([*history_targets(analysis), *sources]))


def weighted_methods(analysis: Analysis) -> tuple[str, ...]:
    """Methods whose history has weights or alignments; those that learn them, which are shown first, lead."""
    histories = analysis.report.histories.items()
    weighted = [(m, h) for m, h in histories if h.weights is not None or h.alignments is not None]
    return tuple(m for m, h in sorted(weighted, key=lambda item: item[1].alignments is None))


def weights(analysis: Analysis) -> dict[str, Figure]:
    """One plot a target, one line a source; controls `history` (the method) and `quantity`."""
    sources = history_sources(analysis)
    figures = {}
    for k, target in enumerate(history_targets(analysis)):
        traces = []
        for m, method in enumerate(weighted_methods(analysis)):
            history = analysis.report.histories[method]
            if target not in history.targets:
                continue
            column = history.targets.index(target)
            for choice, array in enumerate((history.weights, history.alignments)):
                if array is None:
                    continue
                when = {"history": [m], "quantity": [choice]}
                level = 1 / len(history.sources) if choice == 0 else 0.0
                ends = [history.step[0], history.step[-1]]
                rule = {"color": MUTED, "dash": "dot", "width": 1}
                label = "equal weights" if choice == 0 else "no alignment"
                traces.append({"trace": line_trace(label, ends, [level, level], rule), "when": when})
                for i, source in enumerate(history.sources):
                    index = sources.index(source)
                    width = 3 if source == target else 1.75
                    line = {"color": colour("task", index), "dash": dash("task", index), "width": width}
                    traces.append({"trace": line_trace(source, history.step, array[:, column, i], line), "when": when})
        layout = line_layout()
        layout["xaxis"]["title"]["text"] = "Training step"
        patches = [{"when": {"quantity": [0]}, "layout": {"yaxis.range": [0, 1.02]}}]
        if traces:
            figures[f"weights-{k}"] = {"traces": traces, "layout": layout, "patches": patches}
    return figures


def losses(analysis: Analysis) -> dict[str, Figure]:
    """One plot a target: validation loss over training, one line a method."""
    figures = {}
    for k, target in enumerate(history_targets(analysis)):
        traces = []
        for method, history in analysis.report.histories.items():
            if target in history.targets:
                index = analysis.methods.index(method)
                measured = np.isfinite(history.validation_loss[:, history.targets.index(target)])
                loss = history.validation_loss[measured, history.targets.index(target)]
                line = {"color": colour("method", index), "dash": dash("method", index), "width": 2}
                traces.append({"trace": line_trace(method, history.step[measured], loss, line), "when": {}})
        layout = line_layout()
        layout["xaxis"]["title"]["text"] = "Training step"
        figures[f"loss-{k}"] = {"traces": traces, "layout": layout, "patches": []}
    return figures


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


def _panel_line(panel: str, trace: EpisodeTrace, tick_hours: float) -> tuple[Float, Float, str]:
    """Hours, values and line shape: totals rise between the ends of ticks, rates hold over a tick."""
    hours: Float = tick_hours * np.arange(len(trace.cost) + 1, dtype=np.float64)
    if panel in ("cost", "conversions"):
        return hours, np.concatenate([[0.0], getattr(trace, panel)]), "linear"
    rate = np.diff(trace.cost, prepend=0.0) if panel == "tick_cost" else getattr(trace, panel)
    return hours, np.append(rate, rate[-1]), "hv"


def _plans(panel: str, episode: Episode, tick_hours: float, when: Mapping[str, list[int]]) -> list[dict[str, Any]]:
    """The budget and both plans on the panel of spend, the traffic's plan on that of cost."""
    trace = episode.first
    hours = tick_hours * np.arange(len(trace.cost) + 1)
    muted = {"color": MUTED, "width": 1.5}
    lines: list[tuple[str, Float, dict[str, Any]]] = []
    if panel == "cost":
        lines.append(("budget", np.full(len(hours), trace.budget), {"color": INK, "width": 1}))
        lines.append(("even plan", np.append(0.0, trace.even_plan), {**muted, "dash": "dot"}))
        lines.append(("traffic plan", np.append(0.0, trace.traffic_plan), {**muted, "dash": "dash"}))
    if panel == "tick_cost":
        rate = np.diff(trace.traffic_plan, prepend=0.0)
        lines.append(("traffic plan", np.append(rate, rate[-1]), {**muted, "dash": "dash", "shape": "hv"}))
    return [{"trace": line_trace(name, hours, y, line), "when": dict(when)} for name, y, line in lines]


def _hours(n_ticks: Iterable[int], tick_hours: float) -> dict[str, Any]:
    """Axis of the hours of the day, labelled at quarters of it."""
    total = max(n_ticks) * tick_hours
    marks = [total * quarter / 4 for quarter in range(5)]
    labels = [f"{int(mark)}:{round(mark % 1 * 60):02d}" for mark in marks]
    return {
        "tickvals": values(marks),
        "ticktext": labels,
        "range": [0, total],
        "hoverformat": ".2~f",
        "ticksuffix": " h",
    }


def vertical_line(x: float) -> dict[str, Any]:
    """A line at x over the height of the plot."""
    line = {"color": MUTED, "width": 1.5, "dash": "dot"}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line, "layer": "below"}


def padded(numbers: Sequence[float]) -> list[float | None]:
    """Range of the numbers with 6 % of air on both sides."""
    low, high = min(numbers), max(numbers)
    air = 0.06 * (high - low) or 1.0
    return values([low - air, high + air])
