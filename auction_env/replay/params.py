"""Rules by which a replay market clears."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auction_env.kernels.clearing import MECHANISMS
from auction_env.kernels.replay import ReplayRules
from auction_env.market.params import MAX_SLOTS


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayParams:
    """Rules by which a replay clears; see `MarketParams` for the first four.

    Attributes:
        n_slots: Slots of an impression.
        exposure: Probability that a slot is seen, given that the one above is: for slots of which the log does
            not tell. Logged exposures are used as they are.
        reserve: Reserve price, currency per impression.
        mechanism: `gsp` or `first_price`.
        is_unsold_at_reserve: Whether a slot whose price would be the reserve stays unsold: AuctionNet's rule.
    """

    n_slots: int = 3
    exposure: tuple[float, ...] = (1.0, 0.8, 0.6)
    reserve: float = 0.01  # currency per impression
    mechanism: str = "gsp"
    is_unsold_at_reserve: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.n_slots, bool) or not 1 <= self.n_slots <= MAX_SLOTS:
            raise ValueError(f"`n_slots` must lie in 1..{MAX_SLOTS}, found {self.n_slots}")
        if len(self.exposure) != self.n_slots or not all(0 <= p <= 1 for p in self.exposure):
            raise ValueError(f"`exposure` must hold {self.n_slots} probabilities, one a slot, found {self.exposure}")
        if not (np.isfinite(self.reserve) and self.reserve >= 0):
            raise ValueError(f"`reserve` must be finite and not negative, found {self.reserve}")
        if self.mechanism not in MECHANISMS:
            raise ValueError(f"`mechanism` must be one of {sorted(MECHANISMS)}, found {self.mechanism!r}")

    def for_kernel(self, *, is_expected: bool = False) -> ReplayRules:
        """The rules as the kernels take them."""
        return ReplayRules(
            reserve=np.float32(self.reserve),
            mechanism=MECHANISMS[self.mechanism],
            is_unsold_at_reserve=self.is_unsold_at_reserve and self.mechanism == "gsp",
            exposure=np.asarray(self.exposure, np.float32),
            is_expected=is_expected,
        )
