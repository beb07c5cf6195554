"""All numba code of the market: arrays in, arrays written, no Python objects."""

from __future__ import annotations

import os

from numba.np.ufunc.parallel import threading_layer

# GNU OpenMP, which runs the parallel loops of numba and torch, lets idle threads spin for milliseconds by default.
# Where anything else runs on the machine, threads then spin through the time slices that the others need: measured on
# 2 cores with one busy process beside, a rollout of a learned agent took 17 s instead of 0.3 s. Spinning for about
# 50 us keeps the full speed of an idle machine and most of it on a busy one; not spinning at all costs the small
# parallel regions of torch 40 %. The variable is read when the library is loaded; a user's own setting wins.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

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
