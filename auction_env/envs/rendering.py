"""Pictures of an episode: spend against plan, multiplier, price level and constraint ratios of controlled advertisers.

matplotlib is imported on the first picture only.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from auction_env.envs.core import Bidding

_LOGGER = logging.getLogger(__name__)

Float = NDArray[np.float64]
Frame = NDArray[np.uint8]

WIDTH, HEIGHT = 960, 640  # pixels
_DPI = 100
MAX_RATIO_SHOWN = 2.0  # a constraint ratio beyond is drawn at the edge
_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
)  # Okabe and Ito: safe for the colour-blind
_LINE_STYLES = ("-", ":", "--", "-.")
_MOST_NAMED = 8  # beyond, a legend would hide the lines


class EpisodeSoFar(NamedTuple):
    """One advertiser's episode up to now.

    Attributes:
        label: Name of the advertiser.
        title: What is being played.
        plan: (n_ticks + 1,) planned share of the budget spent at the start of each tick: the expected traffic, and
            even ticks where that is unknown.
        spent: (n_past + 1,) share of the budget spent at the start of each tick so far.
        multiplier: (n_past,) currency per conversion.
        base: Worth of a unit of the objective, currency: the target CPA where that is conversions.
        least_winning_cost: (n_past,) mean over the tick's impressions, currency.
        ratios: (n_past,) realised over limit after each tick, by constraint.
    """

    label: str
    title: str
    plan: Float
    spent: Float
    multiplier: Float
    base: float
    least_winning_cost: Float
    ratios: dict[str, Float]


def check_render_mode(mode: str | None, known: Sequence[str]) -> None:
    """Raises ValueError on an unknown mode and ImportError, with the remedy, where matplotlib is missing."""
    if mode is None:
        return
    if mode not in known:
        raise ValueError(f"`render_mode` must be None or one of {sorted(known)}, found {mode!r}")
    _matplotlib()


def episode_so_far(bidding: Bidding, controlled: int) -> EpisodeSoFar:
    """The episode so far of one controlled advertiser; RuntimeError before the first `reset`."""
    campaigns, ticks = bidding.campaigns, bidding.ticks
    if campaigns is None:
        raise RuntimeError("there is nothing to show: call `reset` first")
    cost = np.array([tick.cost[controlled] for tick in ticks], np.float64)
    shares = campaigns.traffic_shares
    plan = shares if shares.ndim == 1 else shares[controlled]
    return EpisodeSoFar(
        label=f"advertiser {int(campaigns.advertiser[controlled])}",
        title=f"{bidding.spec.task.name}, {bidding.spec.market.label}",
        plan=np.concatenate(([0.0], np.cumsum(plan))),
        spent=np.concatenate(([0.0], np.cumsum(cost))) / campaigns.budget[controlled],
        multiplier=np.array([tick.multiplier[controlled] for tick in ticks], np.float64),
        base=float(campaigns.base[controlled]),
        least_winning_cost=np.array([tick.least_winning_cost[controlled] for tick in ticks], np.float64),
        ratios=bidding.ratios_so_far(controlled),
    )


class Screen:
    """Draws episodes: into an array, or into a window that stays open (`human`)."""

    def __init__(self, *, human: bool) -> None:
        self._human = human
        self._figure: Any = None

    def show(self, episodes: Sequence[EpisodeSoFar]) -> Frame | None:
        """Draws the episodes of one market's advertisers; returns the picture unless it went to the window."""
        matplotlib = _matplotlib()
        if self._figure is None:
            self._figure = self._open(matplotlib)
        with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
            self._figure.clear()
            _draw(self._figure, episodes)
        if not self._human:
            self._figure.canvas.draw()
            return np.asarray(self._figure.canvas.buffer_rgba())[..., :3].copy()
        self._figure.canvas.draw_idle()
        self._figure.canvas.flush_events()
        return None

    def close(self) -> None:
        if self._human and self._figure is not None:
            import matplotlib.pyplot as plt

            plt.close(self._figure)
        self._figure = None

    def _open(self, matplotlib: Any) -> Any:
        size = (WIDTH / _DPI, HEIGHT / _DPI)
        if not self._human:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure

            figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
            FigureCanvasAgg(figure)
            return figure
        import matplotlib.pyplot as plt

        figure = plt.figure(num="auction_env", figsize=size, dpi=_DPI, layout="constrained", clear=True)
        backend = str(matplotlib.get_backend()).lower()
        if backend in matplotlib.backends.backend_registry.list_builtin(
            matplotlib.backends.BackendFilter.NON_INTERACTIVE
        ):
            _LOGGER.warning(
                "no window: the matplotlib backend %r is not interactive; use render_mode='rgb_array'", backend
            )
        else:
            plt.show(block=False)
        return figure


def _draw(figure: Any, episodes: Sequence[EpisodeSoFar]) -> None:
    n_ticks, several = len(episodes[0].plan) - 1, len(episodes) > 1
    panels = figure.subplots(2, 2, sharex=True)
    spend, multiplier, price, ratio = panels.ravel()
    figure.suptitle(episodes[0].title + ("" if several else f", {episodes[0].label}"), fontsize=11, x=0.01, ha="left")
    spend.plot(100 * episodes[0].plan, color="0.6", linestyle="--", label="plan")
    for index, episode in enumerate(episodes):
        colour = _COLOURS[index % len(_COLOURS)]
        spend.plot(100 * episode.spent, color=colour, label=episode.label if several else "spent")
        multiplier.stairs(
            episode.multiplier, np.arange(len(episode.multiplier) + 1), baseline=None, color=colour, linewidth=1.5
        )
        multiplier.axhline(episode.base, color=colour if several else "0.6", linestyle="--", linewidth=1)
        for place, (name, values) in enumerate(episode.ratios.items()):
            ratio.plot(
                np.arange(1, len(values) + 1),
                np.minimum(values, MAX_RATIO_SHOWN),
                _LINE_STYLES[place % len(_LINE_STYLES)],
                color=colour if several else _COLOURS[place % len(_COLOURS)],
                label=name if index == 0 else None,
            )
    level = episodes[0].least_winning_cost
    price.stairs(level, np.arange(len(level) + 1), baseline=None, color="0.25", linewidth=1.5)
    ratio.axhline(1.0, color="0.6", linestyle="--", linewidth=1)
    _label(spend, "budget spent, %", (0, 105))
    _label(multiplier, "multiplier, currency per conversion (dashed: target CPA)", None)
    _label(price, "price level: mean least winning cost, currency", None)
    _label(ratio, f"constraints: realised / limit, cut at {MAX_RATIO_SHOWN:g}", (0, MAX_RATIO_SHOWN * 1.05))
    spend.set_xlim(0, n_ticks)
    for axes in (price, ratio):
        axes.set_xlabel("tick")
    if len(episodes) <= _MOST_NAMED:
        spend.legend(loc="upper left", framealpha=0.8, edgecolor="none")
    ratio.legend(loc="upper right", framealpha=0.8, edgecolor="none")


def _label(axes: Any, title: str, limits: tuple[float, float] | None) -> None:
    axes.set_title(title, loc="left", fontsize=9)
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    if limits is None:
        axes.set_ylim(bottom=0)
    else:
        axes.set_ylim(*limits)


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("rendering needs matplotlib: pip install 'vamo-bidding[report]'") from error
    return matplotlib
