"""Ctrl-C and SIGTERM: the command ends within two seconds, says how to go on, and shows no traceback."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

GRACE_SECONDS = 1.5
"""From the signal until the process is ended whatever it does, a thread that cannot be stopped included."""
_AGAIN_SECONDS = 0.01
"""Until a signal comes again that came where an exception would do harm."""

Kept = str | Callable[[argparse.Namespace], str]
"""What a stopped command leaves for the next call, for "... are kept"; or a function that looks; "" is nothing."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; `code` is the exit code."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


class Stop:
    """What happens at a signal to stop: first an orderly end, then, or at a second signal, a sudden one."""

    def __init__(self, argv: list[str], *, is_process: bool) -> None:
        self.arguments = argparse.Namespace()
        self._argv, self._is_process = argv, is_process
        self._code, self._is_said, self._is_postponed = 0, False, False
        self._timer: threading.Timer | None = None

    def signalled(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if self._code and not self._is_postponed:  # the second signal
            self._end()
        if not self._code:
            self._code = 128 + number
            self._timer = _later(GRACE_SECONDS, self._end)
        self._is_postponed = _must_finish(frame)
        if self._is_postponed:
            _later(_AGAIN_SECONDS, lambda: signal.raise_signal(number))
            return
        raise Stopped(self._code)

    @property
    def is_signalled(self) -> bool:
        """Whether a signal to stop has come."""
        return self._code != 0

    def finish(self, interrupt: BaseException) -> NoReturn:
        """Says how to go on and ends: the process where this command is all of it, else by SystemExit."""
        self._code = self._code or getattr(interrupt, "code", 130)
        if self._is_process:
            self._end()
        self._say()
        raise SystemExit(self._code)

    def close(self) -> None:
        """Nothing is ended any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _end(self) -> NoReturn:
        """Ends the process and its workers without waiting for anything, such as threads in a kernel."""
        self._say()
        for child in multiprocessing.active_children():
            child.kill()
        _kill_server()
        os._exit(self._code)

    def _say(self) -> None:
        if self._is_said or os.environ.get("RANK", "0") != "0":  # one of the processes of torchrun speaks
            return
        self._is_said = True
        print(f"\n{stopped_line(self.arguments, self._argv)}", flush=True)


def _kill_server() -> None:
    """Kills the process that workers are forked from: deaf to Ctrl-C, it would first import all that they need."""
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    pid = getattr(server, "_forkserver_pid", None)  # there is no public name for it
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _later(seconds: float, call: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
    return timer


_FINISHED_FIRST = {
    # LLVM calls Python while numba loads a compiled function. It takes an exception for "nothing found", goes on
    # without the machine code, and the process crashes
    "llvmlite.binding.executionengine",
    # callbacks of weak references: Python prints an exception of theirs and goes on, as of `__del__`
    "weakref",
    # C++ in the import of torch crashes at an exception, or what imports torch again finds half of it
    "importlib._bootstrap",
    "_frozen_importlib",
    # a new worker that is sent half of its work shows a traceback
    "multiprocessing.popen_forkserver",
}
"""Modules of code that an exception must not leave."""


def _must_finish(frame: FrameType | None) -> bool:
    """Whether what a signal interrupts is in one of `_FINISHED_FIRST` or a `__del__`, or was called from there."""
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_globals.get("__name__") in _FINISHED_FIRST:
            return True
        frame = frame.f_back
    return False


def stopped_line(arguments: argparse.Namespace, argv: list[str]) -> str:
    """What a stopped command says: what is kept, and the command that goes on."""
    kept: Kept = getattr(arguments, "kept", "")
    text = kept if isinstance(kept, str) else kept(arguments)
    again = list(argv)
    if getattr(arguments, "replaces", False) and "--force" not in again:  # of files that a first call left
        again.append("--force")
    command = shlex.join(["vamo", *again])
    if text:
        return f"stopped; {text} are kept. To go on: {command}"
    return f"stopped; nothing is kept. To start again: {command}"


@contextmanager
def stopping(argv: list[str] | None) -> Iterator[Stop]:
    """Within the block, signals stop the command; in other threads than the main one, nothing changes.

    Args:
        argv: Of a command that is called as a function; None for the process's own.
    """
    stop = Stop(sys.argv[1:] if argv is None else argv, is_process=argv is None)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.signalled) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        stop.close()
        for number, handler in before.items():
            signal.signal(number, handler)
