"""What the process imports from which the workers of a suite are forked, so that no run loads it anew: 4.5 s of a run.

It must not run a kernel with threads: GNU OpenMP does not survive the fork.
"""

import numpy as np
import pyarrow.dataset  # noqa: F401  imported where the first table is filtered
import torch._dynamo  # noqa: F401  imported where the first optimiser is made

import agents.offline  # noqa: F401
import benchmarks.suites.running.run  # noqa: F401
import vamo  # noqa: F401
from agents.labels.kernels import sums_so_far

sums_so_far(np.zeros(1), np.array([0, 1]))  # the first compiled function of a process loads all of numba's types
