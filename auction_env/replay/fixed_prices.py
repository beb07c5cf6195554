"""Fixed prices: AuctionNet's offline evaluation of one advertiser, rule by rule (protocol P1 of most papers).

The log has one price an impression, its least winning cost. Nobody else bids:

- a bid of at least the price wins, pays the price, and is seen;
- the value of an impression is normal(predicted value, its standard deviation), 0 if lost, cut to [0, 1]; a conversion
  is a Bernoulli draw of it;
- where a tick costs more than the money left, a random share of its wins, (cost - left) / (cost + 0.0001) and rounded
  up, is dropped, and all is drawn again; until it fits;
- with less than 0.1 currency left, the advertiser does not bid.

Source: AuctionNet's offline evaluator (arXiv 2412.10798, `strategy_train_env`), which draws without a seed; here each
tick has a generator of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.control.advertisers import ControlledTick, mean_multiplier
from auction_env.control.bidder import ImpressionBids, ImpressionOutcomes, split_bids
from auction_env.control.controlled_market import PlayableMarket
from auction_env.kernels import outcomes
from auction_env.kernels import replay as kernel
from auction_env.kernels.features import add_ticks
from auction_env.kernels.step.overspend import OVER_COST_GUARD
from auction_env.replay.market import ReplayMarket
from auction_env.replay.simulation import MarketOfLog, ReplaySimulation, controlled_tick
from auction_env.tasks import Task

Float = NDArray[np.float64]
Int = NDArray[np.int64]

MIN_BUDGET = 0.1
"""Currency below which an advertiser does not bid."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FixedPriceMarket(MarketOfLog):
    """A `PlayableMarket` with the logged prices alone: the module's docstring has its rules.

    Attributes:
        market: The log; days are the numbers of its periods.
    """

    def one_each(self, task: Task, advertisers: Int) -> FixedPriceSimulation:
        return FixedPriceSimulation(self.market, advertisers, task=task)

    def difference(self, other: PlayableMarket) -> str:
        if not isinstance(other, FixedPriceMarket):
            return "one has fixed prices, the other has none"
        return self.market.difference(other.market)


class FixedPriceSimulation(ReplaySimulation):
    """n episodes of one advertiser each against the logged least winning costs; arguments as of `ReplaySimulation`."""

    def __init__(self, market: ReplayMarket, advertisers: ArrayLike, *, task: str | Task = "MaxConversions") -> None:
        super().__init__(market, advertisers, task=task)
        self.played = FixedPriceMarket(market=market)

    def step(self, bids: ArrayLike | ImpressionBids) -> ControlledTick:
        """Runs the current tick with multipliers (n,), currency per conversion, or bids on impressions."""
        n, state, log = self.n_controlled, self._state, self.market.log
        given, on_impressions, is_reported = split_bids(bids, n)
        totals = np.zeros((n, kernel.N_TOTALS))
        self._before = {}
        prices = {period: self._prices(period) for period in np.unique(state.period).tolist()}
        for i in range(n):
            period = int(state.period[i])
            price, price_mean = prices[period]
            logged = self._impressions(i).values
            values = logged.astype(np.float64)
            own = on_impressions[i].astype(np.float64) if i in on_impressions else given[i] * values
            won, converted = self._settle(i, price, values, own)
            if i in on_impressions and is_reported:
                self._before[i] = self._outcomes(i, own, price, won, converted)
            submitted, row = own.astype(np.float32), totals[i]
            row[outcomes.WINS] = row[outcomes.EXPOSURES] = len(won)
            row[outcomes.COST] = _cost(price, won)
            row[outcomes.CONVERSIONS] = len(converted)
            row[outcomes.EXPECTED_CONVERSIONS] = logged[won].sum(dtype=np.float64)
            row[kernel.N_IMPRESSIONS] = len(values)
            row[kernel.BID] = submitted.sum(dtype=np.float64)
            row[kernel.OFFERED_CONVERSIONS] = log.value_sum[state.advertiser[i], period, self._tick]
            row[kernel.LEAST_WINNING_COST] = price_mean
            state.budget_left[i] -= row[outcomes.COST]
            row[kernel.BUDGET_LEFT] = state.budget_left[i]
            if i in on_impressions:
                given[i] = mean_multiplier(row[kernel.BID], row[kernel.OFFERED_CONVERSIONS])
        state.active[:] = state.budget_left >= MIN_BUDGET
        per_impression = 1.0 / np.maximum(totals[:, kernel.N_IMPRESSIONS], 1.0)
        means = [totals[:, kernel.BID] * per_impression, totals[:, kernel.LEAST_WINNING_COST]]
        for column in (kernel.OFFERED_CONVERSIONS, outcomes.CONVERSIONS, outcomes.WINS):
            means.append(totals[:, column] * per_impression)
        outcome_means = np.stack([*means, totals[:, kernel.N_IMPRESSIONS]], axis=1)
        add_ticks(state.running, state.tick, self._everyone, outcome_means)  # counts the tick, too
        self._tick += 1
        self._features = np.zeros_like(self._features)
        kernel.observe_envs(log, state, self._everyone, self._features)
        self._last = controlled_tick(given, totals)
        return self._last

    def _prices(self, period: int) -> tuple[Float, float]:
        """(n_impressions,) prices of the current tick in a period, given by its row, and their mean."""
        price = self.market.least_winning_costs(slice(*self.market.log.tick_start[period, self._tick : self._tick + 2]))
        return price, float(price.astype(np.float32).sum(dtype=np.float64)) / max(len(price), 1)

    def _settle(self, i: int, price: Float, values: Float, bids: Float) -> tuple[Int, Int]:
        """Which impressions the bids of an episode's tick win, and which of them convert.

        Bids that were dropped, or that nobody could pay, become 0. All impressions have a draw of their value, as in
        AuctionNet's evaluator; it is computed where it matters.
        """
        sigmas, left = self._impressions(i).sigmas, self._state.budget_left[i]
        key = (self._seed[i], self._day[i], self._advertiser[i], self._tick)
        rng = np.random.default_rng([int(part) & 0xFFFFFFFFFFFFFFFF for part in key])
        if left < MIN_BUDGET:
            bids[:] = 0.0
        won = np.flatnonzero(bids >= price)
        while len(won):
            normal = rng.standard_normal(len(values))
            drawn = np.clip(values[won] + sigmas[won].astype(np.float64) * normal[won], 0.0, 1.0)
            converted = won[rng.binomial(1, drawn).astype(bool)]
            cost = _cost(price, won)
            over = max((cost - left) / (cost + OVER_COST_GUARD), 0.0)
            if over == 0:
                return won, converted
            bids[rng.choice(won, math.ceil(len(won) * over), replace=False)] = 0.0
            won = np.flatnonzero(bids >= price)
        return won, won

    def _outcomes(self, i: int, bids: Float, price: Float, won: Int, converted: Int) -> ImpressionOutcomes:
        """What came of each impression of an episode's tick."""
        values, sigmas = self._impressions(i)
        is_won, is_converted = np.zeros((2, len(price)), np.bool_)
        is_won[won], is_converted[converted] = True, True
        return ImpressionOutcomes(
            values=values,
            sigmas=sigmas,
            bids=bids.astype(np.float32),
            slot=is_won.astype(np.int64),
            price=(price * is_won).astype(np.float32),
            exposed=is_won,
            converted=is_converted,
            least_winning_cost=price.astype(np.float32),
        )


def _cost(price: Float, won: Int) -> float:
    """The sum of the prices won, each added at its impression's place."""
    paid = np.zeros(len(price))
    paid[won] = price[won]
    return float(paid.sum())
