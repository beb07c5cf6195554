"""Figures of a family's page: sizes, and maps of targets by sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.pages import plots
from benchmarks.pages.data_set.family.describing import CLASSES, FamilyDescription
from benchmarks.pages.plots import DIVERGING, MOST_GAPS, MOST_WRITTEN, SCALE, Figure

Float = NDArray[np.float64]

CLASS_COLOURS = {
    "harmful": "var(--low)",
    "unrelated": "var(--middle)",
    "helpful": "var(--scale-2)",
    "own": "var(--scale-4)",
}
SOUND_COLOUR = "var(--scale-3)"
"""Of sound logs."""
HARMED = "✗ "
"""Stands before the name of a task whose log is harmed."""

_PARTS = {
    "category": "shares of the advertisers' categories, total variation",
    "budget": "log budget, Wasserstein",
    "target": "log target CPA, Wasserstein",
    "market": "log least winning cost, Wasserstein",
    "season": "share of the impressions by tick, total variation",
    "policy": "log multiplier over the worth of a unit, Wasserstein",
}
"""What each distance compares: `agents.families.distances.Distance`."""


def labels(found: FamilyDescription) -> list[str]:
    """Names of the tasks, those with a harmed log marked."""
    return [f"{HARMED}{member.name}" if member.is_harmful else member.name for member in found.family.members]


def sizes(found: FamilyDescription) -> Figure:
    """Trajectories to train on, a bar a task, on a logarithmic scale."""
    members = found.family.members
    n = [member.n_trajectories for member in members]
    sound = [int(found.family.sound_episodes(member.name).sum()) for member in members]
    trace: dict[str, Any] = {
        "type": "bar",
        "x": list(range(len(n))),
        "y": n,
        "marker": {"color": [CLASS_COLOURS["harmful"] if member.is_harmful else SOUND_COLOUR for member in members]},
        "hoverinfo": "text",
        "hovertext": [
            f"{plots.text(name)}<br>{most:,} trajectories, {good:,} sound"
            for name, most, good in zip(labels(found), n, sound, strict=True)
        ],
        "textposition": "none",
    }
    if len(n) <= MOST_WRITTEN:
        trace |= {"text": [f"{most:,}" for most in n], "textposition": "outside", "cliponaxis": False}
    layout = plots.line_layout()
    names = plots.heat_map_layout(labels(found), labels(found))["xaxis"]
    layout["xaxis"] = names | {"range": [-0.6, len(n) - 0.4]}
    low, high = np.log10(max(min(n) / 2, 0.5)), np.log10(2 * max(n))
    layout["yaxis"] |= {"type": "log", "range": plots.values([low, high]), "dtick": 1}
    layout["margin"]["t"] = 22
    return {"traces": [{"trace": trace, "when": {}}], "layout": layout, "patches": []}


def relations(found: FamilyDescription) -> Figure:
    """The truth: which source is helpful, unrelated or harmful for which target."""
    name_of = {code: name for name, code in CLASSES.items()}
    truth = found.relations
    edges = np.linspace(0.0, 1.0, len(CLASS_COLOURS) + 1)
    steps = [[edge, colour] for k, colour in enumerate(CLASS_COLOURS.values()) for edge in (edges[k], edges[k + 1])]
    return _map(found, truth, lambda k, i: name_of[int(truth[k, i])], colorscale=steps, zmin=-1.5, zmax=2.5)


def response(found: FamilyDescription) -> Figure:
    """The response check: predicted over actual cost, on a logarithmic scale that ends where nothing is shared."""
    end = float(np.log(found.factor))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.clip(np.log(found.ratios), -end, end)
    shared = found.is_shared

    def said(k: int, i: int) -> str:
        return f"predicted cost {found.ratios[k, i]:.3g} of the actual: {'shared' if shared[k, i] else 'not shared'}"

    written = [[_short(ratio) for ratio in row] for row in found.ratios]
    figure = _map(found, z, said, scale=DIVERGING, zmin=-end, zmax=end, written=written)
    return _crossed(figure, ~shared)


def weights(found: FamilyDescription) -> Figure:
    """The weights of an agent; a cross marks the sources that are harmful for the target."""
    assert found.weights is not None
    z = found.weights
    written = [["" if np.isnan(x) else f"{x:.2f}" for x in row] for row in z]

    def said(k: int, i: int) -> str:
        return "not learned" if np.isnan(z[k, i]) else f"weight {z[k, i]:.3f}"

    figure = _map(found, z, said, scale=SCALE, zmin=0.0, zmax=float(np.nanmax(z)), written=written)
    return _crossed(figure, found.relations == CLASSES["harmful"])


def classes(found: FamilyDescription) -> Figure:
    """Mean weight of a source by what the truth says of it, over that of uniform sharing."""
    shares = {name: value for name, value in found.weight_by_class.items() if np.isfinite(value)}
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": plots.values(list(shares.values())),
        "y": [-row for row in range(len(shares))],
        "marker": {"color": [CLASS_COLOURS[name] for name in shares], "line": {"color": plots.MUTED, "width": 1}},
        "text": [f"{value:.2f}" for value in shares.values()],
        "textposition": "auto",
        "hoverinfo": "skip",
    }
    layout = plots.dot_layout(list(shares))
    layout["xaxis"]["title"]["text"] = "Weight over that of uniform sharing"
    layout["xaxis"]["range"] = [0, max(plots.padded([1.0, 0.0, *shares.values()])[1] or 1.0, 1.0)]
    layout["shapes"] = [plots.vertical_line(1.0)]
    return {"traces": [{"trace": trace, "when": {}}], "layout": layout, "patches": []}


def distances(found: FamilyDescription) -> Figure:
    """How far the logs lie apart; control `part`."""
    traces = []
    for index, (part, apart) in enumerate(found.distances.items()):
        figure = _map(
            found,
            apart,
            lambda k, i, part=part, apart=apart: f"{part}: {apart[k, i]:.3f}",  # type: ignore[misc]  # defaults bind
            scale=SCALE,
            zmin=0.0,
            zmax=max(float(apart.max()), 1e-9),
            written=[[f"{x:.2f}" for x in row] for row in apart],
        )
        traces.append(figure["traces"][0] | {"when": {"part": [index]}})
    return {"traces": traces, "layout": plots.heat_map_layout(labels(found), labels(found)), "patches": []}


def distance_captions(found: FamilyDescription) -> list[dict[str, Any]]:
    """What stands under the heading of `distances`."""
    return [
        {"id": "distances", "when": {"part": [index]}, "text": f"{_PARTS[part]}; validation data"}
        for index, part in enumerate(found.distances)
    ]


def harm(found: FamilyDescription) -> Figure:
    """Measured harm: share of the target's score (row) that each harmed source (column) costs, in per cent."""
    assert found.harm is not None
    columns = [i for i, member in enumerate(found.family.members) if member.is_harmful]
    loss = 100 * found.harm.mean[:, columns]
    names = [found.family.names[i] for i in columns]
    hover = plots.pair_hover(found.family.names, names, lambda k, j: f"costs {loss[k, j]:.1f} % of the score")
    trace = plots.heat_map(loss, hover, ("var(--middle)", "var(--low)"), zmin=0.0, zmax=max(float(loss.max()), 1.0))
    if len(names) <= MOST_WRITTEN:
        trace |= {"text": [[f"{x:.0f}" for x in row] for row in loss], "texttemplate": "%{text}"}
    layout = plots.heat_map_layout(labels(found), names)
    return {"traces": [{"trace": trace, "when": {}}], "layout": layout, "patches": []}


def _short(ratio: float) -> str:
    """A ratio that fits a cell."""
    if np.isnan(ratio):
        return ""
    return "<.01" if ratio < 0.01 else ">99" if ratio > 99 else f"{ratio:.2g}"


def _map(
    found: FamilyDescription,
    z: ArrayLike,
    said: Callable[[int, int], str],
    *,
    scale: Sequence[str] = SCALE,
    written: Sequence[Sequence[str]] | None = None,
    **more: Any,
) -> Figure:
    """Targets (rows) by sources (columns); what is written in the cells is left out where there are many."""
    names = found.family.names
    is_large = len(names) > MOST_GAPS  # texts of so many cells would be most of the page
    hover = None if is_large else plots.pair_hover(names, names, said)
    trace = plots.heat_map(z, hover, scale, showscale=False, **more)
    part = {"trace": trace, "when": {}} | ({"names": [plots.text(name) for name in names]} if is_large else {})
    if written is not None and len(names) <= MOST_WRITTEN:
        trace |= {"text": written, "texttemplate": "%{text}"}
    layout = plots.heat_map_layout(labels(found), labels(found))
    layout["xaxis"]["title"]["text"] = "Source"
    return {"traces": [part], "layout": layout, "patches": []}


def _crossed(figure: Figure, mask: NDArray[np.bool_]) -> Figure:
    """Crosses in the corners of some cells; in the middle where nothing is written in them."""
    rows, columns = np.nonzero(mask)
    offset = 0.34 if len(mask) <= MOST_WRITTEN else 0.0
    crosses = {
        "type": "scatter",
        "mode": "markers",
        "x": plots.values(columns + offset),
        "y": plots.values(-rows + offset),
        "marker": {
            "symbol": "x",
            "size": 7 if offset else 4,
            "color": plots.INK,
            "line": {"color": "var(--paper)", "width": 1},
        },
        "hoverinfo": "skip",
    }
    figure["traces"].append({"trace": crosses, "when": {}})
    return figure
