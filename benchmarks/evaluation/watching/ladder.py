"""The price ladder of a tick: what somebody must bid to win each slot, against the bids of all others."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from auction_env.control.advertisers import ControlledTick
from auction_env.control.bidder import ImpressionBids
from auction_env.control.controlled_market import ControlledMarket
from auction_env.control.simulation import Simulation
from auction_env.market.episode import TickBids
from auction_env.replay.fixed_prices import FixedPriceSimulation
from auction_env.replay.simulation import ReplaySimulation

Float = NDArray[np.float64]

QUANTILES = (0.1, 0.5, 0.9)
"""Over the impressions of a tick."""


class Ladder(Protocol):
    """Plays ticks of n controlled advertisers and looks at the prices before each."""

    def step(self, bids: Float | ImpressionBids) -> tuple[ControlledTick, Float]:
        """What the tick brought, and (n, n_slots, 3) the quantiles of the bids to beat, currency per impression.

        The bid to beat for slot s is the s-th highest bid of the others, at least the reserve price. NaN in a tick
        without impressions.
        """


def ladder_of(simulation: ControlledMarket) -> Ladder:
    """The ladder of a live market or of a log.

    Raises:
        ValueError: A market of another kind, of which no bids are known.
    """
    if isinstance(simulation, Simulation):
        return _Live(simulation)
    if isinstance(simulation, FixedPriceSimulation):
        return _FixedPrices(simulation)
    if isinstance(simulation, ReplaySimulation):
        return _Logged(simulation)
    raise ValueError(f"the market must be live or a log to show its prices, found {type(simulation).__name__}")


class _Live:
    """Bids are those at the start of the tick: of money that runs out within it, nothing is known yet."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def step(self, bids: Float | ImpressionBids) -> tuple[ControlledTick, Float]:
        simulation = self._simulation
        everyone = simulation.decide(bids)
        params = simulation.market.params
        found = [
            _quantiles(self._others(everyone, int(number), int(own)), params.n_slots, params.reserve)
            for number, own in zip(simulation.controlled_market, simulation.advertiser, strict=True)
        ]
        return simulation.play(everyone)[0], np.array(found)

    def _others(self, everyone: TickBids, number: int, own: int) -> Float:
        """(n_impressions, n_advertisers) bids of a market, the own ones below all others."""
        market = self._simulation.market
        active, quality = market.opening.active[number], market.params.quality
        offered = market.values(number) * np.where(active, everyone.multipliers[number], 0.0)
        for (where, advertiser), given in everyone.on_impressions.items():
            if where == number:
                offered[:, advertiser] = given if active[advertiser] else 0.0
        if quality is not None:  # the auction ranks by bid x quality: what the own bid must be to rank as high
            offered *= np.asarray(quality) / quality[own]
        offered[:, own] = -1.0
        return np.asarray(offered, np.float64)


class _Logged:
    """The bids of the log, without those of the advertiser that is replaced."""

    def __init__(self, simulation: ReplaySimulation) -> None:
        self._simulation = simulation
        self._tick = 0

    def step(self, bids: Float | ImpressionBids) -> tuple[ControlledTick, Float]:
        market, campaigns = self._simulation.market, self._simulation.campaigns()
        assert campaigns.day is not None  # a log's episodes are of its periods
        found = []
        for row, column in zip(*market.index(campaigns.day, campaigns.advertiser), strict=True):
            first, stop = market.log.tick_start[row, self._tick : self._tick + 2]
            found.append(self._of(slice(int(first), int(stop)), int(column)))
        self._tick += 1
        return self._simulation.step(bids), np.array(found)

    def _of(self, rows: slice, own: int) -> Float:
        """(n_slots, 3) of some impressions."""
        log, rules = self._simulation.market.log, self._simulation.market.rules
        is_own = log.ladder_advertiser[:, rows] == own
        others = np.where(is_own, -1.0, log.ladder_bid[:, rows]).T
        return _quantiles(others, rules.n_slots, rules.reserve)


class _FixedPrices(_Logged):
    """One slot, whose price is the logged least winning cost."""

    def _of(self, rows: slice, own: int) -> Float:
        return _quantiles(self._simulation.market.least_winning_costs(rows)[:, None], 1, 0.0)


def _quantiles(bids: Float, n_slots: int, reserve: float) -> Float:
    """(n_slots, 3) of bids (n_impressions, n_bids); slots that nobody bids for cost the reserve price."""
    if not len(bids):
        return np.full((n_slots, len(QUANTILES)), np.nan)
    n_bids = bids.shape[1]
    highest = np.full((len(bids), n_slots), -1.0)
    n = min(n_slots, n_bids)
    highest[:, :n] = -np.sort(np.partition(-bids, n - 1, axis=1)[:, :n], axis=1)
    to_beat = np.maximum(highest, reserve)
    return np.asarray(np.quantile(to_beat, QUANTILES, axis=0).T)
