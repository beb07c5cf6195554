"""Live bidders on logged values: the impressions are those of a log, all advertisers bid on them anew (protocol P2).

Impressions, predicted values, standard deviations, budgets and targets come from the log; bids, prices and outcomes are
those of a live market (`auction_env.control.simulation`): competitors react. A conversion is drawn from the normal
distribution around the logged value with its logged deviation, truncated as in the live market.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.control.bidder import Bidder
from auction_env.control.simulation import LiveMarket, Simulation
from auction_env.integers import check_integers
from auction_env.kernels.clearing import BLOCK
from auction_env.kernels.settle import Tiles
from auction_env.kernels.values import N_BASES
from auction_env.market.episode import MarketState
from auction_env.market.impressions import kinds_of
from auction_env.market.market import BatchMarket
from auction_env.market.params import MarketParams
from auction_env.market.population import Population
from auction_env.market.traffic import Traffic, draw_traffics
from auction_env.replay.market import LEAST_WINNING_COST, ReplayMarket
from auction_env.replay.simulation import periods_in_turn
from auction_env.tasks import Targets, Task

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class LoggedValuesBatch(BatchMarket):
    """`BatchMarket` whose impressions are those of a log; days are the numbers of its periods.

    Args:
        log: The log.
        params: The rules; size and ticks are the log's.
        population: Who the advertisers are; budgets and targets are the log's.
        n_markets: Number of markets.
    """

    def __init__(self, log: ReplayMarket, params: MarketParams, population: Population, n_markets: int) -> None:
        super().__init__(params, population, n_markets)
        self._is_plain = False
        self.log = log
        self._sigmas = np.empty((0, self.n_advertisers, BLOCK), np.float32)

    def _draw_traffic(self, seeds: Int, days: ArrayLike | None) -> Traffic:
        given = periods_in_turn(self.log, seeds) if days is None else np.atleast_1d(check_integers("days", days))
        if given.shape != (self.n_markets,):
            raise ValueError(f"`days` must be {self.n_markets} of the periods of the log, found {given.tolist()}")
        self._row = self.log.rows(given)
        # the bounds of the true values are those that a live market draws for the seed
        drawn = draw_traffics(seeds.tolist(), self.params, self.population, [None] * len(seeds))
        start, nothing = self.log.log.tick_start[self._row], np.zeros_like(drawn.mean)
        return drawn._replace(n_impressions=np.diff(start, axis=1), mean=nothing, sd=nothing, day=given)

    def _targets_on(self, day: Int) -> Targets:
        # whoever is not in a period has values of 0 in it and never bids: any budget will do
        budget, cpa = (np.nan_to_num(part[self._row], nan=1.0) for part in (self.log.budget, self.log.cpa_target))
        return Targets.of(budget, cpa)

    def _alike(self, state: MarketState) -> tuple[Int, Int] | None:
        if self.n_markets == 1 or self.params.budget_rule != "in_order":
            return None
        return kinds_of(self._row)

    def _reserve(self, n_blocks: int) -> None:
        super()._reserve(n_blocks)
        if len(self._sigmas) < n_blocks:
            self._sigmas = np.empty((n_blocks, self.n_advertisers, BLOCK), np.float32)

    def _draw(self, state: MarketState) -> Float:
        """Copies the values of the tick from the log into tiles, once for all markets of a period."""
        n, log = self._drawn.volume[state.tick], self.log.log
        row = self._row if self._kinds is None else self._row[self._kinds[0]]
        mean, start = np.zeros((len(n), self.n_advertisers, N_BASES)), 0
        for position, period in enumerate(row):
            stop = start - int(-n[position] // BLOCK)
            columns = slice(*log.tick_start[period, state.tick : state.tick + 2])
            _fill(self._values[start:stop], log.value[:, columns])
            _fill(self._sigmas[start:stop], log.sigma[:, columns])
            mean[position, :, 0] = log.value_sum[:, period, state.tick] / max(int(n[position]), 1)
            start = stop
        self._value_sum = self._values[:start].sum(axis=2, dtype=np.float64)
        self._tiles = Tiles(self._values, self._values, self._sigmas)
        return mean


def _fill(tiles: NDArray[np.float32], columns: NDArray[np.float32]) -> None:
    """Copies (n_advertisers, n) columns into tiles (n_tiles, n_advertisers, BLOCK), with zeros behind the last."""
    n_advertisers, n = columns.shape
    whole = n // BLOCK
    tiles[:whole] = columns[:, : whole * BLOCK].reshape(n_advertisers, whole, BLOCK).transpose(1, 0, 2)
    if whole < len(tiles):
        tiles[whole, :, : n - whole * BLOCK] = columns[:, whole * BLOCK :]
        tiles[whole, :, n - whole * BLOCK :] = 0.0


class LoggedValuesSimulation(Simulation):
    """A `Simulation` of `LoggedValuesBatch`; `reset` refuses an advertiser that is not in its period."""

    market: LoggedValuesBatch

    def reset(self, seeds: ArrayLike, days: ArrayLike | None = None) -> None:
        """Starts the episodes; `days` (n_markets,) numbers of periods, in turn by the seed by default."""
        super().reset(seeds, days)
        self.market.log.index(self.market.day[self.controlled_market], self.advertiser)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoggedValuesMarket(LiveMarket):
    """A live market on the impressions of a log: made by `logged_values`, played like any `LiveMarket`.

    Attributes:
        log: The log; days are the numbers of its periods.
    """

    log: ReplayMarket = field(repr=False)

    @property
    def mean_impressions(self) -> float:
        return float(self.log.n_impressions.mean())

    @property
    def source(self) -> ReplayMarket:
        return self.log

    def days_of(self, seeds: Int) -> Int:  # type: ignore[override]  # the log says it, the live market draws it
        return periods_in_turn(self.log, seeds)

    def alike(self, task: Task, seeds: Int, advertisers: Int, days: Int | None) -> Int:
        rows = self.log.rows(self.days_of(seeds) if days is None else days)
        return rows if self.shares_impressions else np.arange(len(seeds))

    def _impressions_differ(self, other: LiveMarket) -> str:
        if not isinstance(other, LoggedValuesMarket):
            return "one has the values of a log"
        return self.log.difference(other.log)

    def _simulation(self, task: Task, advertisers: Int, market_idx: Int, n_markets: int) -> Simulation:
        return LoggedValuesSimulation(
            self.params,
            self.population,
            controlled_market=market_idx,
            controlled_advertiser=advertisers,
            n_markets=n_markets,
            task=task,
            competitors=self.competitors,
            competitor_task=self.competitor_task,
            market=LoggedValuesBatch(self.log, self.params, self.population, n_markets),
            played=self,
        )


def logged_values(
    log: ReplayMarket,
    *,
    rules: MarketParams | None = None,
    population: Population | None = None,
    competitors: Mapping[int, Bidder] | None = None,
    competitor_task: str | Task = "TargetCPA",
) -> LoggedValuesMarket:
    """Makes a market in which everybody bids live on the impressions of a log.

    Args:
        log: The log: `replay_from_auctionnet`, `load_replay`, `replay_from_bids`. Its bids and prices are not used.
        rules: Slots, exposure, reserve, mechanism, budget rule and so on; by default those of the log, or
            `MarketParams()` where it has one price an impression only. Number of impressions, ticks and the mean value
            are replaced by the log's; the traffic's curve is what bidders expect of the day.
        population: How the scripted advertisers bid; by default all pace and guard their CPA. Budgets, targets and
            categories are replaced by the log's.
        competitors: Bidders by advertiser, in place of scripts; a bidder that several share controls them all.
        competitor_task: Their task.

    Raises:
        ValueError: The log's advertisers are not numbered 0, 1, ..., the population has another number of them, or the
            rules have a funnel, of which a log tells nothing, or values of their own.
    """
    n = log.n_advertisers
    if log.advertisers.tolist() != list(range(n)):
        raise ValueError(f"the advertisers of the log must be numbered 0..{n - 1}, found {log.advertisers.tolist()}")
    rules = rules or _rules_of(log)
    if rules.funnel is not None:
        raise ValueError("`rules` must have no funnel: a log has values of conversions only, found one")
    if rules.traffic.values is not None:
        raise ValueError("`rules` must leave `traffic.values` out: the values are those of the log, found some")
    if population is not None and population.n_advertisers != n:
        raise ValueError(f"`population` must have the log's {n} advertisers, found {population.n_advertisers}")
    params = replace(
        rules,
        n_impressions=max(1, round(float(log.n_impressions.mean()))),
        n_ticks=log.n_ticks,
        traffic=replace(rules.traffic, value_mean=_mean_value(log) or rules.traffic.value_mean),
    )
    budget, cpa = (_first_known(part) for part in (log.budget, log.cpa_target))
    own: dict[str, Any] = {
        "budget": tuple((budget / params.budget_scale).tolist()),
        "cpa_target": tuple(cpa.tolist()),
        "category": tuple(log.category.tolist()),
    }
    return LoggedValuesMarket(
        params=params,
        population=Population(**own) if population is None else replace(population, **own),
        competitors=competitors,
        competitor_task=competitor_task,
        log=log,
    )


def _rules_of(log: ReplayMarket) -> MarketParams:
    """The rules by which a log was cleared, as far as it shows them."""
    if log.assumption == LEAST_WINNING_COST:
        return MarketParams()
    own, is_unsold = log.rules, log.rules.for_kernel().is_unsold_at_reserve
    return MarketParams(
        n_slots=own.n_slots, exposure=own.exposure, reserve=own.reserve, mechanism=own.mechanism,
        is_unsold_at_reserve=bool(is_unsold),
    )  # fmt: skip


def _mean_value(log: ReplayMarket) -> float:
    """Mean predicted value of all impressions and advertisers: what schedules of scripted bidders call usual."""
    n_all = float(log.n_impressions.sum()) * log.n_advertisers
    return float(log.log.value_sum.sum()) / n_all if n_all else 0.0


def _first_known(by_period: Float) -> Float:
    """(n_advertisers,) what the first period says that an advertiser is in; 1 where none does."""
    first = np.isfinite(by_period).argmax(axis=0)
    known: Float = by_period[first, np.arange(by_period.shape[1])]
    return np.where(np.isnan(known), 1.0, known)
