"""A suite's summary as a picture: scores of its first variant with intervals, and the spend over one test episode."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from auction_env.files import write_atomically
from benchmarks.pages import plots
from benchmarks.pages.pictures import INK, LINES, MARKERS, MUTED, PAPER, draw, method_colour, quiet
from benchmarks.pages.suite.results import Results, counted, counted_by_task
from benchmarks.statistics.analysis import VariantAnalysis, analyse
from benchmarks.statistics.bootstrap import Bootstrap
from benchmarks.suites.storage.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_TASKS = 3
"""Panels of scores; with more tasks their average is drawn alone."""


def write_picture(directory: Path, out: Path, bootstrap: Bootstrap | None = None) -> None:
    """Writes a PNG, 1600 pixels wide, of a suite's results; the same results give the same bytes.

    Raises:
        FileNotFoundError: The directory holds no results.
        ValueError: It holds no rows, or rows that are not paired.
        ModuleNotFoundError: matplotlib is not installed.
    """
    store = Store(directory)
    results = Results(record=store.suite(), variants=analyse(store, bootstrap=bootstrap))
    variant, analysis = next(iter(results.variants.items()))
    last_task = results.record.tasks[variant][-1]["name"]
    episode = _first_episode(store.episodes(), variant, last_task)
    heights = [0.9 + 0.3 * len(analysis.methods), 3.0][: 2 if episode.num_rows else 1]

    def fill(figure: Figure) -> None:
        figure.suptitle(plots.one_line(results.record.title, 90), x=0.012, ha="left", fontsize=14, fontweight="bold")
        # parts of their own, so that the legend of the lower one takes no room from the upper one
        cells = figure.add_gridspec(len(heights), 1, height_ratios=heights)
        parts = [figure.add_subfigure(cells[row]) for row in range(len(heights))]
        for part in parts:
            part.set_facecolor(PAPER)
        tasks = analysis.tasks if len(analysis.tasks) <= MAX_TASKS else (None,)
        for column, axes in enumerate(np.ravel(parts[0].subplots(1, len(tasks), sharex=True))):
            _draw_scores(axes, results, analysis, tasks[column], with_names=column == 0)
        n = counted(analysis) if tasks == (None,) else counted_by_task(analysis)
        parts[0].supxlabel(
            f"score over that of the best constant multiplier in hindsight, 95 % intervals; {n}",
            fontsize=10,
            color=MUTED,
        )
        if episode.num_rows:
            _draw_spend(parts[1].subplots(), results, episode)

    write_atomically(out, draw((10.0, sum(heights) + 1.2), fill))


def _draw_scores(axes: Axes, results: Results, analysis: VariantAnalysis, task: str | None, with_names: bool) -> None:
    """Share of the reference of each method with its interval."""
    for row, method in enumerate(analysis.methods):
        index = results.methods.index(method)
        share, colour = analysis.summary(method, task).share, method_colour(index)
        axes.plot([share.low, share.high], [-row, -row], color=colour, linewidth=2, solid_capstyle="butt")
        face = PAPER if plots.symbol(index).endswith("-open") else colour
        marker = MARKERS[index % len(MARKERS)]
        axes.plot([share.value], [-row], marker, color=colour, markerfacecolor=face, markersize=7)
    names = [plots.one_line(results.labels[method], 28) if with_names else "" for method in analysis.methods]
    axes.set_yticks([-row for row in range(len(names))], names)
    axes.axvline(1.0, color=MUTED, linestyle=":", linewidth=1.2, zorder=0)
    axes.set_title(plots.one_line(task or "Average over the tasks", 36), loc="left", fontsize=10)
    axes.set_ylim(-len(names) + 0.4, 0.6)
    quiet(axes)


def _first_episode(episodes: pa.Table, variant: str, task: str) -> pa.Table:
    """The ticks of the first recorded test episode of a task, by all methods; empty where none is recorded."""
    mine = episodes.filter(pc.and_(pc.equal(episodes["variant"], variant), pc.equal(episodes["task"], task)))
    return mine.filter(pc.equal(mine["seed"], pc.min(mine["seed"]))) if mine.num_rows else mine


def _draw_spend(axes: Axes, results: Results, episode: pa.Table) -> None:
    """Share of the budget spent over the episode by each method, with the plan in proportion to the traffic."""
    columns = {name: episode[name].to_numpy(zero_copy_only=False) for name in episode.column_names}
    shown = [name for name in results.methods if (columns["method"] == name).any()]
    for place, method in enumerate(shown):
        mine = columns["method"] == method
        ticks = np.append(0, columns["tick"][mine] + 1)
        if not place:
            plan = 100 * np.append(0.0, columns["planned_spend_share"][mine])
            axes.axhline(100, color=INK, linewidth=1)
            axes.plot(ticks, plan, color=MUTED, linestyle="--", linewidth=1.3, label="plan by traffic")
            axes.set_xlim(0, ticks[-1])
        index = results.methods.index(method)
        spent = 100 * np.append(0.0, columns["budget_ratio"][mine])
        label = plots.one_line(results.labels[method], 28)
        line = LINES[plots.dash("method", index)]
        axes.plot(ticks, spent, line, color=method_colour(index), linewidth=1.6, label=label)
    axes.set_ylim(0)
    axes.set_xlabel("tick")
    axes.set_ylabel("share of the budget spent, %")
    title = f"One test episode of {columns['task'][0]}: market seed {columns['seed'][0]}, advertiser"
    axes.set_title(f"{title} {columns['advertiser'][0]}", loc="left", fontsize=11, fontweight="bold")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    quiet(axes)
