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
        for i in range(n):
            values = self._impressions(i).values
            own = on_impressions[i].astype(np.float64) if i in on_impressions else given[i] * values.astype(np.float64)
            outcome = self._settle(i, own)
            totals[i] = self._totals(outcome, float(log.value_sum[state.advertiser[i], state.period[i], self._tick]))
            state.budget_left[i] -= totals[i, outcomes.COST]
            totals[i, kernel.BUDGET_LEFT] = state.budget_left[i]
            if i in on_impressions:
                given[i] = mean_multiplier(totals[i, kernel.BID], totals[i, kernel.OFFERED_CONVERSIONS])
                if is_reported:
                    self._before[i] = outcome
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

    def _settle(self, i: int, bids: Float) -> ImpressionOutcomes:
        """What the bids of an episode's tick win, pay and bring."""
        state, log = self._state, self.market.log
        values, sigmas = self._impressions(i)
        first, stop = log.tick_start[state.period[i], self._tick : self._tick + 2]
        price, left = self.market.least_winning_costs(slice(first, stop)), state.budget_left[i]
        key = (self._seed[i], self._day[i], self._advertiser[i], self._tick)
        rng = np.random.default_rng([int(part) & 0xFFFFFFFFFFFFFFFF for part in key])
        submitted = bids.copy() if left >= MIN_BUDGET else np.zeros(len(bids))
        while True:
            won = submitted >= price
            drawn = np.clip(rng.normal(values, sigmas) * won, 0.0, 1.0)
            converted = rng.binomial(1, drawn).astype(bool)
            cost = float((price * won).sum())
            over = max((cost - left) / (cost + OVER_COST_GUARD), 0.0)
            if over == 0:
                break
            where = np.flatnonzero(won)
            submitted[rng.choice(where, math.ceil(len(where) * over), replace=False)] = 0.0
        return ImpressionOutcomes(
            values=values,
            sigmas=sigmas,
            bids=submitted.astype(np.float32),
            slot=won.astype(np.int64),
            price=(price * won).astype(np.float32),
            exposed=won,
            converted=converted,
            least_winning_cost=price.astype(np.float32),
        )

    def _totals(self, tick: ImpressionOutcomes, offered: float) -> Float:
        """A row of the kernel's totals, but for the money left."""
        row, n = np.zeros(kernel.N_TOTALS), len(tick.bids)
        row[outcomes.WINS] = row[outcomes.EXPOSURES] = tick.exposed.sum()
        row[outcomes.COST] = tick.price.astype(np.float64).sum()  # in the order of `_settle`, to the last bit
        row[outcomes.CONVERSIONS] = tick.converted.sum()
        row[outcomes.EXPECTED_CONVERSIONS] = tick.values[tick.exposed].sum(dtype=np.float64)
        row[kernel.N_IMPRESSIONS] = n
        row[kernel.BID] = tick.bids.sum(dtype=np.float64)
        row[kernel.OFFERED_CONVERSIONS] = offered
        row[kernel.LEAST_WINNING_COST] = tick.least_winning_cost.sum(dtype=np.float64) / max(n, 1)
        return row
