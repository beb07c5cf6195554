"""The scripted advertisers: what each behaviour of a population bids, for many markets at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auction_env.market.market import BatchMarket
from auction_env.market.pacing import MAX_LOG_RATIO, Pacer, Schedule, log_pace, log_surplus
from auction_env.market.population import FIXED, PID, STEPS, THROTTLED, WALK

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_WALK_CHILD, _NOISE_CHILD = 16, 17  # of the episode's SeedSequence, whose first children draw its traffic
_BEHIND, _UP = 0.7, 1.2  # AuctionNet's PID: below this share of an even plan the multiplier rises by a fifth ...
_AHEAD, _DOWN = 1.1, 0.7  # ... and above this one it falls by three tenths


class ScriptedBidders:
    """The multipliers of every advertiser of a market by the script of its population; see `BEHAVIOURS`.

    Args:
        market: The markets; their population says who does what.
        seeds: (n_markets,) seeds of the episodes, for random walks and noise.
        expected_traffic: (n_ticks,) or (n_markets, n_ticks) expected share of the impressions.
    """

    def __init__(self, market: BatchMarket, seeds: Int, expected_traffic: Float) -> None:
        self._market, self._expected_traffic = market, expected_traffic
        population, targets = market.population, market.episode_targets
        self._targets = targets
        budget, shape = targets.budget, (market.n_markets, market.n_advertisers)
        self._base: Float = np.asarray(population.start) * targets.cpa
        cpa_limit = targets.cpa
        if len(careless := population.who(PID)):
            cpa_limit = cpa_limit.copy()
            cpa_limit[:, careless] = np.inf
        self._pacer = Pacer(
            base=self._base,
            cpa_limit=cpa_limit,
            budget=budget,
            expected_traffic=expected_traffic if expected_traffic.ndim == 1 else expected_traffic[:, None],
            gains=population.gains,
        )
        self._fixed, self._walking = population.who(FIXED), population.who(WALK)
        self._throttled, self._stepping = population.who(THROTTLED), population.who(STEPS)
        self._budget, self._spent = budget, np.zeros(shape)
        self._steps: Float = self._base[:, self._stepping]
        if len(self._throttled):
            self._planned_share = np.cumsum(expected_traffic, axis=-1)[..., None, :]  # up to a tick's end
        n_ticks = market.params.n_ticks
        if len(self._walking):
            self._walks = _walks(seeds, population.walk_sd, n_ticks, self._walking)
        self._scheduled = [
            _Scheduled(schedule, who, seeds, n_ticks)
            for schedule in population.schedules
            if len(who := population.who(schedule.name))
        ]
        self._n_ticks = n_ticks
        self._needs_spent = bool(len(self._throttled) or len(self._stepping) or self._scheduled)
        self.all_paced: Pacer | None = None  # what all of them bid by; None where some have another script
        if not (self._needs_spent or len(self._fixed) or len(self._walking)):
            self.all_paced = self._pacer

    def restart(self, expected_traffic: Float) -> bool:
        """Starts the market's new episodes, if all of them pace as in the ones before; returns whether they do."""
        if self.all_paced is None or expected_traffic is not self._expected_traffic:
            return False
        if self._market.episode_targets is not self._targets:
            return False
        self.all_paced.restart()
        return True

    def take_in(self, tick: int, cost: Float, expected_conversions: Float) -> None:
        """Takes in cost and predicted conversions of a tick, (n_markets, n_advertisers) each."""
        self._pacer.take_in(tick, cost, expected_conversions)
        if self._needs_spent:
            self._spent += cost
        if len(self._stepping) and tick + 1 < self._n_ticks:
            self._step(tick + 1, cost[:, self._stepping])

    def multipliers(self, tick: int) -> Float:
        """(n_markets, n_advertisers) for `tick`, of which all before are taken in."""
        out = self._pacer.current()
        if len(self._fixed):
            out[:, self._fixed] = self._base[:, self._fixed]
        if len(self._walking):
            out[:, self._walking] = self._base[:, self._walking] * self._walks[:, tick]
        if len(who := self._throttled):
            behind = self._spent[:, who] < self._planned_share[..., tick] * self._budget[:, who]
            out[:, who] = np.where(behind, self._base[:, who], 0.0)
        if len(self._stepping):
            out[:, self._stepping] = self._steps
        if self._scheduled:
            left = np.maximum(1.0 - self._spent / self._budget, 0.0)
            pace = log_pace(left, (self._n_ticks - tick) / self._n_ticks)
            surplus = log_surplus(self._market.opening.value_mean, self._market.params.traffic.value_mean)
        for scheduled in self._scheduled:
            who = scheduled.who
            out[:, who] = self._base[:, who] * scheduled.factors(tick, pace[:, who], surplus[:, who])
        return out

    def _step(self, tick: int, last_cost: Float) -> None:
        """AuctionNet's PID: its multipliers for `tick`, by the cost of the one before, (n_markets, n_stepping)."""
        who, left = self._stepping, np.maximum(self._budget - self._spent, 1e-12)[:, self._stepping]
        of_plan = last_cost * (self._n_ticks - tick) / left
        step = np.where(of_plan < _BEHIND, _UP, np.where(of_plan > _AHEAD, _DOWN, 1.0))
        base, bound = self._base[:, who], np.exp(MAX_LOG_RATIO)
        self._steps = np.clip(self._steps * step, base / bound, base * bound)


class _Scheduled:
    """The advertisers of one schedule: their factors on the first multiplier."""

    def __init__(self, schedule: Schedule, who: Int, seeds: Int, n_ticks: int) -> None:
        self.who = who
        self._level, self._money, self._value = schedule.by_tick(n_ticks)
        self._noise = np.zeros((len(seeds), len(who), n_ticks))
        if schedule.noise_sd > 0:
            self._noise = schedule.noise(_draws(seeds, _NOISE_CHILD, n_ticks, who))

    def factors(self, tick: int, pace: Float, surplus: Float) -> Float:
        """(n_markets, n_who) for `tick`, at the logarithms of these paces and surpluses."""
        log = self._level[tick] + self._money[tick] * pace + self._value[tick] * surplus + self._noise[..., tick]
        factors: Float = np.exp(np.clip(log, -MAX_LOG_RATIO, MAX_LOG_RATIO))
        return factors


def _walks(seeds: Int, step_sd: float, n_ticks: int, walking: Int) -> Float:
    """Factors on the multiplier: (n_markets, n_ticks, n_walking), each a function of seed and advertiser alone."""
    steps = _draws(seeds, _WALK_CHILD, n_ticks, walking).transpose(0, 2, 1)
    return np.exp(np.clip(step_sd * np.cumsum(steps, axis=1), -MAX_LOG_RATIO, MAX_LOG_RATIO))


def _draws(seeds: Int, child: int, n_ticks: int, who: Int) -> Float:
    """Standard normal draws, (n_markets, n_who, n_ticks), each a function of seed, advertiser and tick alone."""
    out = np.empty((len(seeds), len(who), n_ticks))
    for market, seed in enumerate(seeds):
        rng = np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=(child,)))
        out[market] = rng.standard_normal((int(who[-1]) + 1, n_ticks))[who]
    return out
