"""What the process imports from which workers are forked, so that none of them loads it anew: 0.4 s of each.

It must not run a kernel with threads: GNU OpenMP does not survive the fork.
"""

import numpy as np

import agents.logging.collection
import agents.rollouts  # noqa: F401
from agents.labels.kernels import sums_so_far

sums_so_far(np.zeros(1), np.array([0, 1]))  # the first compiled function of a process loads all of numba's types
