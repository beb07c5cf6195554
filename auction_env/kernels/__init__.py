"""All numba code of the market: arrays in, arrays written, no Python objects.

Whether a call is worth more than one thread is decided here, for all kernels that have a parallel form.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from numba import get_num_threads, set_num_threads
from numba.np.ufunc.parallel import threading_layer

_BLOCKS_PER_THREAD = 8  # a thread's share must be longer than what waking it takes: 8 blocks are about 150 us

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


def useful_threads(n_blocks: int) -> int:
    """How many threads so many blocks of impressions are worth; 1: call the serial form, which starts none."""
    if n_blocks < 2 * _BLOCKS_PER_THREAD or _is_alone:
        return 1
    return min(get_num_threads(), n_blocks // _BLOCKS_PER_THREAD)


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Limits parallel kernels to n threads, as of `useful_threads`."""
    before = n if n == 1 else get_num_threads()
    if n == before:
        yield
        return
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)
