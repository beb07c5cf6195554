"""The picture of `ope/v1`: estimates of the largest logs against live scores, a panel a scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.pages.pictures import MARKERS, MUTED, draw, quiet
from benchmarks.pages.plots import METHOD_COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = ("direct", "doubly_robust", "importance")  # fitted Q is too far off for one scale


def scatter(rows: pa.Table) -> bytes:
    """PNG of the first draw of the largest logs; bars: the intervals. Raises as `benchmarks.pages.pictures.draw`."""
    columns = {name: np.array(rows[name].to_pylist()) for name in rows.column_names}
    is_shown = (columns["n_logs"] == columns["n_logs"].max()) & (columns["draw"] == 0)
    scenarios = list(dict.fromkeys(columns["scenario"].tolist()))

    def fill(figure: Figure) -> None:
        panels = figure.subplots(1, len(scenarios), sharey=True, squeeze=False)[0]
        for axes, scenario in zip(panels, scenarios, strict=True):
            own = is_shown & (columns["scenario"] == scenario)
            _panel(axes, {name: values[own] for name, values in columns.items()})
            axes.set_title(scenario, loc="left", fontsize=10)
        panels[0].set_ylabel("estimate")
        figure.supxlabel("live score of the policy; dotted: estimate = live score", fontsize=10, color=MUTED)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(SHOWN), frameon=False)

    return draw((2.6 * len(scenarios), 3.6), fill, dpi=130)


def _panel(axes: Axes, of_scenario: dict[str, NDArray[np.generic]]) -> None:
    live = of_scenario["live"].astype(np.float64)
    for position, method in enumerate(SHOWN):
        mask = of_scenario["method"] == method
        estimate, low, high = (of_scenario[name][mask].astype(np.float64) for name in ("estimate", "low", "high"))
        colour = METHOD_COLOURS["light"][position]
        axes.plot(live[mask], estimate, MARKERS[position], color=colour, markersize=4, label=method)
        axes.vlines(live[mask], low, high, color=colour, linewidth=1.0)
    axes.axline((0.0, 0.0), slope=1.0, color=MUTED, linestyle=":", linewidth=1.2)
    quiet(axes)
