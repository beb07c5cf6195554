"""Who competes: budgets, targets and scripted behaviour of the advertisers of a market, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from auction_env.pacing import PacingGains

Float = NDArray[np.float64]

# AuctionNet's published advertisers, 6 categories of 8: budget in currency per full-size period ...
_AUCTIONNET_BUDGETS = (
    2900, 4350, 3000, 2400, 4800, 2000, 2050, 3500, 4600, 2000, 2800, 2350, 2050, 2900, 4750, 3450,
    2000, 3500, 2200, 2700, 3100, 2100, 4850, 4100, 2000, 4800, 3050, 4250, 2850, 2250, 2000, 3900,
    2000, 3250, 4450, 3550, 2700, 2100, 4650, 2000, 3400, 2650, 2300, 4100, 4800, 4450, 2000, 2050,
)  # fmt: skip
# ... and the cost per conversion they accept
_AUCTIONNET_CPA_TARGETS = (
    100, 70, 90, 110, 60, 130, 120, 80, 70, 130, 100, 110, 120, 90, 60, 80,
    130, 80, 110, 100, 90, 120, 60, 70, 120, 60, 90, 70, 100, 110, 130, 80,
    120, 90, 70, 80, 100, 110, 60, 130, 90, 100, 110, 80, 60, 70, 130, 120,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """The advertisers of a market and how the scripted ones among them bid.

    A scripted advertiser paces its budget over the expected traffic (`auction_env.pacing`), starting from
    `start` x its target CPA, and keeps its cost per predicted conversion near the target.

    Attributes:
        budget: Currency per full-size episode (`params.REFERENCE_IMPRESSIONS`), one an advertiser.
        cpa_target: Currency per conversion: the target, and the base of the multiplier.
        category: Index of the advertiser's category; values move together within one.
        start: First multiplier as a share of the target CPA.
        gains: Gains of the pacing controller.
    """

    budget: tuple[float, ...]
    cpa_target: tuple[float, ...]
    category: tuple[int, ...]
    start: float = 1.0
    gains: PacingGains = field(default_factory=PacingGains)

    def __post_init__(self) -> None:
        n = len(self.budget)
        if n == 0:
            raise ValueError("`budget` must hold at least one advertiser, found none")
        for name in ("cpa_target", "category"):
            if len(getattr(self, name)) != n:
                raise ValueError(
                    f"`{name}` must have as many entries as `budget` ({n}), found {len(getattr(self, name))}"
                )
        for name in ("budget", "cpa_target"):
            for value in getattr(self, name):
                if not (np.isfinite(value) and value > 0):
                    raise ValueError(f"`{name}` must be positive, found {value}")
        for value in self.category:
            if value < 0 or int(value) != value:
                raise ValueError(f"`category` must hold indices >= 0, found {value}")
        if not (np.isfinite(self.start) and self.start > 0):
            raise ValueError(f"`start` must be positive, found {self.start}")

    @property
    def n_advertisers(self) -> int:
        return len(self.budget)

    @property
    def n_categories(self) -> int:
        return int(max(self.category)) + 1


def auctionnet_population() -> Population:
    """AuctionNet's 48 advertisers: budgets 2000..4850, target CPAs 60..130, 6 categories of 8."""
    return Population(
        budget=tuple(float(x) for x in _AUCTIONNET_BUDGETS),
        cpa_target=tuple(float(x) for x in _AUCTIONNET_CPA_TARGETS),
        category=tuple(j // 8 for j in range(48)),
    )
