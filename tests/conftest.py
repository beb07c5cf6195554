"""Settings for all tests."""

from __future__ import annotations

import os

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib: there is no display
if "PYTEST_XDIST_WORKER" in os.environ:  # before anything imports numba: tests that run beside each other have a thread
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # each; waking a second one on a busy core takes milliseconds

import hypothesis

import auction_env  # noqa: F401 - before torch: sets how OpenMP waits, see auction_env.kernels

# No deadline: the first call of a kernel compiles it. Derandomised: a failure is the same on every machine.
hypothesis.settings.register_profile("project", deadline=None, derandomize=True, print_blob=True)
# For a search beyond the fixed examples: make test PYTEST_ARGS="--hypothesis-profile=explore"
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("project")
