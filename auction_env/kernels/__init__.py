"""All numba code of the market: arrays in, arrays written, no Python objects."""

from __future__ import annotations

import os

from numba.np.ufunc.parallel import threading_layer

_started_in: int | None = None  # process in which the first parallel kernel ran


def check_fork() -> None:
    """Raises RuntimeError in a process forked from one that ran kernels: GNU OpenMP would end it without a word."""
    global _started_in
    if _started_in is None:
        _started_in = os.getpid()
    elif _started_in != os.getpid() and threading_layer() == "omp":
        raise RuntimeError(
            "the market ran in the parent before this process was forked, which GNU OpenMP does not survive: start"
            " workers with the method 'spawn' or 'forkserver', use the native vector environment instead of"
            " processes, or set NUMBA_THREADING_LAYER=workqueue"
        )
