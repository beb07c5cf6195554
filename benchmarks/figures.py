"""Plotly figures for notebooks: an episode, a market, a training, its weights, scores.

They are made of the same parts as the figures of the pages (`benchmarks.pages.plots`); `to_plotly` gives a figure of a
page the colours of the light scheme. All need the package plotly (the extra `report`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.learning.learner import TrainResult
from agents.rollouts import Episodes
from auction_env.market.competitors.scripted import ScriptedBidders
from auction_env.market.market import BatchMarket
from auction_env.market.params import MarketParams
from auction_env.market.population import Population
from benchmarks.pages import pictures, plots
from benchmarks.statistics.bootstrap import Bootstrap
from benchmarks.statistics.summaries import Summary, summarise
from benchmarks.suites.storage.rows import result_rows

if TYPE_CHECKING:
    import plotly.graph_objects as go

Float = NDArray[np.float64]
Panel = tuple[str, list[dict[str, Any]]]
"""Title and traces of a part of a figure."""

SCALE = ("#f3efe4", "#bcd7cf", "#74b0bd", "#2f7fa8", "#123f7a")
"""Colours of weights from low to high: the pages' (`assets/page.css`)."""

_COLOURS = {
    "ink": pictures.INK,
    "muted": pictures.MUTED,
    "rule": pictures.RULE,
    "raised": "#ffffff",
    "sans": "system-ui, sans-serif",
    **{f"scale-{k}": colour for k, colour in enumerate(SCALE)},
    **{f"method-{k}": colour for k, colour in enumerate(plots.METHOD_COLOURS["light"])},
    **{f"task-{k}": colour for k, colour in enumerate(plots.TASK_COLOURS["light"])},
}


def to_plotly(figure: plots.Figure, title: str) -> go.Figure:
    """The figure of a page as plotly's own, with the colours of the light scheme.

    Args:
        figure: As `benchmarks.pages.plots` describes it, one that no control changes.
        title: Stands above it.

    Raises:
        ModuleNotFoundError: plotly is not installed.
    """
    graph = _plotly()
    found = _coloured({"data": [part["trace"] for part in figure["traces"]], "layout": figure["layout"]})
    named = {trace.get("name") for trace in found["data"]}
    found["layout"] |= {"title": {"text": plots.text(title)}, "showlegend": len(named) > 1 and named != {None}}
    found["layout"]["margin"] = {**found["layout"].get("margin", {}), "t": 48}
    made: go.Figure = graph.Figure(found)
    return made


def plot_episode(episodes: Episodes | Mapping[str, Episodes], which: int = 0) -> go.Figure:
    """One episode tick by tick: spend against the traffic, multiplier, price level, limits.

    Args:
        episodes: What `agents.rollouts` gave, or by the name of the bidder.
        which: Position of the episode.

    Raises:
        IndexError: There is no such episode.
    """
    played = episodes if isinstance(episodes, Mapping) else {"": episodes}
    first = next(iter(played.values())).at(np.array([which]))
    traffic = first.ticks.n_impressions[:, 0]
    ticks = np.arange(len(traffic) + 1)
    plan = {"color": plots.MUTED, "dash": "dash", "width": 1.5}
    spend = [plots.line_trace("traffic", ticks, 100 * _cumulated(traffic) / traffic.sum(), plan)]
    multiplier, limits = [], []
    for index, (name, several) in enumerate(played.items()):
        own = several.at(np.array([which]))
        share = 100 * _cumulated(own.ticks.cost[:, 0]) / own.budget[0]
        spend.append(plots.line_trace(name or "spent", ticks, share, _line(index)))
        relative = own.ticks.multiplier[:, 0] / own.task.unit_worth(own.targets)[0]
        multiplier.append(plots.line_trace(name or "multiplier", ticks[:-1], relative, _line(index)))
        for place, (kind, ratio) in enumerate(_ratios_so_far(own).items()):
            line = _line(index) | {"dash": plots.DASHES[place % len(plots.DASHES)]}
            limits.append(plots.line_trace(f"{name} {kind}".strip(), ticks[1:], ratio, line))
    price = plots.line_trace("price level", ticks[:-1], first.ticks.least_winning_cost[:, 0], _line(7))
    panels = [
        ("budget spent, %", spend),
        ("multiplier over the worth of a unit", multiplier),
        ("price level: mean least winning cost", [price]),
        ("limits: expected, realised over limit", limits),
    ]
    title = f"{first.task.name}: market seed {first.seed[0]}, advertiser {first.advertiser[0]}"
    return _panels(panels, title)


def plot_market(
    params: MarketParams | None = None, population: Population | None = None, *, seed: int = 0
) -> go.Figure:
    """One episode of a market in which every advertiser follows its script: traffic, prices, who spends what.

    Args:
        params, population: The market; the defaults of `auction_env.Market`.
        seed: Of the episode.
    """
    market = BatchMarket(params, population)
    market.reset(np.array([seed]))
    scripts = ScriptedBidders(market, np.array([seed]), market.params.traffic.expected_share(market.params.n_ticks))
    total, volume, price = np.zeros((1, market.n_advertisers)), [], []
    for tick in range(market.params.n_ticks):
        result = market.step(scripts.multipliers(tick))
        scripts.take_in(tick, result.cost, result.expected_conversions)
        total = total + result.cost
        volume.append(float(result.n_impressions[0]))
        price.append(float(result.least_winning_cost[0]))
    ticks = np.arange(len(volume))
    spent = 100 * total[0] / market.budget
    bars = {
        "type": "bar",
        "name": "spent",
        "x": list(range(len(spent))),
        "y": plots.values(spent),
        "marker": {"color": plots.colour("method", 2)},
    }
    panels = [
        ("impressions a tick", [plots.line_trace("impressions", ticks, volume, _line(0))]),
        ("price level: mean least winning cost", [plots.line_trace("price level", ticks, price, _line(1))]),
        ("budget spent by advertiser, %", [bars]),
    ]
    return _panels(panels, f"{market!r}, seed {seed}")


def plot_training(result: TrainResult[Any, Any]) -> go.Figure:
    """The history of a training: a panel a number; of VAMO, the validation loss of every target.

    Args:
        result: What `train` of any learner gave.

    Raises:
        ValueError: The history is empty.
    """
    if not result.history:
        raise ValueError("`result.history` must hold a record, found none")
    steps = [record.step for record in result.history]
    names = list(result.history[-1].numbers)
    panels = []
    for index, name in enumerate(names):
        series = [record.numbers.get(name, np.nan) for record in result.history]
        panels.append((name, [plots.line_trace(name, steps, series, _line(index))]))
    targets = getattr(result, "targets", ())
    if targets:
        losses = np.array([record.validation_loss for record in result.history])
        lines = [plots.line_trace(name, steps, losses[:, k], _line(k)) for k, name in enumerate(targets)]
        panels[names.index("validation loss")] = ("validation loss", lines)
    return _panels(panels, f"Training of {result.bidder.name}")


def plot_weights(result: Any, target: str | None = None) -> go.Figure:
    """The weights of the sources of a VAMO training.

    Args:
        result: A `vamo.TrainResult`.
        target: Name of a target, whose weights are drawn over the steps; None draws those of all targets, of the
            parameters that the bidder has.

    Raises:
        ValueError: No target has that name.
    """
    if target is None:
        return to_plotly(_weight_map(result), f"Source weights after step {result.returned.step:,}")
    if target not in result.targets:
        raise ValueError(f"`target` must be one of {list(result.targets)}, found {target!r}")
    k, steps = result.targets.index(target), [record.step for record in result.history]
    weights = np.array([record.weights[k] for record in result.history])
    lines = [plots.line_trace(name, steps, weights[:, i], _line(i)) for i, name in enumerate(result.sources)]
    return _panels([("weight", lines)], f"Source weights of {target}")


def plot_scores(
    episodes: Mapping[str, Episodes], reference: Episodes, *, bootstrap: Bootstrap | None = None
) -> go.Figure:
    """Expected scores over those of a reference, with 95 % bootstrap intervals over the paired episodes.

    Args:
        episodes: The same episodes of one task by the name of the bidder.
        reference: Played by the reference, for example `agents.HindsightBidder`.
        bootstrap: How intervals are computed.

    Raises:
        ValueError: Others than the reference's episodes.
    """
    rows = result_rows(episodes, reference, suite="notebook")
    return plot_shares(summarise(rows, "score_expected", bootstrap), reference.task.name)


def plot_shares(summaries: Sequence[Summary], task: str | None = None) -> go.Figure:
    """Expected scores over those of the reference as dots with their intervals, the best on top.

    Args:
        summaries: Of every method and task (`benchmarks.statistics.summaries.summarise`).
        task: Which one; None: over all of them.

    Raises:
        ValueError: No summary is of that task.
    """
    tasks = list(dict.fromkeys(s.task for s in summaries if s.task is not None))
    scope = tasks[0] if task is None and len(tasks) == 1 else task
    own = [s.share for s in summaries if s.task == scope]
    if not own:
        raise ValueError(f"`task` must be one of {tasks}, found {task!r}")
    figure = plots.share_dots(summaries, scope)
    figure["layout"]["xaxis"]["title"]["text"] = "expected score over the reference's"
    made = to_plotly(figure, f"{scope or 'all tasks'}, {own[0].n_episodes} episodes")
    return made.update_layout(showlegend=False)  # the names stand on the left


def _weight_map(result: Any) -> plots.Figure:
    rows = np.asarray(result.returned.weights)
    hover = plots.pair_hover(result.targets, result.sources, lambda k, i: f"{rows[k, i]:.3f}")
    written = {"texttemplate": "%{z:.2f}"} if len(result.sources) <= plots.MOST_WRITTEN else {}
    trace = plots.heat_map(rows, hover, plots.SCALE, zmin=0.0, **written)
    return {
        "traces": [{"trace": trace, "when": {}}],
        "layout": plots.heat_map_layout(result.targets, result.sources),
        "patches": [],
    }


def _panels(panels: Sequence[Panel], title: str) -> go.Figure:
    """Panels, two a row, each with the quiet axes of the pages; a name has one entry in the legend."""
    graph = _plotly()
    n_columns = min(len(panels), 2)
    n_rows = -(-len(panels) // 2)
    traces: list[dict[str, Any]] = []
    layout = plots.line_layout()
    axes = {name: layout.pop(name) for name in ("xaxis", "yaxis")}
    layout["annotations"] = []
    seen: set[str] = set()
    for place, (name, own) in enumerate(panels):
        row, column = divmod(place, 2)
        number = "" if place == 0 else str(place + 1)
        left, top = column / 2 + 0.05 * column, 1 - row / n_rows - 0.04 * row
        right = 1.0 if n_columns == 1 else left + 0.45
        low = top - (0.84 / n_rows if n_rows > 1 else 1.0)
        layout[f"xaxis{number}"] = {**axes["xaxis"], "domain": [left, right], "anchor": f"y{number}"}
        layout[f"yaxis{number}"] = {**axes["yaxis"], "domain": [max(low, 0.0), top], "anchor": f"x{number}"}
        heading = {"text": plots.text(name), "showarrow": False, "xanchor": "left", "yanchor": "bottom"}
        layout["annotations"].append({**heading, "x": left, "y": top, "xref": "paper", "yref": "paper"})
        for trace in own:
            is_new = trace["name"] not in seen
            seen.add(trace["name"])
            ids = {"xaxis": f"x{number}", "yaxis": f"y{number}", "legendgroup": trace["name"], "showlegend": is_new}
            traces.append({**trace, **ids})
    layout |= {"title": {"text": plots.text(title)}, "showlegend": len(seen) > 1, "height": 130 + 220 * n_rows}
    layout["margin"] = {"l": 48, "r": 22, "t": 84, "b": 40}
    made: go.Figure = graph.Figure(_coloured({"data": traces, "layout": layout}))
    return made


def _line(index: int) -> dict[str, Any]:
    return {"color": plots.colour("method", index), "dash": plots.dash("method", index), "width": 2}


def _cumulated(amounts: ArrayLike) -> Float:
    return np.concatenate([[0.0], np.cumsum(amounts)])


def _ratios_so_far(episode: Episodes) -> dict[str, Float]:
    """Expected amounts over their limits after each tick of one episode, (n_ticks,) each; the budget left out."""
    so_far = episode.so_far()
    targets = episode.targets.at(np.zeros(len(so_far.cost), np.int64))
    ratios = episode.task.ratios(so_far, targets, expected=True)
    return {name: ratio for name, ratio in ratios.items() if name != "budget"}


def _coloured(value: Any) -> Any:
    """The value with the colours that its CSS variables stand for."""
    if isinstance(value, dict):
        return {key: _coloured(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_coloured(part) for part in value]
    if isinstance(value, str):
        return re.sub(r"var\(--([\w-]+)\)", lambda found: _COLOURS[found[1]], value)
    return value


def _plotly() -> Any:
    try:
        import plotly.graph_objects as graph
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("figures need plotly: pip install 'vamo-bidding[report]'") from error
    return graph
