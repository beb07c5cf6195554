"""Which copies of an environment share a kernel call: those that began their episodes together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auction_env.envs.core import Bidding
from auction_env.envs.spec import BiddingSpec, EnvMarket

Mask = NDArray[np.bool_]
Int = NDArray[np.int64]


@dataclass(slots=True)
class Cohort:
    """Copies that began their episodes together and so stand at the same tick."""

    copies: Int  # (n,) indices of its copies; copies[i] is number i of `bidding`
    bidding: Bidding
    live: Mask  # (n,) False for a copy that was reset since and now belongs to another cohort
    is_everybody: bool  # whether it began with all copies, which are all still in it


class Cohorts:
    """The cohorts of n copies, each of which is in exactly one."""

    def __init__(self, spec: BiddingSpec[EnvMarket], n: int) -> None:
        self._spec, self._n = spec, n
        self._cohorts = [self._make(np.arange(n))]

    def __iter__(self) -> Iterator[Cohort]:
        return iter(self._cohorts)

    def of(self, copies: Int) -> Cohort:
        """A cohort of exactly these copies, the present one if there is; takes them out of all others."""
        same = [cohort for cohort in self._cohorts if np.array_equal(cohort.copies, copies) and cohort.live.all()]
        chosen = same[0] if same else self._make(copies)
        for cohort in self._cohorts:
            if cohort is not chosen:
                cohort.live &= ~np.isin(cohort.copies, copies)
                cohort.is_everybody = False
        others = [cohort for cohort in self._cohorts if cohort is not chosen and cohort.live.any()]
        self._cohorts = [*others, chosen]
        return chosen

    def _make(self, copies: Int) -> Cohort:
        n = len(copies)
        bidding = Bidding(self._spec, self._spec.market.controlled_market(self._spec.task, n))
        return Cohort(copies, bidding, np.ones(n, bool), is_everybody=n == self._n)
