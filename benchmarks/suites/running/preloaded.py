"""What the process imports from which the workers of a suite are forked, so that no run loads it anew: 4.5 s of a run.

Kernels: see `agents.logging.preloaded`.
"""

import pyarrow.dataset  # noqa: F401  imported where the first table is filtered
import torch._dynamo  # noqa: F401  imported where the first optimiser is made

import benchmarks.suites.running.run  # noqa: F401
import vamo  # noqa: F401
