"""AuctionNet's strategies as our bidders: they bid in every market of impressions, live or logged."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.control.auctionnet.as_strategy import N_TICKS
from auction_env.control.bidder import Campaigns, ImpressionBids, ImpressionOutcomes, NamedBidder, TickView

MIN_REMAINING_BUDGET = 0.1
"""Currency below which AuctionNet asks a strategy for no bids."""


class Strategy(Protocol):
    """What AuctionNet calls a strategy; `bidding` takes the arguments of `AuctionNetStrategy.bidding`."""

    name: str
    budget: float
    cpa: float
    category: int
    remaining_budget: float

    def reset(self) -> None:
        """Starts an episode."""

    def bidding(self, *history: Any) -> ArrayLike:
        """(n,) bids of a tick, currency per impression."""


class StrategyBidder(NamedBidder):
    """Bids what copies of a strategy bid, one for each campaign: see `from_auctionnet_strategy`."""

    def __init__(self, make: Callable[[], Strategy], name: str) -> None:
        self.name, self._make = name, make

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes with a copy of the strategy each."""
        if campaigns.n_ticks != N_TICKS:
            raise ValueError(
                f"`n_ticks` must be {N_TICKS} for strategies of AuctionNet, which count on it, found"
                f" {campaigns.n_ticks} in the market of bidder {self.name!r}"
            )
        self._strategies = []
        for budget, cpa, category in zip(campaigns.budget, campaigns.cpa_target, campaigns.category, strict=True):
            strategy = self._make()
            strategy.budget, strategy.cpa, strategy.category = float(budget), float(cpa), int(category)
            strategy.reset()
            self._strategies.append(strategy)
        self._history = [_History() for _ in self._strategies]

    def act(self, view: TickView) -> ImpressionBids:
        """The strategies' bids on each impression; no bids with less than 0.1 currency left, negative ones are 0."""
        if view.impressions is None:
            raise ValueError(
                f"bidder {self.name!r} bids on each impression: it must play in a market of impressions, found one that"
                " knows means only"
            )
        bids: list[NDArray[np.float64]] = []
        for i, (strategy, history) in enumerate(zip(self._strategies, self._history, strict=True)):
            if (before := view.impressions.before(i)) is not None:
                history.add(before)
            values, sigmas = (part.astype(np.float64) for part in view.impressions.now(i))
            strategy.remaining_budget = float(view.budget_left[i])
            if strategy.remaining_budget < MIN_REMAINING_BUDGET:
                bids.append(np.zeros(len(values)))
                continue
            answer = strategy.bidding(view.tick, values, sigmas, *history.lists())
            bids.append(np.maximum(np.asarray(answer, np.float64), 0.0))
        return ImpressionBids(bids=bids, is_reported=True)


class _History:
    """The five lists that AuctionNet hands to a strategy, an entry a past tick."""

    def __init__(self) -> None:
        self._lists: tuple[list[NDArray[np.float64]], ...] = ([], [], [], [], [])

    def add(self, tick: ImpressionOutcomes) -> None:
        """Adds a past tick."""
        entries = (
            (tick.values, tick.sigmas), (tick.bids,), (tick.slot > 0, tick.slot, tick.price),
            (tick.exposed, tick.converted), (tick.least_winning_cost,),
        )  # fmt: skip
        for past, columns in zip(self._lists, entries, strict=True):
            entry = np.stack([np.asarray(column, np.float64) for column in columns], axis=-1)
            past.append(entry if len(columns) > 1 else entry[:, 0])

    def lists(self) -> tuple[list[NDArray[np.float64]], ...]:
        """In the order of `bidding`'s arguments; lists of its own for the strategy, which may change them."""
        return tuple(list(past) for past in self._lists)


def from_auctionnet_strategy(strategy: Strategy | Callable[[], Strategy], *, name: str | None = None) -> StrategyBidder:
    """Makes a bidder of an object that is written for AuctionNet's simulator.

    It bids on each impression and gets what AuctionNet hands to its strategies: predicted values and deviations, and
    for each past tick the impressions, its bids, wins, slots, prices, what was seen and converted, and the least
    winning costs. It keeps that history in memory as AuctionNet does: about 35 MB a campaign of a full-size episode.

    Args:
        strategy: An object with `bidding` and `reset`, which is copied for each campaign, or a function or class
            without arguments that makes one.
        name: Label in tables; the strategy's own by default.

    Raises:
        ValueError: The object lacks something that AuctionNet's interface has; it is named.
    """
    is_maker = isinstance(strategy, type) or (callable(strategy) and not hasattr(strategy, "reset"))
    made: Any = strategy() if is_maker else strategy  # type: ignore[operator]  # just found to be callable
    missing = [part for part in ("bidding", "reset") if not callable(getattr(made, part, None))]
    if missing:
        raise ValueError(
            "`strategy` must have AuctionNet's methods `bidding` and `reset`, or be a function that makes such an"
            f" object, found {made!r} without {missing}"
        )
    make: Any = strategy if is_maker else partial(copy.deepcopy, made)
    return StrategyBidder(make, name or str(getattr(made, "name", type(made).__name__)))
