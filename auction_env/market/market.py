"""The market: independent episodes side by side, in which every advertiser's multiplier is set tick by tick."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.kernels import outcomes
from auction_env.kernels import tick as kernel
from auction_env.kernels.clearing import BLOCK
from auction_env.kernels.running import threads
from auction_env.kernels.settle import Advertisers, RuleArrays, Tiles
from auction_env.kernels.step import auctions, overspend
from auction_env.kernels.step.playing import NOBODY, UNPACED, play_tick
from auction_env.kernels.values import N_BASES
from auction_env.market.clearing import auction_rules
from auction_env.market.episode import (
    DrawnMarkets,
    MarketState,
    Now,
    Opening,
    TickDraws,
    TickResult,
    check_bases,
    check_bids_of_markets,
    check_days,
    check_seeds,
    count_blocks,
    invalid_multipliers,
    kinds_of,
    tiles_with_bids,
)
from auction_env.market.funnel import campaign_targets
from auction_env.market.params import MAX_MONEY, MarketParams
from auction_env.market.population import Population, auctionnet_population, redrawn_targets
from auction_env.market.traffic import Traffic, draw_traffics
from auction_env.notebook import html_table
from auction_env.tasks import BASES, Targets

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Int = NDArray[np.int64]
Found = tuple[Float, Float, Float]
_MARKETS_PER_THREAD = 4  # so many are shared among threads one by one, fewer block by block
_UNKNOWN = np.empty((1, 0, 0), np.float32)  # standard deviations that each outcome draws for itself: `settle.Tiles`


class BatchMarket:
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
        self.params = params or MarketParams()
        self.population = population or auctionnet_population()
        self.n_markets = n_markets
        self._shape = (n_markets, self.population.n_advertisers)
        self._shape_of_totals = (*self._shape, outcomes.N_TOTALS)
        self.params.check_population(self.population)
        self._rules = auction_rules(self.params, self.population)
        self._rule_arrays = RuleArrays.of(self._rules)
        self._is_in_order = self.params.budget_rule == "in_order"
        self._may_be_one_call = self._is_in_order and self.params.conversion_delay == 0
        self._is_plain = not (  # whether `play_tick` can draw its impressions
            self.params.funnel or self.params.traffic.values or self.params.traffic.value_correlation > 0
        )
        self._targets = market_targets(self.params, self.population)
        self._targets_of_all = Targets(*(np.broadcast_to(part, self._shape) for part in self._targets))
        self.rescale: Callable[[Targets], Targets] | None = None  # of what advertisers have, from the next `reset` on
        # buffers of a tick, by block: they grow to the busiest one
        self._values = np.empty((0, self._shape[1], BLOCK), np.float32)
        self._sums = np.empty((0, 1, self._shape[1]))  # of the values, or of all four amounts
        self._basis_sum = self._sums[:, 0]  # of what is bid on
        self._value_sum: Float  # of the basis of this tick: values, or bids on impressions
        self._tiles: Tiles  # of this tick: `_drawn_tiles`, or bids on impressions in the place of values
        self._drawn_tiles: Tiles
        self._identity = np.arange(n_markets)
        self._multiplier = np.empty(self._shape, np.float32)  # of a tick, as the kernels take them
        # of a tick that `play` runs: multipliers, and what comes of them
        self._given = np.empty(self._shape)
        self._found = np.empty(self._shape_of_totals), np.empty(n_markets), np.empty(self._shape)
        self._is_opened = False  # whether the call that ran the current tick has opened the next one
        self._of_episode: tuple[NDArray[Any], ...]  # what the auctions of all its ticks need
        self._kind: Int  # (n_markets,) markets of a kind share their tiles in this tick
        self._drawn: DrawnMarkets
        self._state: MarketState | None = None

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
    def n_advertisers(self) -> int:
        return self._shape[1]

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
    def buffer_bytes(self) -> int:
        """Size of the largest buffer, the values of a tick's impressions; it grows to that of the busiest tick."""
        return self._values.nbytes

    @property
    def day(self) -> Int:
        """(n_markets,) which day each episode is, day 0 being a Monday; RuntimeError outside an episode."""
        return np.asarray(self._episode.traffic.day).copy()

    @property
    def opening(self) -> Opening:
        """What is known at the start of the current tick; RuntimeError before `reset` and after the last tick."""
        return self._episode.opening

    @property
    def now(self) -> Now:
        """Where the markets stand, after the last tick too: arrays that the next tick changes."""
        state = self._state
        assert state is not None
        last = len(state.volume) - 1
        return Now(state.budget_left, state.predicted_mean, state.volume[min(state.tick, last)], state.tick, last + 1)

    @property
    def is_one_call(self) -> bool:
        """Whether `play` may run the current tick, which takes one compiled call."""
        return self._may_be_one_call and self._n_blocks[self._episode.tick] < threads.FEWEST

    @property
    def _episode(self) -> MarketState:
        """The state of the running episode; RuntimeError outside one."""
        state = self._state
        if state is None or state.is_over:
            raise RuntimeError("the market is not in an episode: call `reset` first")
        return state

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
        watched = np.broadcast_to(np.asarray(True if known is None else known, bool), self._shape)
        self._kinds = self._alike(state)
        self._drawn = DrawnMarkets.of(state, watched, self._kinds)
        self._n_blocks = count_blocks(state.volume)
        self._n_drawn = self._n_blocks if self._kinds is None else count_blocks(self._drawn.volume)
        self._reserve(max(self._n_drawn))
        may_open = self._is_plain and self._kinds is None and self.params.least_budget == 0
        self._may_open = [*(may_open and n_blocks < threads.FEWEST for n_blocks in self._n_drawn), False]
        self._of_episode = (
            state.seed, state.volume, *self._rule_arrays, traffic.sigma, traffic.lower, traffic.upper, state.mean,
            state.sd, state.budget_left,
        )  # fmt: skip
        self._open(state)
        self._state = state
        return state.opening

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
        state = self._episode
        if not self._run(state, self._given, self._found, controlled, paced):
            raise invalid_multipliers(self._given, self._shape)
        is_observed = self._is_opened or state.tick + 1 == len(state.volume)
        self._go_on(state)
        return is_observed

    def _run(
        self, state: MarketState, given: Float, found: Found, controlled: Any = NOBODY, paced: Any = UNPACED
    ) -> bool:
        """Runs the auctions of the current tick, takes the costs off `state.budget_left` and stops the exhausted.

        Args:
            state: At the start of the tick.
            given: (n_markets, n_advertisers) multipliers.
            found: Written: totals (n_markets, n_advertisers, N_TOTALS), means of the least winning costs (n_markets,),
                and sums of the bids submitted (n_markets, n_advertisers).
            controlled, paced: As of `play`; only in one call.

        Returns:
            Whether the multipliers are valid; nothing has changed if they are not.
        """
        n_blocks = self._n_blocks[state.tick]
        if n_blocks < threads.FEWEST:
            return self._run_on(1, state, given, found, controlled, paced)
        with threads.settling.of(n_blocks) as n_threads:
            return self._run_on(n_threads, state, given, found, controlled, paced)

    def _run_on(
        self, n_threads: int, state: MarketState, given: Float, found: Found, controlled: Any, paced: Any
    ) -> bool:
        """`_run` on so many threads; on one it also opens the next tick, if that is small."""
        tick, multiplier = state.tick, self._multiplier
        if self._is_in_order and n_threads == 1:
            is_opening = self._may_open[tick + 1]
            is_valid: bool = play_tick(
                given, MAX_MONEY, tick, is_opening, state.active, multiplier, self._kind, *self._tiles,
                self._value_sum, self._values, self._sums, state.predicted_mean, *self._of_episode, *found,
                *controlled, *paced,
            )  # fmt: skip
            self._is_opened = is_valid and is_opening
            return is_valid
        if not auctions.take_multipliers(given, state.active, MAX_MONEY, multiplier):
            return False
        if self._is_in_order and self.n_markets >= _MARKETS_PER_THREAD * n_threads:
            auctions.run_markets_parallel(
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

    @property
    def _items(self) -> kernel.Items:
        """The blocks of the current tick's impressions."""
        state = self._episode
        items: kernel.Items = kernel.lay_out(state.volume[state.tick], self._kind)
        return items

    def values(self, market: int = 0) -> NDArray[np.float32]:
        """Predicted values of the current tick's impressions: (n_impressions, n_advertisers), in arrival order.

        Of advertisers who bid on another basis than conversions (`reset`), the predicted amounts of that.
        """
        n = self._n_now(market)
        values: Float32 = self._tiles.value[self._tiles_of(market)].transpose(0, 2, 1).reshape(-1, self.n_advertisers)
        return values[:n]

    def values_of(self, market: int, advertiser: int) -> Float32:
        """One advertiser's column of `values`: (n_impressions,)."""
        return self._column(self._tiles.value, market, advertiser)

    def _column(self, tiles: Float32, market: int, advertiser: int) -> Float32:
        """(n_impressions,) what some tiles have for one advertiser of a market."""
        n = self._n_now(market)
        return np.ascontiguousarray(tiles[self._tiles_of(market), advertiser].reshape(-1)[:n])

    def sigmas_of(self, market: int, advertiser: int) -> Float32:
        """Standard deviations of one advertiser's predicted conversions, as bidders and logs see them.

        (n_impressions,): the advertiser's mean relative one times the value, or each impression's own where the
        traffic says so (`TrafficParams.sigma_by_impression`).

        Raises:
            ValueError: The advertiser bids on something else than conversions.
        """
        state = self._episode
        if state.basis[market, advertiser]:
            raise ValueError(
                f"standard deviations are known of predicted conversions only, found advertiser {advertiser}, who bids"
                f" on {BASES[int(state.basis[market, advertiser])]}"
            )
        if self._tiles.sigma.size:
            return self._column(self._tiles.sigma, market, advertiser)
        values, sigma = self.values_of(market, advertiser), state.advertisers.sigma[market, advertiser]
        if not self.params.traffic.sigma_by_impression:
            return np.asarray(values * sigma)
        out = np.empty_like(values)
        outcomes.draw_sigmas(state.seed[market], state.tick, advertiser, sigma, values, out)
        return out

    def draws(self, market: int = 0) -> TickDraws:
        """What the outcomes of a market's impressions are drawn from in the current tick."""
        state = self._episode
        advertisers = Advertisers(*(part[market] for part in state.advertisers))
        keys = outcomes.conversion_keys(state.seed[market : market + 1], state.tick, self.n_advertisers)[0]
        return TickDraws(state.seed[market], self._rules, advertisers, keys)

    def is_bidding_on_conversions(self, market: int = 0) -> bool:
        """Whether all advertisers of a market bid on conversions (`reset`)."""
        return not self._episode.basis[market].any()

    def known_sigmas(self, market: int = 0) -> Float32:
        """Standard deviations that outcomes are drawn with where the market knows them beforehand.

        (n_impressions, n_advertisers); (n_impressions, 0) where each outcome draws its own.
        """
        n, known = self._n_now(market), self._tiles.sigma
        if not known.size:
            return np.empty((n, 0), np.float32)
        return np.asarray(known[self._tiles_of(market)].transpose(0, 2, 1).reshape(-1, self.n_advertisers)[:n])

    def _n_now(self, market: int) -> int:
        """Impressions of a market in the current tick."""
        state = self._episode
        return int(state.volume[state.tick, market])

    def _tiles_of(self, market: int) -> Int:
        """Where the blocks of a market lie, in arrival order."""
        items = self._items
        tile: Int = items.tile[items.start[market] : items.start[market + 1]]
        return tile

    def _bid_on_impressions(self, submitted: Float, bids: Mapping[tuple[int, int], ArrayLike]) -> None:
        """Puts bids into the tiles of the tick in place of values, with a multiplier of 1; `submitted` is changed."""
        checked = check_bids_of_markets(bids, self._shape, self.opening.n_impressions)
        items = self._items
        # every market gets tiles of its own: those that are alike in their values no longer are in their bids
        self._tiles, self._value_sum = tiles_with_bids(items, self._tiles, self._value_sum, checked)
        self._kind = self._identity
        for key in checked:
            submitted[key] = 1.0

    def _draw_traffic(self, seeds: Int, days: ArrayLike | None) -> Traffic:
        """The traffic of new episodes, with a leading axis of markets."""
        return draw_traffics(seeds.tolist(), self.params, self.population, check_days(days, self.n_markets))

    def _targets_on(self, day: Int) -> Targets:
        """What the advertisers have and would pay on these days, (n_markets, n_advertisers) each."""
        return self._targets_of_all

    def _alike(self, state: MarketState) -> tuple[Int, Int] | None:
        """First market of each kind, and the kind of each market: those of a kind draw the same impressions.

        Paired comparisons play the same episodes again and again; side by side they are drawn once. None where all
        differ, or where the rule for budgets changes the values.
        """
        if self.n_markets == 1 or not self._is_in_order:
            return None
        return kinds_of(np.column_stack((state.seed.astype(np.int64), state.traffic.day, state.basis)))

    def _open(self, state: MarketState) -> None:
        """Draws the values of the state's tick; who has too little left is out."""
        if self.params.least_budget > 0:
            state.active &= state.budget_left >= self.params.least_budget * self.params.budget_scale
        self._kind = self._identity if self._kinds is None else self._kinds[1]
        predicted_mean = self._draw(state)
        state.predicted_mean = predicted_mean if self._kinds is None else predicted_mean[self._kind]

    def _reserve(self, n_blocks: int) -> None:
        """Makes room for the impressions of a tick of so many blocks."""
        if len(self._values) < n_blocks:
            n_advertisers, has_funnel = self.n_advertisers, self.params.funnel is not None
            self._values = np.empty((n_blocks, n_advertisers, BLOCK), np.float32)
            self._drawn_tiles = Tiles(self._values, self._values, _UNKNOWN)
            self._sums = np.empty((n_blocks, N_BASES if has_funnel else 1, n_advertisers))
            self._basis_sum = np.empty((n_blocks, n_advertisers)) if has_funnel else self._sums[:, 0]

    def _draw(self, state: MarketState) -> Float:
        """Draws the values of the tick's impressions; their means (n_kinds, n_advertisers, N_BASES)."""
        self._tiles, self._value_sum = self._drawn_tiles, self._basis_sum
        means = state.predicted_mean
        if self._kinds is not None:
            means = np.zeros((len(self._drawn.seed), self._shape[1], N_BASES))
        tick, n_blocks = state.tick, self._n_drawn[state.tick]
        out = (self._values, self._value_sum, self._sums, means)
        if n_blocks < threads.FEWEST:
            self._drawn.draw(tick, self._rules, *out)
            return means
        with threads.drawing.of(n_blocks) as n_threads:
            draw = self._drawn.draw if n_threads == 1 else self._drawn.draw_on_threads
            draw(tick, self._rules, *out)
        return means


def market_targets(params: MarketParams, population: Population) -> Targets:
    """What the advertisers of a market have and would pay, (n_advertisers,) each, at its size."""
    budget = np.asarray(population.budget) * params.budget_scale
    return campaign_targets(budget, population.cpa_target, params.funnel, params.traffic.value_mean)
