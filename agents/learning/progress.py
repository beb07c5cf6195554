"""Progress of a training: its records, the callback, and the bar where there is none (`agents.learning.bars`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from agents.learning.bars import bar


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


def words(record: Record) -> str:
    """A record's numbers as text."""
    return "  ".join(f"{name} {value:.4g}" for name, value in record.numbers.items())


@contextmanager
def shown(progress: Progress | bool | None, label: str) -> Iterator[Progress | None]:
    """What a training tells its progress.

    Args:
        progress: A callback, which is handed on; whether a bar is shown; None shows one where somebody types.
        label: What is trained.

    Raises:
        TypeError: `progress` is anything else.
    """
    if callable(progress):
        yield progress
        return
    with bar(progress, label) as draw:
        if draw is None:
            yield None
            return

        def tell(step: int, n_steps: int, record: Record | None) -> None:
            draw(step, n_steps, None if record is None else words(record))

        yield tell
