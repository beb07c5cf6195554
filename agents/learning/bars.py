"""Bars for work that takes a while: who gets one, and how it is drawn.

In a terminal the bar is rich's. In a notebook it is an HTML element that IPython updates in place, because rich needs
the package ipywidgets there. A bar is drawn with each report of the work.
"""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

Count = Callable[[int], None]
"""Told the number of units, episodes for example, that have just been finished."""

Draw = Callable[[int, int, str | None], None]
"""Told what is done, how much there is, and a new note."""

APPEARS_AFTER = 2.0
"""Seconds of work after which a bar appears that nobody asked for."""
REDRAW_EVERY = 0.2
"""Seconds between two drawings in a notebook."""
DRAWN_PER_SECOND = 4
"""Drawings in a terminal: each takes some milliseconds from the work where there is one core. A file gets none."""

_n_shown = 0  # bars on the screen: a part of work that has one shows none of its own


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook."""
    shell = _shell()
    return shell is not None and getattr(shell, "kernel", None) is not None


def is_interactive() -> bool:
    """Whether somebody types: a notebook, IPython or Python's prompt."""
    return _shell() is not None or hasattr(sys, "ps1")


@contextmanager
def only_bar() -> Iterator[None]:
    """Within the block, a bar is on the screen: no other one appears unless somebody asks for it."""
    global _n_shown
    _n_shown += 1
    try:
        yield
    finally:
        _n_shown -= 1


@contextmanager
def bar(progress: object, label: str, *, after: float = 0.0) -> Iterator[Draw | None]:
    """What draws a bar; None where none is shown.

    Args:
        progress: True, False, or None: where somebody types and no other bar is shown.
        label: What is done.
        after: Seconds of work before the bar appears, where `progress` is None.

    Raises:
        TypeError: `progress` is anything else.
    """
    if progress is not None and not isinstance(progress, bool):
        raise TypeError(f"`progress` must be a callback, True, False or None, found {progress!r}")
    if progress is False or (progress is None and (_n_shown > 0 or not is_interactive())):
        yield None
        return
    with ExitStack() as stack:
        stack.enter_context(only_bar())
        yield _Late(label, stack, after if progress is None else 0.0)


@contextmanager
def counted(progress: Count | bool | None, label: str, total: int) -> Iterator[Count | None]:
    """What work with a known number of units tells its progress.

    Args:
        progress: A callback, which is handed on; True or False; None: a bar after some seconds where somebody types.
        label: What is done.
        total: Units.

    Raises:
        TypeError: `progress` is anything else.
    """
    if callable(progress):
        yield progress
        return
    with bar(progress, label, after=APPEARS_AFTER) as draw:
        yield None if draw is None else _Counter(draw, total)


class _Counter:
    """Adds up what is done."""

    def __init__(self, draw: Draw, total: int) -> None:
        self._draw, self._total, self._done = draw, total, 0
        draw(0, total, None)

    def __call__(self, amount: int) -> None:
        self._done += amount
        self._draw(self._done, self._total, None)


class _Late:
    """A bar that appears with the first report after a while."""

    def __init__(self, label: str, stack: ExitStack, after: float) -> None:
        self._label, self._stack, self._after = label, stack, after
        self._started = time.monotonic()
        self._draw: Draw | None = None

    def __call__(self, done: int, total: int, note: str | None) -> None:
        if self._draw is None:
            if time.monotonic() - self._started < self._after:
                return
            if in_notebook():
                self._draw = _NotebookBar(self._label, self._started)
            else:
                self._draw = self._stack.enter_context(_terminal_bar(self._label))
        self._draw(done, total, note)


@contextmanager
def _terminal_bar(label: str) -> Iterator[Draw]:
    from rich import get_console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True, compact=True),
        TextColumn("{task.fields[note]}", style="cyan", markup=False),
    )
    with Progress(*columns, auto_refresh=get_console().is_terminal, refresh_per_second=DRAWN_PER_SECOND) as shown:
        task = shown.add_task(label, total=None, note="")

        def draw(done: int, total: int, note: str | None) -> None:
            fields: dict[str, Any] = {} if note is None else {"note": note}
            shown.update(task, completed=done, total=total, **fields)

        yield draw


class _NotebookBar:
    """A bar in the output of a cell."""

    def __init__(self, label: str, started: float) -> None:
        self._label, self._note, self._started = label, "", started
        self._drawn_at = -REDRAW_EVERY
        self._handle: Any = None

    def __call__(self, done: int, total: int, note: str | None) -> None:
        if note is not None:
            self._note = note
        now = time.monotonic()
        if done < total and now - self._drawn_at < REDRAW_EVERY:
            return
        self._drawn_at = now
        self._draw(self.text(done, total, now - self._started))

    def text(self, done: int, total: int, seconds: float) -> str:
        """The bar as HTML."""
        left = "" if not done or done == total else f", {seconds / done * (total - done):.0f} s left"
        said = html.escape(f"{self._label} {done:,}/{total:,}, {seconds:.0f} s{left}  {self._note}")
        return f'<progress value="{done}" max="{total}"></progress> {said}'

    def _draw(self, text: str) -> None:
        content = {"text/html": text, "text/plain": html.unescape(text.partition("</progress> ")[2])}
        if self._handle is None:
            display = import_module("IPython.display").display  # there in every notebook
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def _shell() -> Any:
    """IPython's shell; None where IPython does not run, also where it is installed."""
    module = sys.modules.get("IPython")
    return None if module is None else module.get_ipython()
