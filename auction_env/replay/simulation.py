"""Episodes in a replay market as the replaced advertisers see them: a `ControlledMarket`.

Any number of episodes, in any of the logged periods, are one kernel call a tick.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numba import get_num_threads
from numpy.typing import ArrayLike, NDArray

from auction_env.control.advertisers import ControlledTick, mean_multiplier, tick_view, without_funnel
from auction_env.control.bidder import (
    Campaigns,
    ImpressionBids,
    ImpressionOutcomes,
    Impressions,
    TickImpressions,
    TickView,
    split_bids,
)
from auction_env.control.controlled_market import PlayableMarket, SameEpisodes
from auction_env.control.observation import FEATURE_NAMES, N_FEATURES
from auction_env.integers import check_integers
from auction_env.kernels import outcomes
from auction_env.kernels import replay as kernel
from auction_env.kernels.features import N_STATISTICS, WINDOW
from auction_env.kernels.running.threads import may_start_threads
from auction_env.replay.market import ReplayMarket
from auction_env.tasks import BASES, Targets, Task, get_task

Float = NDArray[np.float64]
Int = NDArray[np.int64]

Conversions = Literal["sampled", "expected"]
CONVERSIONS: tuple[Conversions, ...] = ("sampled", "expected")
_SERIAL_BELOW = 50_000  # impressions a step, half a millisecond: waking threads can take longer than so few
_PARTS_PER_THREAD = 2  # for balance: episodes differ in what they win
_VALUE_NOW = FEATURE_NAMES.index("value_now")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarketOfLog(ABC):
    """What the `PlayableMarket`s of a log have in common; days are the numbers of its periods.

    Attributes:
        market: The log.
    """

    market: ReplayMarket

    @property
    def n_ticks(self) -> int:
        return self.market.n_ticks

    @property
    def mean_impressions(self) -> float:
        return float(self.market.n_impressions.mean())

    def needed(self, task: Task) -> Self:
        return self

    @abstractmethod
    def one_each(self, task: Task, advertisers: Int) -> ReplaySimulation:
        """See `PlayableMarket`."""

    def again(self, task: Task, campaigns: Campaigns) -> SameEpisodes:
        return SameEpisodes(self.one_each(task, campaigns.advertiser), campaigns.seed, campaigns.day)

    def days_of(self, seeds: Int) -> Int:
        return periods_in_turn(self.market, seeds)

    def alike(self, task: Task, seeds: Int, advertisers: Int, days: Int | None) -> Int:
        return np.zeros(len(seeds), np.int64)  # a log is there once, whatever is played in it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoggedMarket(MarketOfLog):
    """A `PlayableMarket` whose competitors bid what they bid in a log.

    Attributes:
        market: The log.
        conversions: As of `ReplaySimulation`.
    """

    conversions: Conversions = "sampled"

    def one_each(self, task: Task, advertisers: Int) -> ReplaySimulation:
        return ReplaySimulation(self.market, advertisers, task=task, conversions=self.conversions)

    def difference(self, other: PlayableMarket) -> str:
        if not isinstance(other, LoggedMarket):
            return "one is a log, the other live"
        if self.conversions != other.conversions:
            return f"another `conversions`: {self.conversions} and {other.conversions}"
        return self.market.difference(other.market)


def periods_in_turn(market: ReplayMarket, seeds: Int) -> Int:
    """(n,) numbers of the periods of a log, in turn by the seed."""
    periods: Int = market.periods[seeds % market.n_periods]
    return periods


class ReplaySimulation:
    """n episodes of one advertiser each, which replaces its logged self; the others bid what they bid in the log.

    Advertisers and periods go by their numbers in the log. The log has conversions only: all other amounts are 0.

    Args:
        market: The log.
        advertisers: (n,) whom the episodes control.
        task: Their task: it gives their requirements.
        conversions: `sampled` draws them around the logged prediction, normal with its logged sigma and cut to
            [0, 1]; `expected` counts the predictions.
    """

    def __init__(
        self,
        market: ReplayMarket,
        advertisers: ArrayLike,
        *,
        task: str | Task = "MaxConversions",
        conversions: Conversions = "sampled",
    ) -> None:
        if conversions not in CONVERSIONS:
            raise ValueError(f"`conversions` must be one of {CONVERSIONS}, found {conversions!r}")
        self.market, self._task = market, get_task(task)
        self.played: PlayableMarket = LoggedMarket(market=market, conversions=conversions)
        self._rules = market.rules.for_kernel(is_expected=conversions == "expected")
        self._scratch = kernel.new_scratch()
        self.control(advertisers)

    @property
    def n_ticks(self) -> int:
        """Ticks of an episode."""
        return self.market.n_ticks

    @property
    def n_controlled(self) -> int:
        return len(self._advertiser)

    @property
    def task(self) -> Task:
        return self._task

    @property
    def active(self) -> NDArray[np.bool_]:
        """(n,) False once the advertiser could not pay an impression."""
        return self._state.active.copy()

    def control(self, advertiser: ArrayLike) -> None:
        """Chooses who is controlled, (n,) numbers, from the next `reset` on."""
        self._advertiser = check_integers("advertiser", advertiser)
        if self._advertiser.ndim != 1:
            raise ValueError(f"`advertiser` must be a vector, found shape {self._advertiser.shape}")
        n_impressions = self.n_controlled * self.market.n_impressions.mean() / self.n_ticks
        self._is_serial = bool(n_impressions < _SERIAL_BELOW)

    def reset(self, seeds: ArrayLike, days: ArrayLike | None = None) -> None:
        """Starts the episodes: `seeds` (n,) not negative, `days` (n,) the numbers of their periods.

        Raises:
            ValueError: The log does not have a period or its advertiser.
        """
        if days is None:
            raise ValueError(f"`days` must be {self.n_controlled} of the periods {self.market.periods.tolist()}")
        n = self.n_controlled
        row, column = self.market.index(days, self._advertiser)
        self._day = self.market.periods[row]
        self._seed = np.broadcast_to(check_integers("seeds", seeds), n).copy()
        if n and self._seed.min() < 0:
            raise ValueError(f"`seeds` must not be negative, found {self._seed.min()}")
        self._tick = 0
        self._last: ControlledTick | None = None
        self._before: dict[int, ImpressionOutcomes] = {}  # of those that asked for it
        budget = self.market.budget[row, column]
        self._targets = Targets.of(budget, self.market.cpa_target[row, column])
        self._category = self.market.category[column]
        self._everyone = np.ones(n, np.bool_)
        self._state = kernel.EnvState(
            period=row,
            advertiser=column,
            seed=self._seed.astype(np.uint64),
            tick=np.zeros(n, np.int64),
            active=self._everyone.copy(),
            budget=budget,
            budget_left=budget.copy(),
            running=np.zeros((n, 1 + WINDOW, N_STATISTICS)),
        )
        self._features = np.zeros((n, N_FEATURES))
        kernel.observe_envs(self.market.log, self._state, self._everyone, self._features)

    def campaigns(self) -> Campaigns:
        """What is known before the first tick; the log does not say what traffic was expected."""
        return Campaigns(
            targets=self._targets,
            base=self._task.unit_worth(self._targets),
            category=self._category,
            advertiser=self._advertiser,
            requirements=self._task.requirements(self._targets),
            n_ticks=self.n_ticks,
            seed=self._seed,
            day=self._day,
            market=self.played,
            task=self._task,
        )

    def view(self) -> TickView:
        """What a bidder sees at the start of the current tick."""
        predicted_mean = np.zeros((self.n_controlled, len(BASES)))
        predicted_mean[:, BASES.index("conversions")] = self._features[:, _VALUE_NOW]
        return tick_view(
            self._tick,
            features=self._features,
            budget_left=self._state.budget_left.copy(),
            predicted_mean=predicted_mean,
            last=self._last,
            impressions=TickImpressions(np.arange(self.n_controlled), self._impressions, self._before.get),
        )

    def observe(self) -> Float:
        """(n, 16) features at the start of the current tick, or after the last: `FEATURE_NAMES`."""
        return self._features

    def step(self, bids: ArrayLike | ImpressionBids) -> ControlledTick:
        """Runs the current tick with multipliers (n,), currency per conversion, finite and not negative, or bids."""
        n = self.n_controlled
        given, on_impressions, is_reported = split_bids(bids, n)
        own = _own_bids(n, on_impressions)
        given[list(on_impressions)] = 1.0  # times the bids
        features, totals = np.zeros((n, N_FEATURES)), np.zeros((n, kernel.N_TOTALS))
        before = {i: self._impressions(i) for i in on_impressions} if is_reported else {}
        arguments = (self.market.log, self._rules, self._state, self._everyone, given, own)
        if self._is_serial or not may_start_threads():
            kernel.step_envs(*arguments, self._scratch, totals, features)
        else:
            kernel.step_envs_parallel(_PARTS_PER_THREAD * get_num_threads(), *arguments, totals, features)
        self._tick += 1
        self._features = features
        for i in on_impressions:
            given[i] = mean_multiplier(totals[i, kernel.BID], totals[i, kernel.OFFERED_CONVERSIONS])
        self._before = {}
        for i, impressions in before.items():
            rows = slice(own.start[i], own.start[i] + len(impressions.values))
            self._before[i] = ImpressionOutcomes(
                values=impressions.values,
                sigmas=impressions.sigmas,
                bids=own.bid[rows],
                slot=own.slot[rows].astype(np.int64),
                price=own.price[rows],
                exposed=own.exposed[rows],
                converted=own.converted[rows],
                least_winning_cost=own.least_winning_cost[rows],
            )
        outcome = self._last = controlled_tick(given, totals)
        return outcome

    def _impressions(self, i: int) -> Impressions:
        log, column = self.market.log, self._state.advertiser[i]
        first, stop = log.tick_start[self._state.period[i], self._tick : self._tick + 2]
        return Impressions(log.value[column, first:stop], log.sigma[column, first:stop])


def _own_bids(n: int, on_impressions: Mapping[int, NDArray[np.float32]]) -> kernel.OwnBids:
    """Bids on impressions of some of n episodes as the kernels take them."""
    start, bid = np.full(n, -1), np.concatenate([np.empty(0, np.float32), *on_impressions.values()])
    ends = np.cumsum([0, *(len(own) for own in on_impressions.values())])
    start[list(on_impressions)] = ends[:-1]
    k = len(bid)
    return kernel.OwnBids(
        start, bid, np.zeros(k, np.int32), np.zeros(k, np.float32), np.zeros(k, bool), np.zeros(k, bool),
        np.zeros(k, np.float32),
    )  # fmt: skip


def controlled_tick(multiplier: Float, totals: Float) -> ControlledTick:
    """The tick of a log that has conversions only; `totals` (n, N_TOTALS)."""
    columns = np.ascontiguousarray(totals.T)
    return without_funnel(
        multiplier=multiplier,
        n_impressions=columns[kernel.N_IMPRESSIONS],
        bid=columns[kernel.BID],
        offered_conversions=columns[kernel.OFFERED_CONVERSIONS],
        wins=columns[outcomes.WINS],
        exposures=columns[outcomes.EXPOSURES],
        cost=columns[outcomes.COST],
        conversions=columns[outcomes.CONVERSIONS],
        expected_conversions=columns[outcomes.EXPECTED_CONVERSIONS],
        least_winning_cost=columns[kernel.LEAST_WINNING_COST],
        budget_left=columns[kernel.BUDGET_LEFT],
    )
