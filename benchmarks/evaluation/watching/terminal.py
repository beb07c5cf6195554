"""A watched episode in the terminal: one panel, drawn anew after every tick."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np
from rich import box
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchmarks.console import print_table
from benchmarks.evaluation.watching.episode import Float, WatchedEpisode
from benchmarks.pages.plots import one_line

MOST_BIDDERS = 5
"""Side by side in the panel: more have no room in a terminal of 80 columns."""

_STYLES = ("cyan", "magenta", "green", "yellow", "blue")
_BLOCKS = "▁▂▃▄▅▆▇█"
_LABELS = 30  # columns that the names of the rows and the borders take
_LEAST = 9  # columns of a bidder
_MOST = 28
_NUMBER = 7  # columns of a number
_WORST_RATIO = 2.0  # at the top of the line of a ratio


def show(states: Iterable[WatchedEpisode], console: Console, speed: float) -> WatchedEpisode:
    """Draws the episode as it unfolds; where the output is no terminal, prints a table at its end.

    Args:
        states: The episode after every tick (`benchmarks.evaluation.watching.playing.unfold`).
        console: Where to.
        speed: Ticks per second, at most: a slow bidder takes its time.

    Returns:
        The whole episode.
    """
    if not console.is_terminal:
        *_, last = states
        print_table(last.table())
        return last
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        due = time.monotonic()
        for last in states:
            time.sleep(max(0.0, due - time.monotonic()))
            live.update(panel(last, console.width), refresh=True)
            due = time.monotonic() + 1.0 / speed
    return last


def panel(watched: WatchedEpisode, width: int) -> Panel:
    """The episode so far: a column a bidder, a row a number with its course over the ticks."""
    names = watched.names[:MOST_BIDDERS]
    room = int(np.clip((width - _LABELS) // len(names) - 1, _LEAST, _MOST))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    for index, name in enumerate(names):
        style = _STYLES[index]
        table.add_column(one_line(name, room), no_wrap=True, width=room, header_style=f"bold {style}", style=style)
    for label, cells in _rows(watched, names, room):
        table.add_row(label, *cells)
    done = ProgressBar(total=watched.n_ticks, completed=watched.n_played, width=min(width - 4, 64))
    body = Table.grid()
    body.add_row(done)
    body.add_row(table)
    if len(watched.names) > len(names):
        others = len(watched.names) - len(names)
        body.add_row(Text(f"and {others} more bidders, who are in the table and on the page", style="dim"))
    subtitle = f"tick {watched.n_played} of {watched.n_ticks}"
    return Panel(body, title=Text(watched.title, style="bold"), subtitle=subtitle, title_align="left", expand=False)


def _rows(watched: WatchedEpisode, names: Sequence[str], room: int) -> Iterable[tuple[str, list[Text]]]:
    ticks = [watched.ticks[name] for name in names]

    def row(key: str, form: str, *, scale: float = 1.0, top: float | None = None) -> list[Text]:
        """Numbers of all bidders with lines of one scale."""
        highest = top or max(float(np.nanmax(_finite(columns[key]), initial=0.0)) for columns in ticks)
        cells = []
        for columns in ticks:
            number = f"{scale * columns[key][-1]:{form}}".rjust(_NUMBER)
            line = sparkline(columns[key], watched.n_ticks, max(room - len(number) - 1, 0), highest)
            cells.append(Text(f"{number} ") + Text(line, style="dim"))
        return cells

    yield "multiplier / worth", row("multiplier", ".2f")
    yield "mean bid", row("bid", ".4f")
    for slot in range(watched.ladder.shape[2]):
        yield f"bid to beat, slot {slot + 1}", row(f"slot_{slot + 1}_50", ".4f")
    yield "impressions won, %", row("won", ".1f", scale=100)
    plan = f"{100 * watched.plan[watched.n_played - 1]:.1f}"
    yield f"budget spent, % ({plan})", row("spent", ".1f", scale=100, top=1.0)
    yield f"{watched.counted}", row("objective", ",.4g")
    yield f"{watched.counted}, expected", row("objective_expected", ",.4g")
    for kind in watched.limits:
        cells = row(f"{kind}_ratio_expected", ".2f", top=_WORST_RATIO)
        for cell, columns in zip(cells, ticks, strict=True):
            if columns[f"{kind}_ratio_expected"][-1] > 1:
                cell.stylize("bold red")
        yield f"{kind.replace('_', ' ')} / limit", cells
    yield "score", row("score_expected", ",.4g")


def sparkline(series: Float, n_ticks: int, width: int, top: float) -> str:
    """A line of blocks, from 0 to `top`; an episode of more ticks than there is room shows means of several.

    Args:
        series: (n_ticks so far,); ticks without a number are gaps.
        n_ticks: Of the whole episode, which take the whole width.
        width: Characters.
        top: What the highest block stands for.
    """
    n = min(width, n_ticks)
    if n == 0:
        return ""
    place = np.arange(len(series)) * n // n_ticks
    out = []
    for k in range(place[-1] + 1):
        own = _finite(series[place == k])
        own = own[~np.isnan(own)]
        level = float(own.mean() / top) if len(own) and top > 0 else 0.0
        out.append(_BLOCKS[int(np.clip(level * len(_BLOCKS), 0, len(_BLOCKS) - 1))] if len(own) else " ")
    return "".join(out)


def _finite(series: Float) -> Float:
    """The series without infinite numbers."""
    return np.where(np.isinf(series), np.nan, series)
