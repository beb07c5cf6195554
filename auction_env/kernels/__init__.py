"""All numba code of the market: arrays in, arrays written, no Python objects."""

from __future__ import annotations

import os

# GNU OpenMP, which numba runs parallel loops on, lets idle threads spin by default. Our parallel loops last some
# microseconds to milliseconds and alternate with other work, so on a machine where anything else runs (torch's own
# threads, a second process) spinning makes a rollout several times slower: measured 12x on 2 cores. The variable is
# read when the OpenMP library is loaded, at the first parallel kernel; a user's own setting wins.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
