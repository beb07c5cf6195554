"""Which kernels a piece of work compiles, and whether this machine has compiled them: for a bar in front of it.

numba keeps what it has compiled beside the source or, where that cannot be written, in a folder of the user's. Notes of
this module lie in the same place. For another processor numba compiles again, without a bar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType
from typing import Any

import numba
from numba.core import event
from numba.core.dispatcher import Dispatcher

from auction_env.files import write_atomically
from auction_env.kernels.running.stale import sources


def kernels_of(called: Iterable[Dispatcher]) -> set[Dispatcher]:
    """What is compiled so that Python may call these kernels: they and all that they call, but the inlined ones."""
    found: set[Dispatcher] = set()
    waiting = list(called)
    while waiting:
        kernel = waiting.pop()
        if kernel in found:
            continue
        found.add(kernel)
        names = _names(kernel.py_func.__code__)
        values = (kernel.py_func.__globals__.get(name) for name in names)
        waiting += [value for value in values if isinstance(value, Dispatcher)]
    return {kernel for kernel in found if kernel.targetoptions.get("inline") != "always"}


def _names(code: CodeType) -> set[str]:
    inside = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_names, inside))


class _Told(event.Listener):
    def __init__(self, kernels: set[Dispatcher], at_work: Callable[[str], None], ended: Callable[[], None]) -> None:
        self._open, self._at_work, self._ended = set(kernels), at_work, ended
        self._names: list[str] = []  # of those at work, each called by the one before

    def on_start(self, event: event.Event) -> None:
        if event.data["dispatcher"] in self._open:
            self._names.append(event.data["dispatcher"].py_func.__name__)
            self._at_work(self._names[-1])

    def on_end(self, event: event.Event) -> None:
        if event.data["dispatcher"] in self._open:
            self._open.discard(event.data["dispatcher"])
            self._names.pop()
            self._at_work(self._names[-1] if self._names else "")
            self._ended()


@contextmanager
def watching(kernels: set[Dispatcher], at_work: Callable[[str], None], ended: Callable[[], None]) -> Iterator[None]:
    """Within the block, calls `at_work(name)` for the kernel that is being compiled, and `ended()` after each, once."""
    listener = _Told(kernels, at_work, ended)
    event.register("numba:compile", listener)
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)


def is_compiled(name: str, kernels: set[Dispatcher]) -> bool:
    """Whether `note_compiled` has noted these kernels under this name, with sources and numba as they are."""
    note = _note(name, kernels)
    with suppress(OSError):
        return note.read_text(encoding="utf-8") == _state(kernels)
    return False


def note_compiled(name: str, kernels: set[Dispatcher]) -> None:
    """Notes that these kernels are compiled; where nothing can be written, they are played through again next time."""
    note = _note(name, kernels)
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(note, _state(kernels).encode())


def _note(name: str, kernels: set[Dispatcher]) -> Path:
    folders: list[Any] = [kernel.stats.cache_path for kernel in kernels]
    return Path(min(folders), f"compiled-{name}.txt")


def _state(kernels: set[Dispatcher]) -> str:
    folders = sorted({Path(kernel.py_func.__code__.co_filename).parent for kernel in kernels})
    return "\n".join([numba.__version__, *map(sources, folders)])
