"""The impressions of a tick of many markets: drawn once for those that are alike, read, and bid on one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.kernels import outcomes
from auction_env.kernels.clearing import BLOCK
from auction_env.kernels.running import threads
from auction_env.kernels.settle import Advertisers, Rules, Tiles
from auction_env.kernels.step import opening as serial
from auction_env.kernels.tick import Items, lay_out
from auction_env.kernels.values import (
    N_BASES,
    draw_correlated_values,
    draw_funnel_values,
    draw_shaped_values,
    draw_values,
)
from auction_env.market.clearing import auction_rules
from auction_env.market.episode import MarketState, Opening, TickDraws, check_bids_of_markets
from auction_env.market.params import MarketParams
from auction_env.market.population import Population
from auction_env.tasks import BASES

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Int = NDArray[np.int64]
_UNKNOWN = np.empty((1, 0, 0), np.float32)  # standard deviations that each outcome draws for itself: `settle.Tiles`


class MarketImpressions:
    """The impressions of the current tick of n markets with the same parameters and population.

    Args:
        params, population: The markets.
        n_markets: n.
    """

    def __init__(self, params: MarketParams, population: Population, n_markets: int) -> None:
        self.params, self.population, self.n_markets = params, population, n_markets
        self._shape = (n_markets, population.n_advertisers)
        params.check_population(population)
        self._rules = auction_rules(params, population)
        self._is_in_order = params.budget_rule == "in_order"
        traffic = params.traffic
        # whether values are independent normals: `kernels.step.playing.play_tick` can draw them
        self._is_plain = not (params.funnel or traffic.values or traffic.value_correlation > 0)
        # buffers of a tick, by block: they grow to the busiest one
        self._values = np.empty((0, self._shape[1], BLOCK), np.float32)
        self._sums = np.empty((0, 1, self._shape[1]))  # of the values, or of all four amounts
        self._basis_sum = self._sums[:, 0]  # of what is bid on
        self._value_sum: Float  # of the basis of this tick: values, or bids on impressions
        self._tiles: Tiles  # of this tick: `_drawn_tiles`, or bids on impressions in the place of values
        self._drawn_tiles: Tiles
        self._identity = np.arange(n_markets)
        self._kind: Int  # (n_markets,) markets of a kind share their tiles in this tick
        self._drawn: DrawnMarkets
        self._state: MarketState | None = None

    @property
    def n_advertisers(self) -> int:
        return self._shape[1]

    @property
    def buffer_bytes(self) -> int:
        """Size of the largest buffer, the values of a tick's impressions; it grows to that of the busiest tick."""
        return self._values.nbytes

    @property
    def opening(self) -> Opening:
        """What is known at the start of the current tick; RuntimeError before `reset` and after the last tick."""
        return self._episode.opening

    @property
    def _episode(self) -> MarketState:
        """The state of the running episode; RuntimeError outside one."""
        state = self._state
        if state is None or state.is_over:
            raise RuntimeError("the market is not in an episode: call `reset` first")
        return state

    @property
    def _items(self) -> Items:
        """The blocks of the current tick's impressions."""
        state = self._episode
        items: Items = lay_out(state.volume[state.tick], self._kind)
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

    def _begin(self, state: MarketState, known: NDArray[np.bool_]) -> None:
        """Prepares the draws of new episodes; `known` (n_markets, n_advertisers): of whom all amounts are wanted."""
        self._kinds = self._alike(state)
        self._drawn = DrawnMarkets.of(state, known, self._kinds)
        self._n_blocks = count_blocks(state.volume)
        self._n_drawn = self._n_blocks if self._kinds is None else count_blocks(self._drawn.volume)
        self._reserve(max(self._n_drawn))
        # which ticks may be opened in the call that runs the one before; there is none after the last one
        self._may_open = [False] * (len(self._n_drawn) + 1)
        if self._is_plain and self._kinds is None and self.params.least_budget == 0:
            self._may_open[:-1] = self._are_small(self._n_drawn)

    def _are_small(self, n_blocks: list[int]) -> list[bool]:
        """Which ticks of so many blocks run on one thread, so that one call may do all that belongs to them."""
        fewest = threads.fewest_shared()
        return [n < fewest for n in n_blocks]

    def _alike(self, state: MarketState) -> tuple[Int, Int] | None:
        """First market of each kind, and the kind of each market: those of a kind draw the same impressions.

        Paired comparisons play the same episodes again and again; side by side they are drawn once. None where all
        differ, or where the rule for budgets changes the values.
        """
        if not self._is_in_order or len(set(state.seed.tolist())) == self.n_markets:
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


class DrawnMarkets(NamedTuple):
    """The markets whose values are drawn: one of those that are alike (`BatchMarket.reset`); fields of `MarketState`.

    Attributes:
        seed: (n,).
        basis: (n, n_advertisers).
        known: (n, n_advertisers) bool: of whom all amounts are drawn, because they are wanted in one of those alike.
        volume: (n_ticks, n).
        mean, sd: (n_ticks, n, n_advertisers).
    """

    seed: NDArray[np.uint64]
    basis: Int
    known: NDArray[np.bool_]
    volume: Int
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]

    @classmethod
    def of(cls, state: MarketState, known: NDArray[np.bool_], kinds: tuple[Int, Int] | None) -> DrawnMarkets:
        """Of a state, the first market of each kind and with it what is known in any of that kind; None: all differ."""
        if kinds is None:
            return cls(state.seed, state.basis, np.ascontiguousarray(known), state.volume, state.mean, state.sd)
        which, kind = kinds
        of_kind = np.zeros(state.basis[which].shape, bool)
        np.logical_or.at(of_kind, kind, known)
        mean, sd = (np.take(part, which, axis=1) for part in (state.mean, state.sd))
        return cls(state.seed[which], state.basis[which], of_kind, np.take(state.volume, which, axis=1), mean, sd)

    def draw(
        self, tick: int, rules: Rules, values: Float32, value_sum: Float, sums: Float, means: Float
    ) -> None:  # fmt: skip
        """Draws the values of a tick's impressions, on one thread.

        Args:
            tick: Index of the tick.
            rules: Of the markets: which distribution the values have.
            values: (>= n_blocks, n_advertisers, BLOCK), written.
            value_sum: (>= n_blocks, n_advertisers), written: sums of what is bid on.
            sums: (>= n_blocks, n_amounts, n_advertisers), written; `value_sum` is its first amount without a funnel.
            means: (n, n_advertisers, 4), its first n_amounts are written.
        """
        at, out = (self.seed, tick, self.volume, self.mean), (values, sums, means)
        if rules.has_funnel:
            serial.open_funnel(*at, self.sd, rules, self.basis, self.known, values, value_sum, sums, means)
        elif rules.value_shape.shape[1]:
            serial.open_shaped(*at, rules.value_correlation, rules.value_shape, *out)
        elif rules.value_correlation > 0:
            serial.open_correlated(*at, self.sd, rules.value_correlation, *out)
        else:
            serial.open_plain(*at, self.sd, *out)

    def draw_on_threads(
        self, tick: int, rules: Rules, values: Float32, value_sum: Float, sums: Float, means: Float
    ) -> None:  # fmt: skip
        """`draw` on all threads."""
        n, sd, out = self.volume[tick], self.sd[tick], (values, value_sum)
        items = lay_out(n, np.arange(len(n)))
        at = (self.seed, tick, items, self.mean[tick])
        if rules.has_funnel:
            draw_funnel_values(*at, sd, rules, self.basis, self.known, *out, sums)
        elif rules.value_shape.shape[1]:
            draw_shaped_values(*at, rules.value_correlation, rules.value_shape, *out)
        elif rules.value_correlation > 0:
            draw_correlated_values(*at, sd, rules.value_correlation, *out)
        else:
            draw_values(*at, sd, *out)
        serial.write_means(items.start, n, sums, means)


def kinds_of(keys: Int) -> tuple[Int, Int] | None:
    """First market of each kind, and the kind of each market, from (n_markets, ...) keys; None where all differ."""
    _, first, kind = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return None if len(first) == len(keys) else (first, kind.reshape(-1))


def count_blocks(volume: Int) -> list[int]:
    """Blocks of all markets by tick, from their impressions (n_ticks, n_markets)."""
    n_blocks: list[int] = (-(-volume // BLOCK)).sum(axis=1).tolist()
    return n_blocks


def tiles_with_bids(
    items: Items, tiles: Tiles, value_sum: Float, bids: Mapping[tuple[int, int], Float32]
) -> tuple[Tiles, Float]:
    """The tiles of a tick and the sums of their basis, with an item's own for each, and bids in the place of values."""
    values, sums = tiles.value[items.tile], value_sum[items.tile]
    basis = values.copy()
    for (market, advertiser), of_all in bids.items():
        rows = slice(items.start[market], items.start[market + 1])
        column = np.zeros((rows.stop - rows.start) * BLOCK, np.float32)
        column[: len(of_all)] = of_all
        blocks = column.reshape(-1, BLOCK)
        basis[rows, advertiser], sums[rows, advertiser] = blocks, blocks.sum(axis=1, dtype=np.float64)
    return Tiles(basis, values, tiles.sigma[items.tile] if tiles.sigma.size else tiles.sigma), sums
