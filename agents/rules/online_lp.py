"""Online LP: the multiplier that would spend the money left on the rest of an episode like those of a history.

With prices per impression, the best bids under a budget solve a linear programme: take the impressions with the
lowest price per predicted value until the money is gone. Its solution is a threshold on that ratio, which is the
multiplier itself (bid = threshold x value wins exactly these). Solved anew at every tick for the ticks to come and
the budget left. Theory: S. Agrawal, Z. Wang, Y. Ye, "A dynamic near-optimal algorithm for online linear programming"
(Operations Research 62, 2014).

AuctionNet (arXiv 2412.10798, section 5) has a baseline of this name, which is another, simpler rule: one table a
category, no cost limit, a cap at 1.5 times the target CPA. It is `agents.rules.auctionnet_lp`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.rules.cost_ratios import CostLimits, largest_within
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.control.controlled_market import PlayableMarket
from auction_env.control.simulation import Simulation
from auction_env.market.market import BatchMarket
from auction_env.market.params import MarketParams
from auction_env.market.population import Population
from auction_env.replay.market import ReplayMarket
from auction_env.replay.simulation import LoggedMarket
from auction_env.tasks import BASES, QUANTITIES, REQUIREMENT_NAMES, Targets, Task, get_task

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_RANGE = (0.05, 20.0)  # of the thresholds over the target CPA


class PriceHistory(NamedTuple):
    """What an episode's impressions cost and bring, below each threshold on price over predicted value.

    Attributes:
        threshold: (n_advertisers, n_thresholds) ascending, currency per unit of the objective.
        cost: (n_advertisers, n_ticks, n_thresholds) of the impressions of a tick below the threshold, currency.
        value: Their predicted amount of what the task counts; same shape.
        basis: Which of `tasks.BASES` that is.
        market: The market of the episodes: a live one, or the log that they are in.
    """

    threshold: Float
    cost: Float
    value: Float
    basis: str
    market: PlayableMarket


def record_prices(
    params: MarketParams,
    population: Population,
    seeds: ArrayLike,
    *,
    task: str | Task = "MaxConversions",
    days: ArrayLike | None = None,
    n_thresholds: int = 128,
) -> PriceHistory:
    """The mean over market episodes in which all advertisers follow the population's script.

    The price of an impression is the least that wins its last slot from the others, and both cost and value count
    with the mean probability that a won slot is seen.

    Args:
        params, population: The market.
        seeds: (n,) episodes; they must not be those that the bidder will play.
        task: The task of the bidder: what the predicted value counts.
        days: (n,) which day each episode is; None draws it from the seed.
        n_thresholds: Size of the grid of thresholds.
    """
    numbers = np.atleast_1d(np.asarray(seeds, np.int64))
    nobody = np.zeros(0, np.int64)
    simulation = Simulation(
        params, population, controlled_market=nobody, controlled_advertiser=nobody, n_markets=len(numbers)
    )
    market, task = simulation.market, get_task(task)
    simulation.reset(numbers, days)
    # the same impressions by what the task counts; the script bids on conversions
    counted = BatchMarket(params, population, len(numbers))
    counted.reset(numbers, days, np.full((len(numbers), market.n_advertisers), BASES.index(task.basis)))
    threshold = np.geomspace(*_RANGE, n_thresholds) * task.unit_worth(market.targets)[:, None]
    shape = (market.n_advertisers, params.n_ticks, n_thresholds)
    cost, value = np.zeros(shape), np.zeros(shape)
    for tick in range(params.n_ticks):
        values = [(market.values(m).astype(float), counted.values(m).astype(float)) for m in range(len(numbers))]
        _, result = simulation.play(simulation.decide(np.zeros(0)))
        counted.step(np.zeros((len(numbers), market.n_advertisers)))
        for m, (of_tick, amounts) in enumerate(values):
            if len(of_tick):
                _add_tick(params, of_tick, amounts, result.bid[m], threshold, cost[:, tick], value[:, tick])
    seen = float(np.cumprod(params.exposure).mean()) / len(numbers)
    cost_below, value_below = (np.cumsum(part, axis=2) * seen for part in (cost, value))
    return PriceHistory(threshold, cost_below, value_below, task.basis, simulation.played)


def prices_from_log(
    log: ReplayMarket, *, task: str | Task = "MaxConversions", periods: ArrayLike | None = None, n_thresholds: int = 128
) -> PriceHistory:
    """The mean over logged periods: from any log of impressions, with every bid or with least winning costs alone.

    The price of an impression is the least that wins its last slot from the others; where the log has one price an
    impression, it is that one. Cost and value count with the mean probability that a won slot is seen.

    Args:
        log: The log; the history has its advertisers, which must be numbered 0, 1, ...
        task: The task of the bidder; a log has conversions only.
        periods: Numbers of the periods; all by default. They must not be those that the bidder will play.
        n_thresholds: Size of the grid of thresholds.

    Raises:
        ValueError: The task counts something else, a period that the log lacks, or other numbers of advertisers.
    """
    task, n_advertisers = get_task(task), log.n_advertisers
    if task.needs_funnel:
        raise ValueError(f"`task` must count conversions alone, as a log does, found {task.name!r}")
    if log.advertisers.tolist() != list(range(n_advertisers)):
        raise ValueError(
            f"the advertisers of the log must be numbered 0..{n_advertisers - 1}, found {log.advertisers.tolist()}"
        )
    rows = np.arange(log.n_periods) if periods is None else np.unique(log.rows(np.atleast_1d(np.asarray(periods))))
    is_there = np.isfinite(log.budget[rows])
    n_present = np.maximum(is_there.sum(axis=0), 1)
    budget, cpa = (np.where(is_there, part[rows], 0.0).sum(axis=0) / n_present for part in (log.budget, log.cpa_target))
    known = is_there.any(axis=0)
    worth = task.unit_worth(Targets.of(np.where(known, budget, 1.0), np.where(known, cpa, 1.0)))
    threshold = np.geomspace(*_RANGE, n_thresholds) * worth[:, None]
    shape = (n_advertisers, log.n_ticks, n_thresholds)
    cost, value = np.zeros(shape), np.zeros(shape)
    for row in rows:
        for tick in range(log.n_ticks):
            columns = slice(*log.log.tick_start[row, tick : tick + 2])
            for j in np.flatnonzero(np.isfinite(log.budget[row])):
                price, amounts = log.prices_to_beat(int(j), columns), log.log.value[j, columns].astype(np.float64)
                _add_below(threshold[j], price, amounts, cost[j, tick], value[j, tick])
    seen = float(np.cumprod(log.rules.exposure).mean()) / n_present[:, None, None]
    cost_below, value_below = (np.cumsum(part, axis=2) * seen for part in (cost, value))
    return PriceHistory(threshold, cost_below, value_below, task.basis, LoggedMarket(market=log))


def _add_below(threshold: Float, price: Float, amounts: Float, cost: Float, value: Float) -> None:
    """Adds impressions, (n,) each, to the first of an advertiser's thresholds that takes each."""
    ratio = np.divide(price, amounts, out=np.full(len(amounts), np.inf), where=amounts > 0)
    index, n = np.searchsorted(threshold, ratio), len(threshold)
    cost += np.bincount(index, price, n + 1)[:n]
    value += np.bincount(index, amounts, n + 1)[:n]


def _add_tick(
    params: MarketParams, values: Float, amounts: Float, bid_sum: Float, threshold: Float, cost: Float, value: Float
) -> None:
    """Adds the impressions of a tick, (n, n_advertisers), to the first threshold that takes each.

    `values` is what the script bids on, `amounts` what the bidder counts.
    """
    total = values.sum(axis=0)
    multiplier = np.divide(bid_sum, total, out=np.zeros_like(total), where=total > 0)
    quality = np.ones(len(total)) if params.quality is None else np.asarray(params.quality)
    scores = np.where(values * multiplier >= params.reserve, values * multiplier, 0.0) * quality
    price = np.maximum(_winning_scores(scores, params.n_slots) / quality, params.reserve)
    for j, of_advertiser in enumerate(threshold):
        _add_below(of_advertiser, price[:, j], amounts[:, j], cost[j], value[j])


def _winning_scores(scores: Float, n_slots: int) -> Float:
    """(n, n_advertisers) the score that each advertiser must beat for the last slot: the n_slots-th of the others."""
    n_advertisers = scores.shape[1]
    if n_advertisers <= n_slots:
        return np.zeros_like(scores)
    lowest = np.partition(-scores, (n_slots - 1, n_slots), axis=1)
    last, next_one = -lowest[:, n_slots - 1, None], -lowest[:, n_slots, None]
    return np.where(scores >= last, next_one, last)  # who holds a slot itself has to beat the one behind


class OnlineLpBidder(NamedBidder):
    """Bids the largest threshold that the money left, and cost limits if any, allow for the rest of the episode.

    Args:
        history: Prices of the market that it plays in: of episodes that are simulated (`record_prices`) or logged
            (`prices_from_log`).
        is_of_played_market: Whether the history must be of the very market that is played. False plays others, too,
            with the prices of this one: to measure what an outdated history costs.
        scale: Factor on the threshold. Prices of the last slot understate what a bid that wins higher ones spends.
        name: Label in tables.
    """

    def __init__(
        self,
        history: PriceHistory,
        *,
        is_of_played_market: bool = True,
        scale: float = 1.0,
        name: str = "online LP",
    ) -> None:
        if not (np.isfinite(scale) and scale > 0):
            raise ValueError(f"`scale` must be positive, found {scale}")
        self.name, self._scale = name, scale
        self._market = history.market if is_of_played_market else None
        self._threshold, self._basis = history.threshold, history.basis
        self._last = f"last_{QUANTITIES[history.basis].expected}"
        self._cost_to_go, self._value_to_go = (
            np.cumsum(part[:, ::-1], axis=1)[:, ::-1] for part in (history.cost, history.value)
        )

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes; ValueError if the history is of another market."""
        n_advertisers, n_ticks, _ = self._cost_to_go.shape
        if campaigns.n_ticks != n_ticks or campaigns.advertiser.max() >= n_advertisers:
            raise ValueError(
                f"`history` must be of the market that is played ({campaigns.n_ticks} ticks, advertiser"
                f" {campaigns.advertiser.max()}), found {n_ticks} ticks and {n_advertisers} advertisers"
            )
        if self._market is not None and isinstance(campaigns.market, PlayableMarket):
            _check_same(self._market, campaigns.market)
        self._advertiser = campaigns.advertiser
        if np.any(campaigns.requirements[:, REQUIREMENT_NAMES.index(f"wants_{self._basis}")] != 1):
            raise ValueError(f"`history` must count what the task counts, found one of {self._basis}")
        self._limit = CostLimits(campaigns).cap
        self._spent, self._gained = np.zeros((2, len(campaigns.budget)))

    def act(self, view: TickView) -> Float:
        """The thresholds for this tick, shape (n,)."""
        self._spent = self._spent + view.last_cost
        self._gained = self._gained + getattr(view, self._last)
        cost = self._cost_to_go[self._advertiser, view.tick]  # (n, n_thresholds)
        value = self._value_to_go[self._advertiser, view.tick]
        chosen = largest_within(
            cost, value, money=view.budget_left, spent=self._spent, gained=self._gained, cap=self._limit
        )
        return self._scale * self._threshold[self._advertiser, chosen]


def _check_same(own: PlayableMarket, played: PlayableMarket) -> None:
    if difference := own.difference(played):
        raise ValueError(
            f"`history` must be of the market that is played, found {difference}: record its prices with"
            " `record_prices` or `prices_from_log`, or give `is_of_played_market=False` to play with foreign prices"
        )
