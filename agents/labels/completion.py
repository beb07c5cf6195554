"""Estimates of what a log lacks, so that it can be learned from; each says how it is made and what it hides.

An advertiser's own log has bids, costs and what they brought. It lacks predicted values, the least winning cost and
what happened in lost auctions. The estimates are means: they hide how impressions of a tick differ from each other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.labels.censored_prices import PriceDistribution
from auction_env.data import TrajectoryData, require
from auction_env.data.missing import MISSING
from auction_env.data.schema import FEATURE_COLUMNS
from auction_env.kernels.features import write_episodes
from auction_env.tasks import BASES, QUANTITIES

Float = NDArray[np.float64]

ESTIMATED = "estimated"
"""Key of the metadata: the columns that hold estimates."""

_PRICE_BEFORE = "feature_least_winning_cost_last_3"

NEEDED = ("n_impressions", "bid", "wins", "exposures", "cost", *(QUANTITIES[basis].sampled for basis in BASES))
"""What nothing else tells, so that a log without it cannot be completed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Completion:
    """What the estimates are made of.

    Attributes:
        rates: For each recorded basis, by advertiser, mean amount of an exposed impression; under None that of all.
        prices: Of the auctions; None where the log has the least winning cost.
    """

    rates: dict[str, dict[int | None, float]]
    prices: PriceDistribution | None

    @classmethod
    def fit(cls, data: TrajectoryData) -> Completion:
        """Learns from a log, from its ticks that have all of `NEEDED`.

        An advertiser's rate is (its amount + that of one event) / (its exposures + those of one event), the event being
        the mean one of all, so that who had none yet does not get a rate of 0.

        Raises:
            ValueError: There is no such tick, or no bid.
        """
        if not _needs_rates(data):
            return cls(rates={}, prices=None)
        needed = _needed(data)
        known = np.logical_and.reduce([~np.isnan(data[name]) for name in needed])
        if not known.any():
            require(data, needed, "estimates of what the log lacks")
        recorded = [basis for basis in BASES if getattr(data.targets, QUANTITIES[basis].target).all()]
        fitted = cls(rates={basis: _rates(data, basis, known) for basis in recorded}, prices=None)
        if "least_winning_cost" not in data.missing or _PRICE_BEFORE not in data.missing:
            return fitted
        bid = (fitted._bid(data) / np.maximum(data.n_impressions, 1.0))[known]
        prices = PriceDistribution.fit(bid, data.wins[known], data.n_impressions[known])
        return cls(rates=fitted.rates, prices=prices)

    def apply(self, data: TrajectoryData) -> TrajectoryData:
        """The log with estimates in place of what it lacks; what it has stays, number for number.

        - Predicted amounts are the advertiser's rate x impressions, offered or exposed, as if all were alike. Where
          bids follow better predictions, those exposed are the better ones: then the predicted amounts are too high and
          the multipliers too low. A log that has the multipliers or the predictions is free of that.
        - The least winning cost is, over won auctions, what was paid for an impression (right for one slot sold at the
          second price; too high where several slots are sold), and over lost ones the mean of the prices above the
          bid, as the shares that the log's bids won tell it (`agents.labels.censored_prices`).
        - Where a log has the states, the least winning cost is that of the three ticks before, and a tick's cost is its
          bids times the episode's cost per bid, at most the budget left: what AuctionNet's trajectories lack of an
          episode's last tick.
        - The multiplier is bids / predicted amounts. The features follow from all these.

        Cells that nothing tells stay missing.
        """
        if not data.missing:
            return data
        columns: dict[str, Any] = {}

        def fill(name: str, estimate: Float) -> None:
            if name in data.missing:
                columns[name] = np.where(np.isnan(data[name]), estimate, data[name])

        for basis in self.rates:
            rate = self._rate(data, basis)
            fill(QUANTITIES[basis].offered, rate * data.n_impressions)
            fill(QUANTITIES[basis].expected, rate * data.exposures)
        fill("bid", self._bid(data))
        bid = columns.get("bid", data.bid)
        if self.prices is None:
            fill("least_winning_cost", data[_PRICE_BEFORE])
            fill("cost", np.minimum(_cost_per_bid(data) * bid, data.budget_left))
        else:
            n = np.maximum(data.n_impressions, 1.0)
            won = np.clip(data.wins / n, 0.0, 1.0)
            fill("least_winning_cost", won * _paid(data) + (1.0 - won) * self.prices.mean_above(bid / n))
        own = [QUANTITIES[task.basis] for task in data.tasks]
        offered, expected = (
            np.stack([columns.get(name, data[name]) for name in names])[data.task, np.arange(len(data))]
            for names in ([part.offered for part in own], [part.expected for part in own])
        )
        fill("action", np.divide(bid, offered, out=np.zeros(len(data)), where=~(offered <= 0)))
        is_surplus = np.array([task.is_surplus for task in data.tasks])[data.task]
        fill("reward_expected", np.where(is_surplus, expected - columns.get("cost", data.cost), expected))
        if any(name in data.missing for name in FEATURE_COLUMNS):
            columns["observation"] = _observation(data, columns)
        return _noted(data, columns)

    def _rate(self, data: TrajectoryData, basis: str) -> Float:
        """(n,) the rate of each row's advertiser."""
        known = self.rates[basis]
        advertisers, place = np.unique(data.advertiser, return_inverse=True)
        rates: Float = np.array([known.get(int(one), known[None]) for one in advertisers])[place]
        return rates

    def _bid(self, data: TrajectoryData) -> Float:
        """(n,) sums of bids: the logged ones, or multiplier x predicted amount."""
        if "bid" not in data.missing:
            return data.bid
        out = data.bid.copy()
        for code, task in enumerate(data.tasks):
            rows = np.isnan(out) & (data.task == code)
            out[rows] = (data.action * self._rate(data, task.basis) * data.n_impressions)[rows]
        return out


def complete(data: TrajectoryData) -> TrajectoryData:
    """The log with estimates, made from itself, in place of what it lacks (`Completion`); the same if it lacks nothing.

    Raises:
        ValueError: The log lacks something that nothing else tells (`NEEDED`), or there is no bid.
    """
    return Completion.fit(data).apply(data) if data.missing else data


def describe(metadata: Mapping[str, Any]) -> str:
    """A sentence on what a log with these metadata holds estimates of; empty where it holds none."""
    names = [name for name in metadata.get(ESTIMATED, ()) if name not in FEATURE_COLUMNS]
    if not names:
        return ""
    if "cost" in names or set(names) == {"least_winning_cost"}:
        how = ["prices: of the three ticks before; cost: bids x the episode's cost per bid"]
    else:
        how = ["predicted amounts: rate x impressions"]
        how += ["prices of lost auctions: from the shares that other bids won"] * ("least_winning_cost" in names)
    return f"estimated, because the log lacks them: {', '.join(names)} ({'; '.join(how)})"


def _needs_rates(data: TrajectoryData) -> bool:
    """Whether the log lacks predicted amounts or bids, or prices without the states that tell them."""
    predicted = [name for quantity in QUANTITIES.values() for name in (quantity.offered, quantity.expected)]
    names = {*predicted, "bid", "action", "reward_expected", *FEATURE_COLUMNS}
    return not names.isdisjoint(data.missing)


def _cost_per_bid(data: TrajectoryData) -> Float:
    """(n,) cost over sum of bids of the row's episode, of the ticks whose cost is known; 0 without any."""
    starts, known = data.episode_starts, ~np.isnan(data.cost)
    if not len(data):
        return np.zeros(0)
    cost, bid = (np.add.reduceat(np.where(known, part, 0.0), starts[:-1]) for part in (data.cost, data.bid))
    rate = np.divide(cost, bid, out=np.zeros(len(cost)), where=bid > 0)
    return np.repeat(rate, np.diff(starts))


def _needed(data: TrajectoryData) -> tuple[str, ...]:
    """`NEEDED`; bids follow from multipliers and rates where the log has those."""
    has_multipliers = "bid" in data.missing and "action" not in data.missing
    return tuple(name for name in NEEDED if not (has_multipliers and name == "bid"))


def _rates(data: TrajectoryData, basis: str, known: NDArray[np.bool_]) -> dict[int | None, float]:
    amount, exposures = data[QUANTITIES[basis].sampled][known], data.exposures[known]
    events = float((data.conversions[known] if basis == "gmv" else amount).sum())
    total, n = float(amount.sum()), max(float(exposures.sum()), 1.0)
    of_event = (total or 1.0) / max(events, 1.0), n / max(events, 1.0)  # amount and exposures
    advertisers, place = np.unique(data.advertiser[known], return_inverse=True)
    amounts, shown = (np.bincount(place, part, len(advertisers)) for part in (amount, exposures))
    rates = (amounts + of_event[0]) / (shown + of_event[1])
    found: dict[int | None, float] = dict(zip(advertisers.tolist(), rates.tolist(), strict=True))
    return found | {None: of_event[0] / of_event[1]}


def _paid(data: TrajectoryData) -> Float:
    """(n,) mean price of the impressions that were paid for; 0 without any."""
    return np.divide(data.cost, data.exposures, out=np.zeros(len(data)), where=~(data.exposures <= 0))


def _noted(data: TrajectoryData, columns: Mapping[str, Any]) -> TrajectoryData:
    """The log with these columns, and with what of it is estimated and what is still missing in its metadata."""
    loose = dataclasses.replace(data, metadata=data.metadata | {ESTIMATED: []}, **columns)
    rest = [name for name in data.missing if np.isnan(loose[name]).any()]
    estimated = [name for name in data.missing if np.isnan(loose[name]).sum() < np.isnan(data[name]).sum()]
    noted = {key: value for key, value in data.metadata.items() if key != MISSING}
    noted |= {ESTIMATED: estimated} | ({MISSING: rest} if rest else {})
    return dataclasses.replace(loose, metadata=noted)


def _observation(data: TrajectoryData, columns: Mapping[str, NDArray[Any]]) -> Float:
    """The observation with the features that the log lacks, from its completed columns."""

    def mean(name: str) -> Float:
        return np.asarray(columns.get(name, data[name]) / np.maximum(data.n_impressions, 1.0), np.float64)

    price = columns.get("least_winning_cost", data.least_winning_cost)
    means = np.stack([mean("bid"), price, mean("offered_conversions"), mean("conversions"), mean("wins")])
    out = np.empty((len(data), len(FEATURE_COLUMNS)))
    starts, tick, volume = (np.array(part) for part in (data.episode_starts, data.tick, data.n_impressions))
    write_episodes(starts, tick, 1, data.budget_left / data.budget, means[2], volume, means, out)
    observation: Float = data.observation.copy()
    for index, name in enumerate(FEATURE_COLUMNS):
        if name in data.missing:
            observation[:, index] = np.where(np.isnan(observation[:, index]), out[:, index], observation[:, index])
    return observation
