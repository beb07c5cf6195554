"""Processor time: what this program uses, with its workers, and what other work takes of the machine meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_EVERY = 0.2
"""Seconds between two looks at the workers: a worker's last moments are not seen."""


class Usage:
    """Known after the block of `watching`.

    Attributes:
        share: Of the machine that other work took, in [0, 1].
        seconds: Processor seconds of this program.
    """

    share = 0.0
    seconds = 0.0


@contextmanager
def watching(*, has_workers: bool = False) -> Iterator[Usage]:
    """Measures what is used of the machine while the block runs; nothing where there is no /proc/stat.

    Args:
        has_workers: Whether processes that this one does not wait for do its work, such as those of a pool.
    """
    found, before = Usage(), _used(has_workers)
    workers = _Workers() if has_workers else None
    yield found
    total, busy, own = _used(has_workers)
    found.seconds = own - before[2] + (workers.stop() if workers is not None else 0.0)
    if total > before[0]:
        found.share = min(max((busy - before[1] - found.seconds) / (total - before[0]), 0.0), 1.0)


def _used(has_workers: bool) -> tuple[float, float, float]:
    """Processor seconds of all cores so far: all, those not idle, and those of this process.

    With those of the children that it waited for, unless `_Workers` counts them.
    """
    stat, own = Path("/proc/stat"), os.times()
    if not stat.exists():
        return 0.0, 0.0, 0.0
    ticks = [int(text) for text in stat.read_text().split("\n", 1)[0].split()[1:9]]  # guests are counted in user time
    hertz = os.sysconf("SC_CLK_TCK")
    idle = ticks[3] + ticks[4]
    own_seconds = own.user + own.system + (0.0 if has_workers else own.children_user + own.children_system)
    return sum(ticks) / hertz, (sum(ticks) - idle) / hertz, own_seconds


class _Workers:
    """Looks now and then at the processes below this one, those that end meanwhile included."""

    def __init__(self) -> None:
        self._first = descendants(os.getpid())
        self._last = dict(self._first)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._is_over.wait(_LOOK_EVERY):
            self._last |= descendants(os.getpid())

    def stop(self) -> float:
        """Processor seconds of all of them since the start."""
        self._is_over.set()
        self._thread.join()
        self._last |= descendants(os.getpid())
        return sum(self._last.values()) - sum(self._first.values())


def descendants(root: int) -> dict[tuple[int, int], float]:
    """Processor seconds of the processes below one, by number and time of birth; none where there is no /proc."""
    parent: dict[int, int] = {}
    used: dict[int, tuple[tuple[int, int], float]] = {}
    hertz = os.sysconf("SC_CLK_TCK")
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()  # the name before it may hold anything
        except OSError:  # it has just ended
            continue
        number = int(path.parent.name)
        parent[number] = int(fields[1])
        used[number] = (number, int(fields[19])), (int(fields[11]) + int(fields[12])) / hertz
    children: dict[int, list[int]] = {}
    for number, above in parent.items():
        children.setdefault(above, []).append(number)
    found: dict[tuple[int, int], float] = {}
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found |= dict(used[number] for number in below)
        waiting += below
    return found
