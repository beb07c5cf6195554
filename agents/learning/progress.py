"""Progress of a training: the callback, and the bar that is shown where there is none.

In a terminal the bar is rich's. In a notebook it is an HTML element that IPython updates in place, because rich needs
the package ipywidgets there. Nothing runs beside the training: the bar is drawn with each report.
"""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Record(Protocol):
    """One line of a history: the steps done and named numbers."""

    @property
    def step(self) -> int:
        """Steps done."""
        ...

    @property
    def numbers(self) -> Mapping[str, float]:
        """What is shown beside a progress bar and in the final table."""
        ...


Progress = Callable[[int, int, Record | None], None]
"""Called as `progress(step, n_steps, record)`: steps done, steps in all, and the newest record if it is new."""

REDRAW_EVERY = 0.2
"""Seconds between two drawings in a notebook."""


def words(record: Record) -> str:
    """A record's numbers as text."""
    return "  ".join(f"{name} {value:.4g}" for name, value in record.numbers.items())


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook."""
    shell = _shell()
    return shell is not None and getattr(shell, "kernel", None) is not None


def is_interactive() -> bool:
    """Whether somebody types: a notebook, IPython or Python's prompt."""
    return _shell() is not None or hasattr(sys, "ps1")


@contextmanager
def shown(progress: Progress | bool | None, label: str) -> Iterator[Progress | None]:
    """What a training tells its progress.

    Args:
        progress: A callback, which is handed on; whether a bar is shown; None shows one where somebody types.
        label: What is trained.

    Raises:
        TypeError: `progress` is anything else.
    """
    if progress is None:
        progress = is_interactive()
    if callable(progress):
        yield progress
    elif not isinstance(progress, bool):
        raise TypeError(f"`progress` must be a callback, True, False or None, found {progress!r}")
    elif not progress:
        yield None
    elif in_notebook():
        yield _NotebookBar(label)
    else:
        with _terminal_bar(label) as tell:
            yield tell


@contextmanager
def _terminal_bar(label: str) -> Iterator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True, compact=True),
        TextColumn("{task.fields[note]}", style="cyan", markup=False),
    )
    with RichProgress(*columns) as bar:
        task = bar.add_task(label, total=None, note="")

        def tell(step: int, n_steps: int, record: Record | None) -> None:
            note = {} if record is None else {"note": words(record)}
            bar.update(task, completed=step, total=n_steps, **note)  # type: ignore[arg-type]  # fields are keywords

        yield tell


class _NotebookBar:
    """A bar in the output of a cell."""

    def __init__(self, label: str) -> None:
        self._label, self._note = label, ""
        self._started = time.monotonic()
        self._drawn_at = -REDRAW_EVERY
        self._handle: Any = None

    def __call__(self, step: int, n_steps: int, record: Record | None) -> None:
        if record is not None:
            self._note = words(record)
        now = time.monotonic()
        if step < n_steps and now - self._drawn_at < REDRAW_EVERY:
            return
        self._drawn_at = now
        self._draw(self.text(step, n_steps, now - self._started))

    def text(self, step: int, n_steps: int, seconds: float) -> str:
        """The bar as HTML."""
        left = "" if not step or step == n_steps else f", {seconds / step * (n_steps - step):.0f} s left"
        said = html.escape(f"{self._label} {step:,}/{n_steps:,}, {seconds:.0f} s{left}  {self._note}")
        return f'<progress value="{step}" max="{n_steps}"></progress> {said}'

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
