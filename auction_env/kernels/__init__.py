"""All numba code of the market: arrays in, arrays written, no Python objects."""

from __future__ import annotations

import os

# GNU OpenMP, which runs the parallel loops of numba and torch, lets idle threads spin for milliseconds by default.
# Where anything else runs on the machine, threads then spin through the time slices that the others need: measured on
# 2 cores with one busy process beside, a rollout of a learned agent took 17 s instead of 0.3 s. Spinning for about
# 50 us keeps the full speed of an idle machine and most of it on a busy one; not spinning at all costs the small
# parallel regions of torch 40 %. The variable is read when the library is loaded; a user's own setting wins.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
