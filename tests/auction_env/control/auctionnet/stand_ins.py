"""Stand-ins for what AuctionNet has on the other side of its interface: strategies, its simulator, its evaluator.

Written from the descriptions of the interface; none of AuctionNet's code is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auction_env import clear_auctions

Float = NDArray[np.float64]
N_TICKS = 48
LISTS = ("values", "bids", "auctions", "impressions", "least_winning_costs")


class Proportional:
    """Bids its CPA x value, minus what the uncertainty is worth to it; keeps what it was handed."""

    def __init__(self, risk: float = 0.0) -> None:
        self.name, self.budget, self.cpa, self.category, self.remaining_budget = "proportional", 1.0, 1.0, 0, 1.0
        self.risk = risk
        self.calls: list[tuple[Any, ...]] = []

    def reset(self) -> None:
        self.remaining_budget = self.budget
        self.calls = []

    def bidding(self, tick: int, values: Float, sigmas: Float, *history: list[Any]) -> Float:
        self.calls.append((tick, values, sigmas, *history, self.remaining_budget))
        return self.cpa * (values - self.risk * sigmas)  # negative for the most uncertain


def state(tick: int, values: Float, remaining: float, budget: float, *history: list[Float]) -> Float:
    """The 16 numbers of the state as AuctionNet's documents define them, from the lists of one advertiser."""
    value_info, bids, auctions, impressions, costs = history
    kinds = (
        bids, costs, [part[:, 0] for part in value_info], [part[:, 1] for part in impressions],
        [part[:, 0] for part in auctions],
    )  # fmt: skip

    def mean(parts: list[Float]) -> float:
        return float(np.mean([part.mean() for part in parts])) if parts else 0.0

    bid, cost, value, conversion, win = ([mean(kind), mean(kind[-3:])] for kind in kinds)
    volumes = [len(part) for part in bids]
    return np.array(
        [
            (N_TICKS - tick) / N_TICKS, remaining / budget, *bid, cost[0], value[0], conversion[0], win[0], cost[1],
            value[1], conversion[1], win[1], values.mean(), len(values), sum(volumes[-3:]), sum(volumes),
        ]
    )  # fmt: skip


def simulate(strategies: Sequence[Any], seed: int, n: int = 30, reserve: float = 0.0001) -> list[dict[str, Float]]:
    """An episode of AuctionNet's simulator: all strategies bid; three slots, seen with 1, .8, .6.

    Returns the totals of each strategy and its lists (`LISTS`).
    """
    rng = np.random.default_rng(seed)
    n_strategies = len(strategies)
    lists: list[dict[str, Any]] = [{name: [] for name in LISTS} for _ in strategies]
    for strategy in strategies:
        strategy.reset()
    for tick in range(N_TICKS):
        values = rng.uniform(0, 0.01, (n, n_strategies))
        sigmas = values * rng.uniform(0.05, 0.3, values.shape)
        bids = np.zeros(values.shape)
        for j, strategy in enumerate(strategies):
            if strategy.remaining_budget >= 0.1:
                bids[:, j] = strategy.bidding(tick, values[:, j], sigmas[:, j], *(list(lists[j][k]) for k in LISTS))
        bids = np.maximum(bids, 0)
        seen_slots = np.cumprod(rng.random((n, 3)) < [1, 0.8, 0.6], axis=1)
        left = np.array([strategy.remaining_budget for strategy in strategies])
        while True:  # drop random wins of those who overspend, and clear again
            cleared = clear_auctions(bids, reserve=reserve)
            won = cleared.slot > 0
            seen = won & np.take_along_axis(seen_slots, np.maximum(cleared.slot - 1, 0), axis=1).astype(bool)
            over = (cleared.price * seen).sum(axis=0) - left
            if over.max() <= 0:
                break
            for j in np.flatnonzero(over > 0):
                bids[rng.choice(np.flatnonzero(won[:, j]), 1), j] = 0
        converted = seen & (rng.random(values.shape) < values * 20)
        for j, strategy in enumerate(strategies):
            strategy.remaining_budget -= float((cleared.price * seen)[:, j].sum())
            auction = np.stack([won[:, j], cleared.slot[:, j], cleared.price[:, j]], axis=-1)
            new = (
                np.stack([values[:, j], sigmas[:, j]], axis=-1), bids[:, j], auction.astype(float),
                np.stack([seen[:, j], converted[:, j]], axis=-1).astype(float), cleared.least_winning_cost,
            )  # fmt: skip
            for name, part in zip(LISTS, new, strict=True):
                lists[j][name].append(part)
    return lists


def evaluate(strategy: Any, seed: int, n: int = 30) -> dict[str, Any]:
    """An episode of AuctionNet's offline evaluator: one strategy against given prices; every win is seen and paid.

    The column of what was seen holds the conversions, as there.
    """
    rng = np.random.default_rng(seed)
    lists: dict[str, Any] = {name: [] for name in LISTS}
    for tick in range(N_TICKS):
        values, prices = rng.uniform(0, 0.01, n), rng.uniform(0.1, 1.0, n)
        sigmas = 0.1 * values
        bids = strategy.bidding(tick, values, sigmas, *(lists[k] for k in LISTS))
        status = bids >= prices
        converted = status & (rng.random(n) < values * 20)
        strategy.remaining_budget -= float((prices * status).sum())
        new = (
            np.stack([values, sigmas], axis=-1), bids, np.stack([status, status, prices * status], axis=-1),
            np.stack([converted, converted], axis=-1).astype(int), prices,
        )  # fmt: skip
        for name, part in zip(LISTS, new, strict=True):
            lists[name].append(part)
    return lists
