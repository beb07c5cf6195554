"""The page of a watched episode: a slider over its ticks, which can be played."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from auction_env.files import write_atomically
from benchmarks.evaluation.page import played_table
from benchmarks.evaluation.watching.episode import Float, WatchedEpisode
from benchmarks.evaluation.watching.ladder import QUANTILES
from benchmarks.pages import plots
from benchmarks.pages.document import assemble_page, plotly_script
from benchmarks.pages.elements import Section, card, cell, escape, grid, line_mark, select, slider, swatch, table
from benchmarks.pages.plots import DASHES, MUTED, Figure, line_layout, padded

_GAP = 0.05  # between two panels, as a share of the figure
_MOST_RATIO = 2.0  # at the top of the panel of the limits: a ratio before the first conversion is infinite
_LOW, _MEDIAN, _HIGH = (f"{100 * quantile:.0f}" for quantile in QUANTILES)


def write_page(path: str | Path, watched: WatchedEpisode) -> Path:
    """Writes the page, whole or not at all; returns where it is. ModuleNotFoundError without plotly."""
    out = Path(path)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, render(watched, plotly_script()).encode())
    return out


def render(watched: WatchedEpisode, plotly_js: str) -> str:
    """The HTML of the page; `plotly_js` is the source of plotly.js."""
    n, names = watched.n_played, watched.names
    controls = {"frame": [f"{tick} of {watched.n_ticks}" for tick in range(1, n + 1)]}
    if len(names) > 1:
        controls["market"] = list(names)
    parts = [
        Section("episode", "The episode", _episode(watched)),
        Section("ladder", "Price ladder", _ladder(watched)),
        Section("played", "What was played", played_table(watched.description)),
    ]
    data = {
        "figures": {"episode": episode_figure(watched), "ladder": ladder_figure(watched)},
        "controls": controls,
        "initial": {"frame": n - 1},
    }
    bidders = " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
    apart = " Each bids in a market of its own, with the same impressions." if len(names) > 1 else ""
    intro = [f"{bidders} in one episode, {n} ticks. {watched.title}.{apart}"]
    return assemble_page(f"Watch {watched.task.name}", intro, parts, data, plotly_js)


def _episode(watched: WatchedEpisode) -> str:
    output = '<output data-control="frame" for="frame"></output>'
    scrub = slider("frame", "Tick", "the episode", output, watched.n_played - 1)
    market = select("market", "Prices in the market of", watched.names) if len(watched.names) > 1 else ""
    figure = card("episode", "Over the episode", "one episode: n = 1, no interval", wide=True)
    figure = figure.replace('class="plot"', 'class="plot tall"')
    return f"{scrub}{_states(watched)}{market}{_legend(watched)}{grid([figure])}"


def _states(watched: WatchedEpisode) -> str:
    """A table of the state after each tick; without JavaScript the last one is shown."""
    limits = [f"{kind.replace('_', ' ')} / limit" for kind in watched.limits]
    head = ["bidder", "multiplier", "mean bid", "won", "spent", "plan", watched.counted, "expected", *limits, "score"]
    out = []
    for tick in range(watched.n_played):
        rows = []
        for index, (name, columns) in enumerate(watched.ticks.items()):
            now = {key: float(column[tick]) for key, column in columns.items()}
            numbers = [f"{now['multiplier']:.2f}", f"{now['bid']:.4f}"]
            numbers += [f"{100 * now[key]:.1f} %" for key in ("won", "spent", "plan")]
            numbers += [f"{now['objective']:.4g}", f"{now['objective_expected']:.4g}"]
            numbers += [f"{now[f'{kind}_ratio_expected']:.2f}" for kind in watched.limits]
            numbers.append(f"{now['score_expected']:.4g}")
            first = f'<th scope="row">{swatch("method", index)} {escape(name)}</th>'
            rows.append([first, *map(cell, numbers)])
        state = table(f"After tick {tick + 1}", head, {}, [("Ratios and score are of expected amounts", rows)])
        when = escape(json.dumps({"frame": [tick]}))
        out.append(f'<div data-when="{when}"{"" if tick == watched.n_played - 1 else " hidden"}>{state}</div>')
    return "".join(out)


def _legend(watched: WatchedEpisode) -> str:
    marks = [f"{swatch('method', index)} {escape(name)}" for index, name in enumerate(watched.names)]
    marks.append(f"{line_mark(MUTED, 'dash', 1.5)} plan: spend in proportion to the expected traffic")
    n_slots = watched.ladder.shape[2]
    marks += [f"{line_mark(_slot_colour(slot), 'solid', 3)} bid to beat for slot {slot + 1}" for slot in range(n_slots)]
    if len(watched.limits) > 1:
        marks += [
            f"{line_mark(MUTED, DASHES[place % len(DASHES)], 2)} {escape(kind.replace('_', ' '))}"
            for place, kind in enumerate(watched.limits)
        ]
    return f'<ul class="legend">{"".join(f"<li>{mark}</li>" for mark in marks)}</ul>'


def _ladder(watched: WatchedEpisode) -> str:
    text = (
        "The bid to beat for slot 1 is the highest bid of the others, for slot 2 the second highest, and so on. "
        "Who bids more wins the slot or a better one. Dots are medians over the impressions of the tick, bars reach "
        "from the 10 % to the 90 % quantile; the horizontal line is the bidder's mean bid. Slide or play above."
    )
    figure = card("ladder", "Bids to beat at this tick", "currency per impression", wide=True)
    return f"<p>{escape(text)}</p>{grid([figure])}"


def episode_figure(watched: WatchedEpisode) -> Figure:
    """Panels below each other on one axis of ticks; control `frame` says how far lines are drawn."""
    has_choice = len(watched.names) > 1
    panels: list[tuple[str, list[dict[str, Any]]]] = [
        ("Multiplier over the worth of a unit", _lines(watched, "multiplier")),
        (
            "Mean bid and bids to beat, currency per impression",
            [*_slots(watched, has_choice), *_bids(watched, has_choice)],
        ),
        ("Budget spent, %", [*_lines(watched, "spent", scale=100), _plan(watched)]),
        ("Impressions won, %", _lines(watched, "won", scale=100)),
        (f"{watched.counted.capitalize()} so far, expected", _lines(watched, "objective_expected")),
    ]
    if watched.limits:
        panels.append(("Limits: expected, realised over limit so far", _ratios(watched)))
    layout = line_layout()
    axes = {name: layout.pop(name) for name in ("xaxis", "yaxis")}
    height = (1 - _GAP * len(panels)) / len(panels)
    layout |= {"annotations": [], "hovermode": "x unified", "hoversubplots": "axis"}
    layout["margin"] = {"l": 8, "r": 12, "t": 4, "b": 44}
    last = f"y{len(panels)}"
    layout["xaxis"] = axes["xaxis"] | {"range": [0.5, watched.n_ticks + 0.5], "anchor": last}
    layout["xaxis"]["title"] = axes["xaxis"]["title"] | {"text": "Tick"}
    traces = []
    for place, (heading, own) in enumerate(panels):
        number = "" if place == 0 else str(place + 1)
        top = 1 - place * (height + _GAP) - _GAP
        numbers = [y for part in own for y in part["trace"]["y"] if y is not None]
        ends = padded([0.0, *numbers])
        layout[f"yaxis{number}"] = axes["yaxis"] | {
            "domain": [top - height, top], "range": [0, ends[1]], "nticks": 5, "anchor": "x"
        }  # fmt: skip
        note = {"text": plots.text(heading), "x": 0, "xref": "paper", "xanchor": "left", "showarrow": False}
        layout["annotations"].append(note | {"y": top, "yref": "paper", "yanchor": "bottom", "yshift": 3})
        traces += [part | {"trace": part["trace"] | {"xaxis": "x", "yaxis": f"y{number}"}} for part in own]
    fixed = []
    if watched.limits:
        layout[f"yaxis{len(panels)}"]["range"] = [0, _MOST_RATIO]
        level = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": 1, "y1": 1, "yref": last, "layer": "below"}
        fixed.append(level | {"line": {"color": MUTED, "width": 1, "dash": "dot"}})
    patches = [
        {"when": {"frame": [k]}, "layout": {"shapes": [*fixed, plots.vertical_line(k + 1)]}}
        for k in range(watched.n_played)
    ]
    return {"traces": traces, "layout": layout, "patches": patches}


def _line(
    name: str, y: Float, line: dict[str, Any], when: dict[str, list[int]] | None = None, **more: Any
) -> dict[str, Any]:
    """A line over the ticks that the slider has come to."""
    trace = plots.line_trace(name, np.arange(1, len(y) + 1), y, line) | more
    return {"trace": trace, "when": when or {}, "until": "frame"}


def _lines(watched: WatchedEpisode, key: str, scale: float = 1.0) -> list[dict[str, Any]]:
    return [
        _line(name, scale * columns[key], _style(index)) for index, (name, columns) in enumerate(watched.ticks.items())
    ]


def _bids(watched: WatchedEpisode, has_choice: bool) -> list[dict[str, Any]]:
    """The mean bid of the bidder whose market is shown."""
    return [
        _line(f"{name}: mean bid", columns["bid"], _style(index), {"market": [index]} if has_choice else None)
        for index, (name, columns) in enumerate(watched.ticks.items())
    ]


def _slots(watched: WatchedEpisode, has_choice: bool) -> list[dict[str, Any]]:
    """Medians of the bids to beat, in the market of each bidder."""
    return [
        _line(
            f"slot {slot + 1}",
            columns[f"slot_{slot + 1}_{_MEDIAN}"],
            {"color": _slot_colour(slot), "width": 2, "shape": "hvh"},
            {"market": [index]} if has_choice else None,
        )
        for index, columns in enumerate(watched.ticks.values())
        for slot in range(watched.ladder.shape[2])
    ]


def _plan(watched: WatchedEpisode) -> dict[str, Any]:
    """The plan is known beforehand: it is drawn whole."""
    line = {"color": MUTED, "dash": "dash", "width": 1.5}
    trace = plots.line_trace("plan", np.arange(1, watched.n_ticks + 1), 100 * watched.plan, line)
    return {"trace": trace, "when": {}}


def _ratios(watched: WatchedEpisode) -> list[dict[str, Any]]:
    """A line a bidder and limit; limits are told apart by dashes, as colours are the bidders'."""
    return [
        _line(
            f"{name}: {kind.replace('_', ' ')}",
            np.minimum(columns[f"{kind}_ratio_expected"], 1000.0),
            _style(index) | {"dash": DASHES[place % len(DASHES)]},
        )
        for index, (name, columns) in enumerate(watched.ticks.items())
        for place, kind in enumerate(watched.limits)
    ]


def ladder_figure(watched: WatchedEpisode) -> Figure:
    """Bids to beat by slot with their quantiles, and the mean bid of each bidder; control `frame`."""
    n_slots, n = watched.ladder.shape[2], len(watched.names)
    slots = np.arange(1, n_slots + 1)
    traces, most = [], 0.0
    for index, (name, columns) in enumerate(watched.ticks.items()):
        x = slots + 0.5 * ((index + 0.5) / n - 0.5)  # side by side
        for tick in range(watched.n_played):
            low, median, high = (
                np.array([columns[f"slot_{slot}_{quantile}"][tick] for slot in slots])
                for quantile in (_LOW, _MEDIAN, _HIGH)
            )
            bid, colour = columns["bid"][tick], plots.colour("method", index)
            most = max(most, float(np.nanmax(high, initial=0.0)), bid)
            dots = {
                "type": "scatter", "mode": "markers", "name": plots.text(name), "x": plots.values(x),
                "y": plots.values(median), "marker": {"color": colour, "size": 10, "symbol": plots.symbol(index)},
                "error_y": {
                    "type": "data", "symmetric": False, "array": plots.values(high - median),
                    "arrayminus": plots.values(median - low), "color": colour, "thickness": 2, "width": 0,
                },
            }  # fmt: skip
            own = plots.line_trace(f"{name}: mean bid", [0.5, n_slots + 0.5], [bid, bid], _style(index))
            traces += [{"trace": trace, "when": {"frame": [tick]}} for trace in (dots, own)]
    layout = line_layout()
    layout["xaxis"] |= {"tickvals": slots.tolist(), "ticktext": [f"slot {slot}" for slot in slots]}
    layout["xaxis"]["range"] = [0.5, n_slots + 0.5]
    layout["yaxis"]["range"] = [0, padded([0.0, most])[1]]
    return {"traces": traces, "layout": layout, "patches": []}


def _style(index: int) -> dict[str, Any]:
    return {"color": plots.colour("method", index), "dash": plots.dash("method", index), "width": 2}


def _slot_colour(slot: int) -> str:
    return f"var(--price-{min(slot, 2)})"
