"""`Market`: one episode at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.integers import check_integer
from auction_env.market.episode import Opening, TickResult
from auction_env.market.market import BatchMarket
from auction_env.market.params import MarketParams
from auction_env.market.population import Population
from auction_env.notebook import html_table

_Record = TypeVar("_Record", Opening, TickResult)


class Market:
    """One market: `BatchMarket` without the leading axis.

    Example:
        >>> market = Market(MarketParams(n_impressions=1000))
        >>> opening = market.reset(seed=1)
        >>> result = market.step(market.cpa_target)
        >>> result.cost.shape
        (48,)
    """

    def __init__(self, params: MarketParams | None = None, population: Population | None = None) -> None:
        self._batch = BatchMarket(params, population)
        self.params, self.population = self._batch.params, self._batch.population
        self.budget, self.cpa_target = self._batch.budget, self._batch.cpa_target
        self.targets = self._batch.targets

    def __repr__(self) -> str:
        return f"Market({', '.join(' '.join(pair) for pair in self.summary().items())})"

    def _repr_html_(self) -> str:
        return html_table("Market", (), self.summary().items())

    def summary(self) -> dict[str, str]:
        """What the market is and where it stands, for people."""
        found = self._batch.summary()
        del found["markets"]
        return found

    @property
    def n_advertisers(self) -> int:
        return self._batch.n_advertisers

    @property
    def opening(self) -> Opening:
        """See `BatchMarket.opening`."""
        return _first_market(self._batch.opening)

    def values(self) -> NDArray[np.float32]:
        """See `BatchMarket.values`."""
        return self._batch.values()

    @property
    def day(self) -> int:
        """See `BatchMarket.day`."""
        return int(self._batch.day[0])

    def reset(self, seed: int, day: int | None = None, bases: ArrayLike | None = None) -> Opening:
        """Starts an episode: see `BatchMarket.reset`; `bases` (n_advertisers,)."""
        days = None if day is None else [check_integer("day", day)]
        return _first_market(
            self._batch.reset([check_integer("seed", seed)], days, None if bases is None else np.asarray(bases)[None])
        )

    def step(self, multipliers: ArrayLike, on_impressions: Mapping[int, ArrayLike] | None = None) -> TickResult:
        """Runs the current tick with (n_advertisers,) multipliers: see `BatchMarket.step`.

        `on_impressions` has bids on each impression by advertiser.
        """
        given = np.asarray(multipliers, np.float64)
        if given.shape != (self.n_advertisers,):
            raise ValueError(f"`multipliers` must have shape ({self.n_advertisers},), found {given.shape}")
        bids = {(0, advertiser): column for advertiser, column in (on_impressions or {}).items()}
        return _first_market(self._batch.step(given[None], bids))


def _first_market(record: _Record) -> _Record:
    """A record of one market: arrays lose their leading axis."""
    arrays = {name: value[0] for name, value in record._asdict().items() if isinstance(value, np.ndarray)}
    return record._replace(**arrays)
