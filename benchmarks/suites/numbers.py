"""The numbers version: raised when the code gives other results, so that old rows, logs and references are made anew.

The hash of a run covers these versions beside all resolved settings (`benchmarks.suites.running.identity`), the names
of the folders of logs and references those of the packages that make them. `tests/benchmarks/suites/test_numbers.py`
computes a tiny market, log, label, training and rollout and fails when they move while the version stays. Then raise
the version of the lowest package whose results changed, write below what changed, and run
`python -m tests.benchmarks.suites.golden`, which writes the new golden rows.

A change of speed, names or messages raises nothing. Nor does one of what no suite plays by, such as AuctionNet's rule
for budgets (`MarketParams.budget_rule`): no row depends on it.
"""

from __future__ import annotations

from typing import Literal

Package = Literal["auction_env", "agents", "vamo", "benchmarks"]

NUMBERS: dict[Package, int] = {
    "auction_env": 1,
    # 1: the first version that is counted
    "agents": 2,
    # 1: the first version that is counted
    # 2: the fit of a response halves steps that overshoot, and leaves out episodes that contradict most others
    "vamo": 2,
    # 1: the first version that is counted
    # 2: the windows of a batch are drawn at once; the MLP and shrunken integral weights by default
    "benchmarks": 1,  # how methods are tuned, chosen and played
    # 1: the first version that is counted
}
"""Version of each package's results."""

DATA_PACKAGES: tuple[Package, ...] = ("auction_env", "agents")
"""What logs and references of suites are made with."""


def versions(packages: tuple[Package, ...]) -> dict[str, int]:
    """The versions of some packages, in the order of `NUMBERS`."""
    return {name: version for name, version in NUMBERS.items() if name in packages}
