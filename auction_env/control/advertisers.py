"""Controlled advertisers: those of a market for which somebody bids, what they know, what they see and what they got.

The same for whoever sits there: the agent of an environment, the bidder of a rollout, a user's competitor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from auction_env.control.bidder import Campaigns, ImpressionOutcomes, Impressions, TickImpressions, TickView
from auction_env.control.observation import N_FEATURES, StateFeatures
from auction_env.kernels.step import controlled as kernel
from auction_env.market.episode import Opening, TickResult
from auction_env.market.market import BatchMarket
from auction_env.market.tracing import TracedTick
from auction_env.tasks import OUTCOMES, Task, Totals, unevenness

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class _Column:
    """A field of `ControlledTick`: a row of its columns."""

    def __init__(self, position: int) -> None:
        self._position = position

    def __get__(self, tick: ControlledTick, owner: type) -> Float:
        column: Float = tick.columns[self._position]
        return column


class ControlledTick:
    """Outcome of a tick for the controlled advertisers, each field (n_controlled,): see `TickResult`.

    Or of ticks behind each other, (n_ticks, n_controlled) each. The fields are rows of one array, so that a tick costs
    little Python; in their order, they are also what iterating over it gives.

    Args:
        fields: The fields in their order.
        by_name: Those that follow.
    """

    __slots__ = ("columns",)

    columns: Float  # (n_fields, ...)

    # first what every step of an environment says in its info, in the order of that
    multiplier = _Column(0)
    cost = _Column(1)
    wins = _Column(2)
    exposures = _Column(3)
    conversions = _Column(4)
    expected_conversions = _Column(5)
    least_winning_cost = _Column(6)
    n_impressions = _Column(7)
    budget_left = _Column(8)  # after the tick
    clicks = _Column(9)
    expected_clicks = _Column(10)
    add_to_carts = _Column(11)
    expected_add_to_carts = _Column(12)
    gmv = _Column(13)
    expected_gmv = _Column(14)
    bid = _Column(15)
    offered_conversions = _Column(16)  # predicted conversions, clicks, add-to-carts and GMV of all its impressions
    offered_clicks = _Column(17)
    offered_add_to_carts = _Column(18)
    offered_gmv = _Column(19)

    _fields = (
        "multiplier", "cost", "wins", "exposures", "conversions", "expected_conversions", "least_winning_cost",
        "n_impressions", "budget_left", "clicks", "expected_clicks", "add_to_carts", "expected_add_to_carts", "gmv",
        "expected_gmv", "bid", "offered_conversions", "offered_clicks", "offered_add_to_carts", "offered_gmv",
    )  # fmt: skip

    def __init__(self, *fields: Float, **by_name: Float) -> None:
        names = self._fields[len(fields) :]
        if set(by_name) != set(names):
            raise TypeError(f"a ControlledTick needs the fields {names} by name, found {tuple(by_name)}")
        self.columns = np.array([*fields, *(by_name[name] for name in names)], np.float64)

    @classmethod
    def of(cls, columns: Float) -> ControlledTick:
        """The tick whose fields are the rows of an array, (n_fields, ...), which it keeps."""
        tick = cls.__new__(cls)
        tick.columns = columns
        return tick

    def __iter__(self) -> Iterator[Float]:
        return iter(self.columns)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.columns, dtype, copy=copy)

    def __repr__(self) -> str:
        return f"ControlledTick({', '.join(f'{name}={column!r}' for name, column in self._asdict().items())})"

    def _asdict(self) -> dict[str, Float]:
        """The fields by name."""
        return dict(zip(self._fields, self.columns, strict=True))


_SUMMED = np.array([ControlledTick._fields.index(name) for name in OUTCOMES])


def without_funnel(**columns: Float) -> ControlledTick:
    """A tick of a market that has conversions only: all that it does not have is 0."""
    nothing = np.zeros_like(columns["conversions"])
    return ControlledTick(**{name: columns.get(name, nothing) for name in ControlledTick._fields})


def mean_multiplier(bid: float, offered: float) -> float:
    """The multiplier that would have bid as much in all on impressions of this predicted amount; 0 where it is 0."""
    return float(bid / offered) if offered > 0 else 0.0


def episode_totals(ticks: ControlledTick, *, has_unevenness: bool = True) -> Totals:
    """Totals of episodes from their ticks, (n_ticks, n_controlled) each -> (n_controlled,) each.

    Added tick by tick, so that the result does not depend on how many episodes are added up together. Without
    `has_unevenness` that is NaN, "not computed": most of the time goes into it.
    """
    sums = np.empty((len(_SUMMED), ticks.columns.shape[-1]))
    kernel.sum_ticks(np.ascontiguousarray(ticks.columns), _SUMMED, sums)
    uneven = unevenness(ticks.cost, ticks.n_impressions) if has_unevenness else np.full(sums.shape[1], np.nan)
    return Totals._make((*sums, uneven))


def stack_ticks(ticks: Sequence[ControlledTick]) -> ControlledTick:
    """Ticks behind each other: (n_ticks, n_controlled) each."""
    return ControlledTick.of(np.array([tick.columns for tick in ticks]).swapaxes(0, 1).copy())


def tick_view(
    tick: int,
    *,
    features: Float,
    budget_left: Float,
    predicted_mean: Float,
    last: ControlledTick | None,
    impressions: TickImpressions | None = None,
) -> TickView:
    """What a bidder sees at the start of a tick, given the tick before; None at tick 0."""
    nothing = np.zeros(len(features))
    return TickView(
        tick=tick,
        features=features,
        budget_left=budget_left,
        predicted_mean=predicted_mean,
        **{f"last_{name}": getattr(last, name) if last else nothing for name in OUTCOMES},
        last_exposures=last.exposures if last else nothing,
        last_wins=last.wins if last else nothing,
        last_volume=last.n_impressions if last else nothing,
        impressions=impressions,
    )


class ControlledAdvertisers:
    """n controlled advertisers through one episode of `market`.

    Number i is advertiser `advertiser_idx[i]` of market `market_idx[i]`.

    All have the task `task`.
    """

    def __init__(self, market: BatchMarket, market_idx: Int, advertiser_idx: Int, task: Task) -> None:
        self.pick = (market_idx, advertiser_idx)
        self.task = task
        self.targets = market.episode_targets.at(self.pick)  # what the advertisers have and would pay, (n,) each
        self._market = market
        self._running = StateFeatures(len(market_idx), market.params.n_ticks).running
        self._last: ControlledTick | None = None
        self._seen: Float | None = None  # features since the last tick
        self._flat = market_idx * market.n_advertisers + advertiser_idx
        self._budget = self.targets.budget
        self._known = (*self.pick, self._budget, *self._running)
        self._before: dict[int, ImpressionOutcomes] = {}  # of those that asked for it

    def __len__(self) -> int:
        return len(self.pick[0])

    @property
    def budget(self) -> Float:
        """(n,) currency per episode."""
        return self._budget

    def put(self, own: Float, into: Float) -> None:
        """Writes these advertisers' part, (n,), into those of all, (n_markets, n_advertisers), one block of memory."""
        into.reshape(-1)[self._flat] = own

    def campaigns(self, seeds: Int, expected_traffic: Float, played: object | None = None) -> Campaigns:
        """What is known before the first tick.

        Args:
            seeds: (n_markets,) of the episodes.
            expected_traffic: (n_ticks,) or (n_markets, n_ticks).
            played: `Campaigns.market`, for who may know it, and the task with it.
        """
        targets = self.targets
        return Campaigns(
            targets=targets,
            base=self.task.unit_worth(targets),
            category=self._market.category[self.pick[1]],
            advertiser=self.pick[1],
            requirements=self.task.requirements(targets),
            n_ticks=self._market.params.n_ticks,
            seed=seeds[self.pick[0]],
            expected_traffic=expected_traffic if expected_traffic.ndim == 1 else expected_traffic[self.pick[0]],
            day=self._market.day[self.pick[0]],
            market=played,
            task=None if played is None else self.task,
        )

    def observe(self) -> Float:
        """(n, 16) features at the start of the current tick: `observation.FEATURE_NAMES`.

        After the last tick no time is left and there is no current tick to describe.
        """
        if self._seen is None:
            now, self._seen = self._market.now, np.empty((len(self), N_FEATURES))
            kernel.observe_tick(*self.pick, self._budget, *now, *self._running, self._seen)
        return self._seen

    def view(self) -> TickView:
        """What the bidder of these advertisers sees at the start of the current tick."""
        opening = self._market.opening
        return tick_view(
            opening.tick,
            features=self.observe().copy(),
            budget_left=opening.budget_left[self.pick],
            predicted_mean=opening.predicted_mean[self.pick],
            last=self._last,
            impressions=TickImpressions(np.arange(len(self)), self._impressions, self._before.get),
        )

    def _impressions(self, i: int) -> Impressions:
        market, advertiser = int(self.pick[0][i]), int(self.pick[1][i])
        return Impressions(self._market.values_of(market, advertiser), self._market.sigmas_of(market, advertiser))

    def report(self, traced: Mapping[int, TracedTick], reported: frozenset[tuple[int, int]]) -> None:
        """Keeps what will come of each impression of the current tick, for those of `reported` (market, advertiser).

        `traced` has the tick of their markets.
        """
        self._before = {}
        if not reported:
            return
        for i, (market, advertiser) in enumerate(zip(*(part.tolist() for part in self.pick), strict=True)):
            if (market, advertiser) not in reported:
                continue
            impressions, of_tick = self._impressions(i), traced[market]
            self._before[i] = ImpressionOutcomes(
                values=impressions.values,
                sigmas=impressions.sigmas,
                bids=of_tick.bid[:, advertiser],
                slot=of_tick.slot[:, advertiser],
                price=of_tick.price[:, advertiser],
                exposed=of_tick.exposed[:, advertiser],
                converted=of_tick.converted[:, advertiser],
                least_winning_cost=of_tick.least_winning_cost,
            )

    def record(self, multipliers: Float, opening: Opening, result: TickResult) -> ControlledTick:
        """Takes in what a tick brought.

        Args:
            multipliers: (n_markets, n_advertisers) of all.
            opening, result: Of the tick.

        Returns:
            These advertisers' part of the tick.
        """
        columns, self._seen = np.empty((kernel.N_COLUMNS, len(self))), None
        kernel.record_tick(
            *self.pick, multipliers, result.n_impressions, opening.predicted_mean, result.bid, result.totals,
            result.least_winning_cost, result.budget_left, *self._running, columns,
        )  # fmt: skip
        self._last = ControlledTick.of(columns)
        return self._last

    def play(self, own: Float, paced: tuple[NDArray[Any], ...]) -> ControlledTick:
        """Has the market run its tick with everything in one call (`BatchMarket.play`), and takes it in.

        Args:
            own: (n,) multipliers of these advertisers.
            paced: Of all others, as `BatchMarket.play` takes it.

        Returns:
            These advertisers' part of the tick.
        """
        n = len(own)
        columns, features = np.empty((kernel.N_COLUMNS, n)), np.empty((n, N_FEATURES))
        is_observed = self._market.play((*self._known, own, columns, features), paced)
        self._seen = features if is_observed else None
        self._last = tick = ControlledTick.of(columns)
        return tick
