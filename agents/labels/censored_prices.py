"""The distribution of prices when only shares of won auctions are known: a bid wins where it is above the price.

The share that bids win is a rising function of the bid, the distribution function of the prices. Its maximum likelihood
estimate without further assumptions is an isotonic regression (current status data: P. Groeneboom and J. Wellner,
"Information bounds and nonparametric maximum likelihood estimation", 1992). The estimate of Kaplan and Meier needs the
price of every won auction; on the mean price of a tick's wins it is wrong, as a mean hides the prices near the bid.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


class PriceDistribution(NamedTuple):
    """A distribution of prices on k bids, ascending."""

    price: Float  # (k,) currency
    share: Float  # (k,) of the prices that are at most this; the rest is above the highest bid, who knows how far

    @classmethod
    def fit(cls, bid: Float, n_won: Float, n_auctions: Float) -> PriceDistribution:
        """The distribution that won and lost auctions tell.

        Args:
            bid: (n,) currency; ticks without a bid or without auctions tell nothing and are left out.
            n_won, n_auctions: (n,) numbers of auctions.

        Raises:
            ValueError: There is no bid in any auction.
        """
        from scipy.optimize import isotonic_regression  # here: importing scipy.optimize takes longer than all else

        known = (bid > 0) & (n_auctions > 0)
        if not known.any():
            raise ValueError("`bid` and `n_auctions` must be positive somewhere to tell prices, found 0 throughout")
        grid, place = np.unique(bid[known], return_inverse=True)
        total = np.bincount(place, n_auctions[known], len(grid))
        won = np.bincount(place, np.minimum(n_won, n_auctions)[known], len(grid))
        share: Float = isotonic_regression(won / total, weights=total).x
        return cls(grid, share)

    def mean_above(self, bid: Float) -> Float:
        """Mean of the prices above each bid, those above the highest bid taken for that bid: too low where many are."""
        mass = np.diff(self.share, prepend=0.0)
        mass[-1] += 1.0 - self.share[-1]
        beyond = np.append(np.cumsum((mass * self.price)[::-1])[::-1], 0.0)  # of the prices from k on
        left = np.append(np.cumsum(mass[::-1])[::-1], 0.0)
        first = np.searchsorted(self.price, bid, side="right")
        found = np.divide(beyond[first], left[first], out=np.array(bid, np.float64), where=left[first] > 0)
        mean: Float = np.maximum(found, bid)
        return mean
