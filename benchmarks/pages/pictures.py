"""What all pictures (PNG, drawn by matplotlib without a browser) have in common: colours, marks, quiet axes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.pages.plots import METHOD_COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER = "#1c2126", "#5b6570", "#dcd8cf", "#fbfaf7"
MARKERS = ("o", "s", "D", "^", "p", "h", "*", "v")
LINES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}


def draw(size: tuple[float, float], fill: Callable[[Figure], None], dpi: int = 160) -> bytes:
    """The PNG of a figure.

    Args:
        size: Width and height, inches.
        fill: Draws on the empty figure.
        dpi: Pixels an inch.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
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
    with rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name may have any characters
        figure = Figure(figsize=size, facecolor=PAPER, layout="constrained")
        FigureCanvasAgg(figure)
        fill(figure)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=dpi, metadata={"Software": None})
    return out.getvalue()


def quiet(axes: Axes) -> None:
    """Thin grid, no frame, no tick marks."""
    axes.set_facecolor(PAPER)
    axes.grid(color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def method_colour(index: int) -> str:
    """Colour of the method with that index, as on the pages."""
    palette = METHOD_COLOURS["light"]
    return palette[index % len(palette)]
