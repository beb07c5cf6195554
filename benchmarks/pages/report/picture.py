"""The report's summary as a picture, drawn without a browser: scores with intervals and spend over the day."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.pages import plots
from benchmarks.pages.report.data import Analysis
from benchmarks.pages.report.text import task_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, RULE, PAPER = "#1c2126", "#5b6570", "#dcd8cf", "#fbfaf7"
MARKERS = ("o", "s", "D", "^", "p", "h", "*", "v")
LINES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
MAX_TASKS = 3  # panels of scores; with more tasks only their average is drawn


def draw_summary(analysis: Analysis) -> bytes:
    """PNG of 1600 x about 800 pixels; raises ModuleNotFoundError without matplotlib."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("pictures need matplotlib: install the extra `report`") from error
    style: Any = {  # the names are literal types in some releases only
        "font.family": "sans-serif",
        "font.size": 10.0,
        "text.parse_math": False,  # a dollar in a name is a dollar
        "text.color": INK,
        "axes.edgecolor": RULE,
        "axes.labelcolor": MUTED,
        "xtick.color": MUTED,
        "ytick.color": INK,
    }
    tasks = analysis.tasks if len(analysis.paired.tasks) <= MAX_TASKS else (None,)
    n_methods = len(analysis.paired.methods)
    with rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name may have any characters
        heights = [0.9 + 0.3 * n_methods, 3.0][: 2 if analysis.report.episodes else 1]
        figure = Figure(figsize=(10, sum(heights) + 1.2), facecolor=PAPER, layout="constrained")
        FigureCanvasAgg(figure)
        title = plots.one_line(analysis.report.title, 90)
        figure.suptitle(title, x=0.012, ha="left", fontsize=14, fontweight="bold")
        # parts of their own, so that the legend of the lower one takes no room from the upper one
        cells = figure.add_gridspec(len(heights), 1, height_ratios=heights)
        parts = [figure.add_subfigure(cells[row]) for row in range(len(heights))]
        for part in parts:
            part.set_facecolor(PAPER)
        for column, axes in enumerate(np.ravel(parts[0].subplots(1, len(tasks), sharex=True))):
            _draw_scores(axes, analysis, tasks[column], with_names=column == 0)
        level = f"{100 * analysis.report.bootstrap.level:g} % intervals"
        parts[0].supxlabel(f"share of the hindsight reference, with {level}", fontsize=10, color=MUTED)
        if analysis.report.episodes:
            _draw_spend(parts[1].subplots(), analysis)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=160, metadata={"Software": None})
    return out.getvalue()


def _draw_scores(axes: Axes, analysis: Analysis, task: str | None, with_names: bool) -> None:
    """Share of the reference of each method with its interval."""
    methods = analysis.paired.methods
    for row, method in enumerate(methods):
        index = analysis.methods.index(method)
        share = analysis.summaries[method, task].share
        colour = _colour(index)
        axes.plot([share.low, share.high], [-row, -row], color=colour, linewidth=2, solid_capstyle="butt")
        face = PAPER if plots.symbol(index).endswith("-open") else colour
        marker = MARKERS[index % len(MARKERS)]
        axes.plot([share.value], [-row], marker, color=colour, markerfacecolor=face, markersize=7)
    names = [plots.one_line(method, plots.LABEL_LENGTH) if with_names else "" for method in methods]
    axes.set_yticks([-row for row in range(len(methods))], names)
    axes.axvline(1.0, color=MUTED, linestyle=":", linewidth=1.2, zorder=0)
    n = analysis.summaries[methods[0], task].share.n_episodes
    title = f"{plots.one_line(task_name(task), 36)}\n{n:,} paired episodes"
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_ylim(-len(methods) + 0.4, 0.6)
    _quiet(axes)


def _draw_spend(axes: Axes, analysis: Analysis) -> None:
    """Money spent over the first episode's day by each method, with the budget and the traffic's plan."""
    episode, tick_hours = analysis.report.episodes[0], analysis.report.tick_hours
    trace = episode.first
    hours = tick_hours * np.arange(len(trace.cost) + 1)
    axes.axhline(trace.budget, color=INK, linewidth=1, label="budget")
    axes.plot(
        hours, np.append(0.0, trace.traffic_plan), color=MUTED, linestyle="--", linewidth=1.3, label="traffic plan"
    )
    for method, campaign in episode.traces.items():
        index = analysis.methods.index(method)
        line = LINES[plots.dash("method", index)]
        spent = np.append(0.0, campaign.cost)
        axes.plot(
            hours, spent, line, color=_colour(index), linewidth=1.8, label=plots.one_line(method, plots.LABEL_LENGTH)
        )
    marks = [hours[-1] * quarter / 4 for quarter in range(5)]
    axes.set_xticks(marks, [f"{int(mark)}:{round(mark % 1 * 60):02d}" for mark in marks])
    axes.set_xlim(0, hours[-1])
    axes.set_ylim(0)
    axes.set_ylabel("currency spent so far")
    axes.set_title(
        plots.one_line(f"Spend over the day: {episode.title}", 100), loc="left", fontsize=11, fontweight="bold"
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    _quiet(axes)


def _colour(index: int) -> str:
    palette = plots.METHOD_COLOURS["light"]
    return palette[index % len(palette)]


def _quiet(axes: Axes) -> None:
    """Thin grid, no frame, no tick marks."""
    axes.set_facecolor(PAPER)
    axes.grid(color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
