"""The scripted advertisers: what each behaviour of a population bids, for many markets at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auction_env.market.market import BatchMarket
from auction_env.market.pacing import MAX_LOG_RATIO, Pacer
from auction_env.market.population import FIXED, PID, THROTTLED, WALK

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_WALK_CHILD = 16  # of the episode's SeedSequence, whose first children draw its traffic


class ScriptedBidders:
    """The multipliers of every advertiser of a market by the script of its population; see `BEHAVIOURS`.

    Args:
        market: The markets; their population says who does what.
        seeds: (n_markets,) seeds of the episodes, for the random walks.
        expected_traffic: (n_ticks,) or (n_markets, n_ticks) expected share of the impressions.
    """

    def __init__(self, market: BatchMarket, seeds: Int, expected_traffic: Float) -> None:
        population, targets = market.population, market.episode_targets
        budget, shape = targets.budget, (market.n_markets, market.n_advertisers)
        self._base: Float = np.asarray(population.start) * targets.cpa
        cpa_limit = targets.cpa.copy()
        cpa_limit[:, population.who(PID)] = np.inf
        self._pacer = Pacer(
            base=self._base,
            cpa_limit=cpa_limit,
            budget=budget,
            expected_traffic=expected_traffic if expected_traffic.ndim == 1 else expected_traffic[:, None],
            gains=population.gains,
        )
        self._fixed, self._walking = population.who(FIXED), population.who(WALK)
        self._throttled = population.who(THROTTLED)
        self._budget, self._spent = budget[:, self._throttled], np.zeros((shape[0], len(self._throttled)))
        self._planned_share = np.cumsum(expected_traffic, axis=-1)[..., None, :]  # up to a tick's end
        self._walks = _walks(seeds, population.walk_sd, market.params.n_ticks, self._walking)

    def multipliers(self, tick: int, *, last_cost: Float, last_expected_conversions: Float) -> Float:
        """(n_markets, n_advertisers) for `tick`, given cost and predicted conversions of the tick before."""
        out = self._pacer.multipliers(tick, last_cost=last_cost, last_expected_conversions=last_expected_conversions)
        if len(self._fixed):
            out[:, self._fixed] = self._base[:, self._fixed]
        if len(self._walking):
            out[:, self._walking] = self._base[:, self._walking] * self._walks[:, tick]
        if len(self._throttled):
            self._spent += last_cost[:, self._throttled]
            behind = self._spent < self._planned_share[..., tick] * self._budget
            out[:, self._throttled] = np.where(behind, self._base[:, self._throttled], 0.0)
        return out


def _walks(seeds: Int, step_sd: float, n_ticks: int, walking: Int) -> Float:
    """Factors on the multiplier: (n_markets, n_ticks, n_walking), each a function of seed and advertiser alone."""
    if len(walking) == 0:
        return np.ones((len(seeds), n_ticks, 0))
    steps = np.empty((len(seeds), n_ticks, len(walking)))
    for market, seed in enumerate(seeds):
        rng = np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=(_WALK_CHILD,)))
        steps[market] = rng.standard_normal((int(walking[-1]) + 1, n_ticks))[walking].T
    return np.exp(np.clip(step_sd * np.cumsum(steps, axis=1), -MAX_LOG_RATIO, MAX_LOG_RATIO))
