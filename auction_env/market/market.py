"""The market: independent episodes side by side, in which every advertiser's multiplier is set tick by tick."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.kernels import outcomes
from auction_env.kernels import tick as kernel
from auction_env.kernels.running import threads
from auction_env.kernels.settle import RuleArrays
from auction_env.kernels.step import auctions, overspend
from auction_env.kernels.step.playing import NOBODY, UNPACED, play_tick
from auction_env.market.episode import (
    MarketState,
    Now,
    Opening,
    TickResult,
    check_bases,
    check_days,
    check_seeds,
    invalid_multipliers,
)
from auction_env.market.funnel import campaign_targets
from auction_env.market.impressions import MarketImpressions
from auction_env.market.params import MAX_MONEY, MarketParams
from auction_env.market.population import Population, auctionnet_population, redrawn_targets
from auction_env.market.traffic import Traffic, draw_traffics
from auction_env.notebook import html_table
from auction_env.tasks import Targets

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Found = tuple[Float, Float, Float]
_MARKETS_PER_THREAD = 4  # so many are shared among threads one by one, fewer block by block
_play_tick: Any = play_tick  # numba's types do not know a call with so many arguments
_run_markets_parallel: Any = auctions.run_markets_parallel


class BatchMarket(MarketImpressions):
    """Independent markets with the same parameters and population, all at the same tick.

    Args:
        params: Size and rules.
        population: The advertisers; AuctionNet's 48 by default.
        n_markets: Number of markets.
    """

    def __init__(
        self, params: MarketParams | None = None, population: Population | None = None, n_markets: int = 1
    ) -> None:
        if n_markets < 1:
            raise ValueError(f"`n_markets` must be at least 1, found {n_markets}")
        super().__init__(params or MarketParams(), population or auctionnet_population(), n_markets)
        self._shape_of_totals = (*self._shape, outcomes.N_TOTALS)
        self._rule_arrays = RuleArrays.of(self._rules)
        self._may_be_one_call = self._is_in_order and self.params.conversion_delay == 0
        self.category = np.asarray(self.population.category, np.int64)  # (n_advertisers,)
        self._targets = market_targets(self.params, self.population)
        self._targets_of_all = Targets(*(np.broadcast_to(part, self._shape) for part in self._targets))
        self.rescale: Callable[[Targets], Targets] | None = None  # of what advertisers have, from the next `reset` on
        self._everybody = np.ones(self._shape, bool)
        self._multiplier = np.empty(self._shape, np.float32)  # of a tick, as the kernels take them
        # of a tick that `play` runs: multipliers, and what comes of them
        self._given = np.empty(self._shape)
        self._found = np.empty(self._shape_of_totals), np.empty(n_markets), np.empty(self._shape)
        self._of_episode: tuple[NDArray[Any], ...]  # what the auctions of all its ticks need
        self._is_opened = False  # whether the call that ran the current tick has opened the next one

    def __repr__(self) -> str:
        return f"BatchMarket({', '.join(' '.join(pair) for pair in self.summary().items())})"

    def _repr_html_(self) -> str:
        return html_table("BatchMarket", (), self.summary().items())

    def summary(self) -> dict[str, str]:
        """What the market is and where it stands, for people."""
        state = "before an episode"
        if self._state is not None:
            state = "after an episode" if self._state.is_over else f"at tick {self._state.tick}"
        return {
            "markets": str(self.n_markets),
            "advertisers": str(self.n_advertisers),
            "impressions": f"{self.params.n_impressions:,}",
            "ticks": str(self.params.n_ticks),
            "mechanism": self.params.mechanism,
            "state": state,
        }

    @property
    def budget(self) -> Float:
        """(n_advertisers,) currency per episode at this market's size."""
        return self.targets.budget

    @property
    def cpa_target(self) -> Float:
        """(n_advertisers,) currency per conversion."""
        return np.asarray(self.population.cpa_target, np.float64)

    @property
    def targets(self) -> Targets:
        """What the advertisers have and would pay, (n_advertisers,) each, at this market's size."""
        return Targets(*(part.copy() for part in self._targets))

    @property
    def episode_targets(self) -> Targets:
        """What the advertisers have and would pay in the running episodes, (n_markets, n_advertisers) each."""
        _ = self._episode
        return self._episode_targets

    @property
    def day(self) -> Int:
        """(n_markets,) which day each episode is, day 0 being a Monday; RuntimeError outside an episode."""
        return np.asarray(self._episode.traffic.day).copy()

    @property
    def now(self) -> Now:
        """Where the markets stand, after the last tick too: arrays that the next tick changes."""
        state = self._state
        assert state is not None
        last = len(state.volume) - 1
        return Now(state.budget_left, state.predicted_mean, state.volume[min(state.tick, last)], state.tick, last + 1)

    @property
    def is_one_call(self) -> bool:
        """Whether `play` may run the current tick, which takes one compiled call; there is none outside an episode."""
        state = self._state
        return state is not None and self._is_one_call[state.tick]

    def reset(
        self,
        seeds: ArrayLike,
        days: ArrayLike | None = None,
        bases: ArrayLike | None = None,
        known: ArrayLike | None = None,
    ) -> Opening:
        """Starts an episode in every market.

        Args:
            seeds: (n_markets,) integers >= 0: everything random in an episode is a function of its seed.
            days: (n_markets,) integers below `TrafficParams.n_days`, which day each episode is (0: a Monday); None
                draws it from the seed. It matters only with weekly traffic or drift.
            bases: (n_markets, n_advertisers) indices into `tasks.BASES`: what each advertiser's bids are proportional
                to. Anything but conversions, the default for all, needs a funnel.
            known: (n_markets, n_advertisers) bool, or what broadcasts to it: of whom `Opening.predicted_mean` has all
                amounts; None: of all. In a market with a funnel those of the others cost most of the draws; where they
                bid on conversions their other means are NaN, "not drawn".
        """
        self.begin(seeds, days, bases, known)
        return self.opening

    def begin(
        self,
        seeds: ArrayLike,
        days: ArrayLike | None = None,
        bases: ArrayLike | None = None,
        known: ArrayLike | None = None,
    ) -> None:
        """`reset` for who does not need the opening, which are copies."""
        seeds = check_seeds(seeds, self.n_markets)
        traffic = self._draw_traffic(seeds, days)
        n_delayed = self.params.n_ticks if self.params.conversion_delay > 0 else 0
        targets = redrawn_targets(self._targets_on(traffic.day), self.population, seeds)
        self._episode_targets = targets if self.rescale is None else self.rescale(targets)
        budget = self._episode_targets.budget
        state = MarketState.start(
            seeds.astype(np.uint64),
            check_bases(bases, self._shape, has_funnel=self.params.funnel is not None),
            traffic,
            budget,
            n_delayed,
        )
        is_known = self._everybody if known is None else np.broadcast_to(np.asarray(known, bool), self._shape)
        self._begin(state, is_known)
        self._is_one_call = [False] * (self.params.n_ticks + 1)
        if self._may_be_one_call:
            self._is_one_call[:-1] = self._are_small(self._n_blocks)
        self._of_episode = (
            state.seed, state.volume, *self._rule_arrays, traffic.sigma, traffic.lower, traffic.upper, state.mean,
            state.sd, state.budget_left,
        )  # fmt: skip
        self._is_opened = False
        self._open(state)
        self._state = state

    def step(
        self, multipliers: ArrayLike, on_impressions: Mapping[tuple[int, int], ArrayLike] | None = None
    ) -> TickResult:
        """Runs the current tick.

        Args:
            multipliers: (n_markets, n_advertisers), currency per conversion: the bid on an impression is the
                multiplier times its predicted value. Finite and not negative. Of advertisers who bid on another basis
                (`reset`), currency per click, per add-to-cart, or per currency of GMV.
            on_impressions: By (market, advertiser), a bid for each of the tick's impressions in arrival order,
                (n_impressions,) currency, in place of the multiplier. They cost a copy of the tick's values.

        Raises:
            RuntimeError: Outside an episode.
            ValueError: On multipliers or bids of another shape, negative or not finite.
        """
        state = self._episode
        given = np.ascontiguousarray(multipliers, np.float64)
        if given.shape != self._shape:
            raise invalid_multipliers(given, self._shape)
        if on_impressions:
            given = given.copy()
            if not auctions.take_multipliers(given, state.active, MAX_MONEY, self._multiplier):
                raise invalid_multipliers(given, self._shape)
            self._bid_on_impressions(given, on_impressions)
        found = np.empty(self._shape_of_totals), np.empty(self.n_markets), np.empty(self._shape)
        if not self._run(state, given, found):
            raise invalid_multipliers(given, self._shape)
        totals, lwc, bid = found
        tick, delay = state.tick, self.params.conversion_delay
        if delay > 0:
            conversions = totals.transpose(2, 0, 1)[outcomes.CONVERSIONS]
            outcomes.delay_conversions(state.seed, tick, delay / (1.0 + delay), conversions, state.pending)
        self._go_on(state)
        return TickResult(tick, state.volume[tick].copy(), bid, lwc, state.budget_left.copy(), state.is_over, totals)

    def play(self, controlled: tuple[NDArray[Any], ...], paced: tuple[NDArray[Any], ...]) -> bool:
        """Runs the current tick with all that belongs to it in one compiled call, where `is_one_call`.

        Args:
            controlled: What `kernels.step.playing.play_tick` takes of the controlled advertisers.
            paced: What it takes of all the others: `Pacer.arrays`.

        Returns:
            Whether the controlled advertisers have observed the next tick.
        """
        state = self._state
        assert state is not None
        if not self._run_serially(state, self._given, self._found, controlled, paced):
            raise invalid_multipliers(self._given, self._shape)
        is_opened = self._is_opened
        self._go_on(state)
        return is_opened or state.is_over

    def _run(self, state: MarketState, given: Float, found: Found) -> bool:
        """Runs the auctions of the current tick, takes the costs off `state.budget_left` and stops the exhausted.

        Args:
            state: At the start of the tick.
            given: (n_markets, n_advertisers) multipliers.
            found: Written: totals (n_markets, n_advertisers, N_TOTALS), means of the least winning costs (n_markets,),
                and sums of the bids submitted (n_markets, n_advertisers).

        Returns:
            Whether the multipliers are valid; nothing has changed if they are not.
        """
        n_blocks = self._n_blocks[state.tick]
        if n_blocks < threads.FEWEST:
            return self._run_on(1, state, given, found)
        with threads.settling.of(n_blocks) as n_threads:
            return self._run_on(n_threads, state, given, found)

    def _run_serially(
        self,
        state: MarketState,
        given: Float,
        found: Found,
        controlled: tuple[NDArray[Any], ...] = NOBODY,
        paced: tuple[NDArray[Any], ...] = UNPACED,
    ) -> bool:
        """`_run` in order on one thread, with what else belongs to the tick (`play`); opens a small next tick, too."""
        is_opening = self._may_open[state.tick + 1]
        is_valid: bool = _play_tick(
            given, MAX_MONEY, state.tick, is_opening, state.active, self._multiplier, self._kind, *self._tiles,
            self._value_sum, self._values, self._sums, state.predicted_mean, *self._of_episode, *found, *controlled,
            *paced,
        )  # fmt: skip
        self._is_opened = is_valid and is_opening
        return is_valid

    def _run_on(self, n_threads: int, state: MarketState, given: Float, found: Found) -> bool:
        """`_run` on so many threads."""
        if self._is_in_order and n_threads == 1:
            return self._run_serially(state, given, found)
        tick, multiplier = state.tick, self._multiplier
        if not auctions.take_multipliers(given, state.active, MAX_MONEY, multiplier):
            return False
        if self._is_in_order and self.n_markets >= _MARKETS_PER_THREAD * n_threads:
            _run_markets_parallel(
                tick, self._kind, *self._tiles, self._value_sum, multiplier, *self._of_episode, *found
            )
        else:
            items = self._items
            by_item = (
                state.seed, tick, items, self._tiles, self._value_sum[items.tile], multiplier, self._rules,
                state.advertisers, state.budget_left, *found,
            )  # fmt: skip
            if self._is_in_order:
                kernel.run_tick(*by_item, max(32, 8 * n_threads))
            else:
                overspend.run_tick_dropping(*by_item, n_threads=n_threads)
        auctions.close_tick(given, multiplier, state.volume[tick], found[1], state.active)
        return True

    def _go_on(self, state: MarketState) -> None:
        """Goes to the next tick, which may be opened already."""
        state.tick += 1
        state.known = None
        if self._is_opened:
            self._is_opened = False
            self._tiles, self._value_sum = self._drawn_tiles, self._basis_sum
        elif not state.is_over:
            self._open(state)

    def _draw_traffic(self, seeds: Int, days: ArrayLike | None) -> Traffic:
        """The traffic of new episodes, with a leading axis of markets."""
        return draw_traffics(seeds.tolist(), self.params, self.population, check_days(days, self.n_markets))

    def _targets_on(self, day: Int) -> Targets:
        """What the advertisers have and would pay on these days, (n_markets, n_advertisers) each."""
        return self._targets_of_all


def market_targets(params: MarketParams, population: Population) -> Targets:
    """What the advertisers of a market have and would pay, (n_advertisers,) each, at its size."""
    budget = np.asarray(population.budget) * params.budget_scale
    return campaign_targets(budget, population.cpa_target, params.funnel, params.traffic.value_mean)
