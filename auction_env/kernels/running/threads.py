"""How many threads a call of a kernel gets. Results do not depend on it, so that it may follow the clock.

A small call is not worth a thread. For a large one, GNU OpenMP's threads halve the time of an idle machine of two
cores, and on a busy one they wait for each other: a call then takes ten times as long as on one thread. No figure of
the machine says beforehand which it is, so `ThreadChoice` tries both now and then.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from time import perf_counter
from types import TracebackType
from typing import Any

from numba import get_num_threads, set_num_threads
from numba.np.ufunc.parallel import threading_layer

BLOCKS_PER_THREAD = 8  # a thread's share must be longer than what waking it takes: 8 blocks are about 100 us
FEWEST = 2 * BLOCKS_PER_THREAD  # blocks of a call that may get several threads; smaller ones need not ask
_TRIED = 3  # calls of each kind in a trial: one alone may have been interrupted
_SHORTEST, _LONGEST = 16, 1024  # calls from one trial to the next

_is_alone = False  # whether this process can start no threads of numba's


def _after_fork() -> None:
    """GNU OpenMP ends a process that was forked from one that used it as soon as the process starts threads."""
    global _is_alone
    try:
        _is_alone = _is_alone or threading_layer() == "omp"
    except ValueError:  # no kernel has asked for threads so far, so that the child may start its own
        return


os.register_at_fork(after_in_child=_after_fork)


def may_start_threads() -> bool:
    """Whether parallel kernels may run here: not in a process that was forked after GNU OpenMP had started."""
    return not _is_alone


def fewest_shared() -> float:
    """From how many blocks on a call may get several threads; infinitely many where there is one thread only."""
    return FEWEST if may_start_threads() and get_num_threads() > 1 else math.inf


class ThreadChoice:
    """Chooses between one thread and all for calls of one kind, by what such calls have taken lately.

    It begins with all threads. From time to time it runs a few calls the other way and compares the times per block;
    the trials become rarer as long as they change nothing. A choice for a call is a context in which it runs:

        with choice.of(n_blocks) as n_threads:
            parallel(...) if n_threads > 1 else serial(...)

    Attributes:
        is_fixed: Whether all calls that are large enough get all threads: for tests.
    """

    def __init__(self) -> None:
        self.is_fixed = False
        self._is_parallel = True
        self._wait, self._left = _SHORTEST, _SHORTEST
        self._seconds = {False: 0.0, True: 0.0}  # per block, of the calls of a trial, by whether they are parallel

    def of(self, n_blocks: int) -> _Call:
        """The choice for a call that works on so many blocks of impressions, of all markets together."""
        n_threads = 1
        if n_blocks >= FEWEST and not _is_alone:
            n_threads = min(get_num_threads(), n_blocks // BLOCKS_PER_THREAD)
        if n_threads == 1:
            return _Call(1, 0, None)
        if self.is_fixed:
            return _Call(n_threads, n_blocks, None)
        is_other = -_TRIED < self._left <= 0  # the first calls of a trial, which the usual ones follow
        return _Call(n_threads if self._is_parallel != is_other else 1, n_blocks, self)

    def add(self, is_parallel: bool, seconds_per_block: float) -> None:
        """Takes in what a call took."""
        if self._left <= 0:
            self._seconds[is_parallel] += seconds_per_block
        self._left -= 1
        if self._left > -2 * _TRIED:
            return
        was_better = self._is_parallel
        self._is_parallel = self._seconds[True] < self._seconds[False]
        self._wait = min(2 * self._wait, _LONGEST) if self._is_parallel == was_better else _SHORTEST
        self._left = self._wait
        self._seconds = {False: 0.0, True: 0.0}


class _Call:
    """One call under a choice: `__enter__` says how many threads it has."""

    __slots__ = ("_before", "_choice", "_n_blocks", "_start", "n_threads")

    def __init__(self, n_threads: int, n_blocks: int, choice: ThreadChoice | None) -> None:
        self.n_threads, self._n_blocks, self._choice = n_threads, n_blocks, choice

    def __enter__(self) -> int:
        self._before = self.n_threads
        if self.n_threads > 1:
            self._before = get_num_threads()
            if self._before != self.n_threads:
                set_num_threads(self.n_threads)
        if self._choice is not None:
            self._start = perf_counter()
        return self.n_threads

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._choice is not None and kind is None:
            seconds = perf_counter() - self._start
            self._choice.add(self.n_threads > 1, seconds / self._n_blocks)
        if self._before != self.n_threads:
            set_num_threads(self._before)


def run_shared(
    choice: ThreadChoice, kernel: Callable[..., None], n: int, n_blocks: int, arguments: tuple[Any, ...]
) -> None:
    """Calls `kernel(first, stop, *arguments)` for 0 .. n: in one call, or in one of each thread side by side.

    For kernels whose calls take milliseconds: threads of Python's take 0.1 ms to start. But such a kernel is compiled
    once, where one with `parallel` needs a second form for one thread, without which a forked process would end.

    Args:
        choice: Of calls of this kind.
        kernel: Compiled with `nogil`. What it writes for one part must not depend on the others.
        n: What is shared.
        n_blocks: See `ThreadChoice.of`: the work, in units of about 20 us.
        arguments: Of all calls.
    """
    with choice.of(min(n_blocks, BLOCKS_PER_THREAD * n)) as n_threads:
        if n_threads == 1:
            kernel(0, n, *arguments)
            return
        bounds = [n * part // n_threads for part in range(n_threads + 1)]
        with ThreadPoolExecutor(n_threads - 1) as pool:
            others = [pool.submit(kernel, *ends, *arguments) for ends in pairwise(bounds[1:])]
            kernel(bounds[0], bounds[1], *arguments)
        for other in others:
            other.result()


drawing, settling = ThreadChoice(), ThreadChoice()  # of all markets of the process: draws of values, and auctions
committing = ThreadChoice()  # of markets on CUDA devices: adding up what the device settled
