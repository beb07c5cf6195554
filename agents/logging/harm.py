"""Harm in logs: ways in which a log may mislead whoever learns from it, each with one strength from 0 to 1.

The seven kinds beside `scaled_bid` are near a sound log in their marginals. Their harm is conditional on the price,
the hour, the category or the episode, and much of such a log is useful. Which of its trajectories are sound is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.control.observation import FEATURE_NAMES
from auction_env.data import TrajectoryData
from auction_env.market.params import MarketParams
from auction_env.market.population import Population
from auction_env.tasks import QUANTITIES, Task

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]
Market: TypeAlias = tuple[MarketParams, Population]

SCALED_BID, FIRST_PRICE, RESERVE, VOLUME = "scaled_bid", "first_price", "reserve", "volume"
DELAY, MISCALIBRATION, STALE, DAYPARTING = "delay", "miscalibration", "stale", "dayparting"
HARM_KINDS: dict[str, str] = {
    SCALED_BID: "records 3^s times the bids that were submitted",
    FIRST_PRICE: "a share s of each price is the winner's own bid: part of the market is first price",
    RESERVE: "from the middle of the log on the reserve price is 10^s times as high",
    VOLUME: "from the middle of the log on the traffic is 2^-s times as much, budgets stay",
    DELAY: "conversions are reported after 24 s ticks on average, and lost if the episode has ended",
    MISCALIBRATION: "predicted conversions are recorded 2^s times too high for half of the categories",
    STALE: "an older regime: the competitors' target CPAs are 2^-s times as high, prices follow",
    DAYPARTING: "records bids before an adjustment for the time of day, from 3^s in the first tick down to 3^-s",
}
"""What harmed trajectories are at strength s."""

LATE = (RESERVE, VOLUME)
"""Kinds that begin in the middle of the log."""
OF_RECORD = (SCALED_BID, DELAY, MISCALIBRATION, DAYPARTING)
"""Kinds that change what the log says; what was seen, bid, won and paid is that of the sound log."""

_CONVERSION_COLUMNS = {  # by what a kind changes: conversions, and the GMV that they bring
    DELAY: ("conversions", "expected_conversions", "gmv", "expected_gmv"),
    MISCALIBRATION: ("offered_conversions", "expected_conversions", "offered_gmv", "expected_gmv"),
}
_VALUE_FEATURES = [k for k, name in enumerate(FEATURE_NAMES) if name.startswith("value_")]
_LONGEST_DELAY = 24.0  # ticks
_DRAWS = 0x4A12  # of the delays: apart from all that a bidder draws from the same seed and advertiser


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What is wrong with the log of a source task.

    Attributes:
        kind: One of `HARM_KINDS`.
        strength: s, in [0, 1]; 0 is a sound log. `HARM_KINDS` says what it means.
        share: Share of the market episodes that are harmed, in [0, 1], spread evenly over the log; the others are
            sound. Of the kinds in `LATE`, that share of the second half.
    """

    kind: str
    strength: float = 1.0
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in HARM_KINDS:
            raise ValueError(f"`harm.kind` must be one of {tuple(HARM_KINDS)}, found {self.kind!r}")
        for name in ("strength", "share"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(f"`harm.{name}` must lie in [0, 1], found {value!r}")

    def __str__(self) -> str:
        text = f"{self.kind}={self.strength:g}"
        return text if self.share == 1 else f"{text}@{self.share:g}"

    def __bool__(self) -> bool:
        """Whether anything is wrong: False at strength 0 or share 0."""
        return self.strength > 0 and self.share > 0

    @classmethod
    def parse(cls, text: str) -> Harm:
        """The harm that `str` writes: "delay=0.5", or "scaled_bid=1@0.3" for a share of the episodes.

        Raises:
            ValueError: An unknown kind, or a strength or share out of range.
        """
        kind, has_strength, rest = text.strip().partition("=")
        strength, has_share, share = rest.partition("@")
        try:
            levels = (float(strength) if has_strength else 1.0, float(share) if has_share else 1.0)
        except ValueError as error:
            raise ValueError(f"`harm` must be kind=strength or kind=strength@share, found {text!r}") from error
        return cls(kind=kind, strength=levels[0], share=levels[1])

    @classmethod
    def from_json(cls, record: Any) -> Harm | None:
        """The harm of a record that `asdict` made; None for None."""
        return None if record is None else cls(**record)

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON values."""
        return asdict(self)

    def affects(self, task: Task) -> bool:
        """Whether the harm changes anything that the task counts or bids on.

        Delays and miscalibration leave clicks and add-to-carts right.
        """
        return bool(self) and (self.kind not in _CONVERSION_COLUMNS or bool({"conversions", "gmv"} & set(task.needs)))

    def market(self, params: MarketParams, population: Population, controlled: Sequence[int]) -> Market:
        """The market of the harmed episodes; `controlled` are the advertisers that the logging policy controls."""
        s = self.strength
        if self.kind == FIRST_PRICE:
            rest = (1.0 - s) * (1.0 - params.first_price_share)
            return replace(params, first_price_share=1.0 - rest), population
        if self.kind == RESERVE:
            return replace(params, reserve=params.reserve * 10.0**s), population
        if self.kind == VOLUME:
            weekdays = params.traffic.weekday_volume or (1.0,) * 7
            fewer = tuple(volume * 2.0**-s for volume in weekdays)
            return replace(params, traffic=replace(params.traffic, weekday_volume=fewer)), population
        if self.kind == STALE:
            mine = set(controlled)
            older = (c if j in mine else c * 2.0**-s for j, c in enumerate(population.cpa_target))
            return params, replace(population, cpa_target=tuple(older))
        return params, population

    def episode_mask(self, periods: ArrayLike, n_episodes: int) -> Bool:
        """Which market episodes of a log are harmed.

        Args:
            periods: (n,) their periods, from 0.
            n_episodes: Of the whole log.
        """
        period = np.asarray(periods, np.int64)
        if not self:
            return np.zeros(period.shape, bool)
        turn = np.floor((period + 1) * self.share + 1e-9) > np.floor(period * self.share + 1e-9)
        return np.asarray(turn & (2 * period >= n_episodes) if self.kind in LATE else turn)

    def advertiser_mask(self, advertisers: ArrayLike, controlled: Sequence[int], population: Population) -> Bool:
        """Which advertisers' trajectories are harmed in a harmed episode: all, or those of miscalibrated categories.

        Those are every other category, that of the first controlled advertiser among them.
        """
        who = np.asarray(advertisers, np.int64)
        if self.kind != MISCALIBRATION:
            return np.ones(who.shape, bool)
        parity = np.asarray(population.category, np.int64) % 2
        return np.asarray(parity[who] == parity[min(controlled)])

    def record(self, log: TrajectoryData, controlled: Sequence[int], population: Population) -> TrajectoryData:
        """What the log says of harmed market episodes, given all that happened in them.

        Args:
            log: The trajectories, played in `market`.
            controlled, population: As of `market`.
        """
        if self.kind not in OF_RECORD or not self:
            return log
        if self.kind == SCALED_BID:
            factor = 3.0**self.strength
            return replace(log, action=factor * log.action, bid=factor * log.bid)
        if self.kind == DAYPARTING:
            factor = self.bid_adjustment(int(log.tick.max()) + 1)[log.tick]
            return replace(log, action=log.action / factor, bid=log.bid / factor)
        if self.kind == DELAY:
            return _with_rewards(log, self._delayed(log))
        factors = np.where(self.advertiser_mask(log.advertiser, controlled, population), 2.0**self.strength, 1.0)
        changed: dict[str, Any] = {name: factors * log[name] for name in _CONVERSION_COLUMNS[MISCALIBRATION]}
        observation = log.observation.copy()
        observation[:, _VALUE_FEATURES] *= factors[:, None]
        is_bid_on = np.array([task.basis in ("conversions", "gmv") for task in log.tasks])[log.task]
        changed |= {"observation": observation, "action": np.where(is_bid_on, log.action / factors, log.action)}
        return _with_rewards(log, changed)

    def bid_adjustment(self, n_ticks: int) -> Float:
        """(n_ticks,) submitted over recorded bid in the course of the episode, 1 on geometric average.

        Platforms adjust bids by the hour, and logs keep the campaign's own bid: the first ticks are raised to up to
        3^s, the last ones lowered as far. All ones unless the kind is `dayparting`.
        """
        if self.kind != DAYPARTING:
            return np.ones(n_ticks)
        return np.asarray(3.0 ** (self.strength * np.linspace(1.0, -1.0, n_ticks)))

    def _delayed(self, log: TrajectoryData) -> dict[str, Float]:
        """The columns of conversions and GMV without what is reported after the episode."""
        starts = log.episode_starts
        left = np.repeat(starts[1:], np.diff(starts)) - np.arange(len(log))  # ticks to the end, this one included
        mean = _LONGEST_DELAY * self.strength
        reported = 1.0 - (mean / (1.0 + mean)) ** left  # a geometric delay of fewer ticks than are left
        kept = np.empty(len(log))
        for first, end in pairwise(starts):
            rng = np.random.default_rng([_DRAWS, max(int(log.seed[first]), 0), int(log.advertiser[first])])
            kept[first:end] = rng.binomial(log.conversions[first:end].astype(np.int64), reported[first:end])
        made = np.maximum(log.conversions, 1.0)
        return {
            "conversions": kept,
            "expected_conversions": reported * log.expected_conversions,
            "gmv": log.gmv * kept / made,
            "expected_gmv": reported * log.expected_gmv,
        }


def _with_rewards(log: TrajectoryData, changed: dict[str, Any]) -> TrajectoryData:
    """The log with changed columns, and rewards that follow them."""
    rewards: dict[str, Any] = {"reward": log.reward.copy(), "reward_expected": log.reward_expected.copy()}
    for code, task in enumerate(log.tasks):
        column, rows = QUANTITIES[task.basis], log.task == code
        for name, source in (("reward", column.sampled), ("reward_expected", column.expected)):
            if source in changed:
                rewards[name][rows] = task.net(changed[source], log.cost)[rows]
    return replace(log, **changed, **rewards)


def sound_trajectories(
    harm: Harm | None,
    periods: ArrayLike,
    advertisers: ArrayLike,
    *,
    n_episodes: int,
    controlled: Sequence[int],
    population: Population,
) -> Bool:
    """Which trajectories of a collected log are sound, (n,).

    Args:
        harm: Of the log.
        periods, advertisers: (n,) the market episode and the advertiser of each trajectory.
        n_episodes, controlled, population: Of the collection.
    """
    periods = np.asarray(periods, np.int64)
    if not harm:
        return np.ones(len(periods), bool)
    harmed = harm.advertiser_mask(advertisers, controlled, population)
    return np.asarray(~(harm.episode_mask(periods, n_episodes) & harmed))
