"""The page of a data set: one self-contained HTML file with tables and plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auction_env.files import write_atomically
from benchmarks.pages import plots
from benchmarks.pages.data_set.describing import (
    Description,
    Group,
    constraint_names,
    group_head,
    group_row,
    range_head,
    range_rows,
    size_rows,
)
from benchmarks.pages.document import assemble_page, plotly_script
from benchmarks.pages.elements import Section, card, cell, escape, grid, pairs_table, swatch, table
from benchmarks.pages.plots import Figure, line_layout, line_trace, text, vertical_line

Float = NDArray[np.float64]

_N_BINS = 40
_ACTION_RANGE = (-4.0, 4.0)  # log2 of the multiplier over the worth of a unit of the objective
_MOST_SHOWN = 12  # lines of a plot: more cannot be told apart


def write_page(path: Path, found: Description) -> None:
    """Writes the page, whole or not at all; ModuleNotFoundError without plotly."""
    write_atomically(path, render(found, plotly_script()).encode())


def render(found: Description, plotly_js: str) -> str:
    """The HTML of the page."""
    shown = found.policies or found.tasks
    parts = [
        Section("sizes", "Sizes", pairs_table("What is there", size_rows(found))),
        Section("tasks", "Tasks", _tasks(found)),
    ]
    if found.policies:
        parts.append(Section("policies", "Logging policies", _policies(found)))
    parts += [
        Section("actions", "Action coverage", _actions(shown)),
        Section("pace", "Spend over the episode", _pace(found)),
        Section("ranges", "Ranges", _ranges(found)),
    ]
    figures = {**score_figures(found), **action_figures(found), **ratio_figures(found), "pace": pace_figure(found)}
    data = {"figures": figures, "controls": {}}
    counts = f"{found.sizes['trajectories']:,} trajectories of {found.sizes['ticks']:,} ticks in all."
    return assemble_page(f"Data set {found.path.name}", [counts], parts, data, plotly_js)


def _group_table(caption: str, groups: Sequence[Group], *, has_policy: bool) -> str:
    head, limits = group_head(groups, has_policy=has_policy), constraint_names(groups)
    if not has_policy:
        rows = [_row(index, group_row(group, limits, has_policy=False)) for index, group in enumerate(groups)]
        return table(caption, head, {}, [("All trajectories", rows)])
    names = list(dict.fromkeys(group.task.name for group in groups))
    policies = _policy_names(groups)
    by_task = []
    for name in names:
        chosen = [group for group in groups if group.task.name == name]
        rows = [_row(policies.index(g.policy), group_row(g, limits, has_policy=True)[1:]) for g in chosen]
        by_task.append((name, rows))
    return table(caption, head[1:], {}, by_task)


def _row(index: int, cells: Sequence[str]) -> list[str]:
    name = f'<th scope="row">{swatch("method", index)} {escape(cells[0])}</th>'
    return [name, *(cell(content) for content in cells[1:])]


def _policy_names(groups: Sequence[Group]) -> list[str]:
    return list(dict.fromkeys(group.policy for group in groups))


def _legend(names: Sequence[str]) -> str:
    entries = "".join(f"<li>{swatch('method', i)} {escape(name)}</li>" for i, name in enumerate(names[:_MOST_SHOWN]))
    return f'<ul class="legend">{entries}</ul>'


def _tasks(found: Description) -> str:
    intro = (
        "Means over the trajectories; kept: the share that keeps the limit. The columns called expected replace "
        "sampled conversions by expected ones, which are far less noisy. The multiplier is over the "
        "advertiser's target cost per conversion, at the ticks with a bid."
    )
    limits = constraint_names(found.tasks)
    cards = [
        card(f"ratio-{name}", f"{name.upper()}: realised over limit", "expected, cumulative share of the trajectories")
        for name in limits
    ]
    names = [group.task.name for group in found.tasks]
    plots_of_limits = _legend(names) + grid(cards) if cards else ""
    return f"<p>{escape(intro)}</p>{_group_table('Tasks', found.tasks, has_policy=False)}{plots_of_limits}"


def _policies(found: Description) -> str:
    cards = [
        card(f"score-{k}", group.task.name, "expected score, cumulative share of the trajectories")
        for k, group in enumerate(found.tasks)
    ]
    body = _group_table("Logging policies", found.policies, has_policy=True)
    return f"{body}{_legend(_policy_names(found.policies))}{grid(cards)}"


def _actions(shown: Sequence[Group]) -> str:
    intro = (
        "How often each multiplier was tried, over the worth of a unit of the objective, on a logarithmic scale. "
        "What a log never tried, nothing can be learned about."
    )
    by_policy = len(_policy_names(shown)) > 1
    names = _policy_names(shown) if by_policy else [group.task.name for group in shown]
    tasks = list(dict.fromkeys(group.task.name for group in shown)) if by_policy else ["All tasks"]
    cards = [card(f"action-{k}", name, "share of the ticks with a bid") for k, name in enumerate(tasks)]
    return f"<p>{escape(intro)}</p>{_legend(names)}{grid(cards)}"


def _pace(found: Description) -> str:
    one = card("pace", "Budget spent so far", "mean over the trajectories of a task", wide=True)
    return f"{_legend(list(found.pace))}{grid([one])}"


def _ranges(found: Description) -> str:
    rows = [[f'<th scope="row">{escape(row[0])}</th>', *map(cell, row[1:])] for row in range_rows(found)]
    return table("Ranges", range_head(), {}, [("Quantiles over all ticks", rows)])


# ---------------------------------------------------------------- figures


def _style(index: int) -> dict[str, Any]:
    return {"color": plots.colour("method", index), "dash": plots.dash("method", index), "width": 2}


def _figure(lines: Sequence[tuple[str, Float, Float, int]], x_title: str, **axis: Any) -> Figure:
    """Lines (name, x, y, colour) with a title below."""
    layout = line_layout()
    layout["xaxis"] |= axis
    layout["xaxis"]["title"]["text"] = text(x_title)
    layout["yaxis"]["rangemode"] = "tozero"
    traces = [{"trace": line_trace(name, x, y, _style(k)), "when": {}} for name, x, y, k in lines[:_MOST_SHOWN]]
    return {"traces": traces, "layout": layout, "patches": []}


def _cumulative(values: Float) -> tuple[Float, Float]:
    """The values' cumulative distribution at 101 quantiles."""
    share = np.linspace(0.0, 1.0, 101)
    return np.quantile(values, share), share


def score_figures(found: Description) -> dict[str, Figure]:
    """A task a plot, a policy a line: how the scores of the trajectories are distributed."""
    names, figures = _policy_names(found.policies), {}
    for k, of_task in enumerate(found.tasks if found.policies else ()):
        groups = [group for group in found.policies if group.task.name == of_task.task.name]
        known = {g.policy: g.expected.score[~np.isnan(g.expected.score)] for g in groups}
        groups = [g for g in groups if len(known[g.policy])]
        lines = [(g.policy, *_cumulative(known[g.policy]), names.index(g.policy)) for g in groups]
        figures[f"score-{k}"] = _figure(lines, "Predicted score")
    return figures


def action_figures(found: Description) -> dict[str, Figure]:
    """Histograms of the multiplier: by policy, a task a plot, or by task where the log names no policies."""
    groups = found.policies or found.tasks
    by_policy = len(_policy_names(groups)) > 1
    names = _policy_names(groups) if by_policy else [group.task.name for group in groups]
    tasks = list(dict.fromkeys(group.task.name for group in groups)) if by_policy else [None]
    marks = np.arange(_ACTION_RANGE[0], _ACTION_RANGE[1] + 1, 2)
    axis = {"tickvals": marks.tolist(), "ticktext": [f"{2.0**m:g}" for m in marks], "range": list(_ACTION_RANGE)}
    figures = {}
    for k, task in enumerate(tasks):
        chosen = [g for g in groups if task in (None, g.task.name)]
        lines = [
            (name := g.policy if by_policy else g.task.name, *_histogram(g.action), names.index(name)) for g in chosen
        ]
        figure = _figure(lines, "Multiplier over the worth of a unit", **axis)
        figure["layout"]["shapes"] = [vertical_line(0.0)]
        figures[f"action-{k}"] = figure
    return figures


def _histogram(action: Float) -> tuple[Float, Float]:
    """Middles of the bins of log2(action) and the share of each; what lies outside counts in the outermost."""
    edges = np.linspace(*_ACTION_RANGE, _N_BINS + 1)
    counts, _ = np.histogram(np.clip(np.log2(action), edges[0], edges[-1]), edges)
    return (edges[1:] + edges[:-1]) / 2, counts / max(len(action), 1)


def ratio_figures(found: Description) -> dict[str, Figure]:
    """A constraint a plot, a task a line: how realised over limit is distributed."""
    figures = {}
    for name in constraint_names(found.tasks):
        lines = []
        for k, group in enumerate(found.tasks):
            ratio = group.expected.ratios.get(name)
            if ratio is not None:
                finite = ratio[np.isfinite(ratio)]
                if len(finite):
                    x, share = _cumulative(finite)
                    lines.append((group.task.name, x, share * len(finite) / group.n, k))
        figure = _figure(lines, "Realised over limit", range=[0, 3])
        figure["layout"]["shapes"] = [vertical_line(1.0)]
        figures[f"ratio-{name}"] = figure
    return figures


def pace_figure(found: Description) -> Figure:
    """The share of the budget spent before each tick, a line a task."""
    lines = [(name, np.arange(len(y), dtype=float), y, k) for k, (name, y) in enumerate(found.pace.items())]
    return _figure(lines, "Tick")
