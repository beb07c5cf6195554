"""A bidder that keeps the time of its decisions; needs no torch."""

from __future__ import annotations

import time

from auction_env.control.bidder import Bidder, Campaigns, ImpressionBids, TickView
from auction_env.market.population import Float


class Timed:
    """A bidder that keeps the wall time of each decision."""

    def __init__(self, bidder: Bidder) -> None:
        self.name = bidder.name
        self.seconds: list[float] = []
        self._bidder = bidder

    def reset(self, campaigns: Campaigns) -> None:
        self._bidder.reset(campaigns)

    def act(self, view: TickView) -> Float | ImpressionBids:
        start = time.perf_counter()
        bids = self._bidder.act(view)
        self.seconds.append(time.perf_counter() - start)
        return bids
