"""A market made from impression logs: one advertiser bids against what the others bid on the logged day.

The competitors do not react: whatever the replaced advertiser does, they bid what they bid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.integers import check_integers
from auction_env.kernels import replay as kernel
from auction_env.kernels.replay import ReplayLog
from auction_env.replay.columns import IMPRESSION_COLUMNS, Columns, make_columns
from auction_env.replay.params import ReplayParams

Float = NDArray[np.float64]
Int = NDArray[np.int64]

Assumption = Literal["full_ladder", "least_winning_cost"]
FULL_LADDER: Final = "full_ladder"
LEAST_WINNING_COST: Final = "least_winning_cost"

_MAX_FLOAT32 = float(np.finfo(np.float32).max)
_MAX_ADVERTISERS = int(np.iinfo(np.int16).max)  # the ladder holds their indices


class LoggedClearing(NamedTuple):
    """A period cleared for given own bids; one entry an impression, in arrival order.

    Attributes:
        slot: int32: 0 = lost, 1..n_slots from the top.
        price: float32: price of the slot won, 0 elsewhere.
        exposed: bool: whether the slot won is seen; only then is the price paid.
        least_winning_cost: float32: the best losing bid, at least the reserve.
    """

    slot: NDArray[np.int32]
    price: NDArray[np.float32]
    exposed: NDArray[np.bool_]
    least_winning_cost: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReplayMarket:
    """Logged periods in which any one advertiser can be replaced.

    Build one with `replay_from_auctionnet` or `replay_from_bids`, put several together with `concat`. The ladder keeps
    the highest `n_slots` + 2 bids of all advertisers, so that without any one of them the highest `n_slots` + 1
    competing bids are left: enough for the slot, the price and the least winning cost of any own bid.

    Attributes:
        rules: How the market clears.
        assumption: `full_ladder`: the log has every bid. `least_winning_cost`: the log has one price an
            impression only, and the market takes it for a one-slot second-price auction (`replay_from_auctionnet`).
        log: The impressions, as the kernels take them.
        periods: (n_periods,) numbers of the periods.
        advertisers: (n_advertisers,) numbers of the advertisers, ascending.
        budget, cpa_target: (n_periods, n_advertisers) currency; NaN where the advertiser is not in the period.
        category: (n_advertisers,).
    """

    rules: ReplayParams
    assumption: Assumption
    log: ReplayLog = field(repr=False)
    periods: Int
    advertisers: Int
    budget: Float = field(repr=False)
    cpa_target: Float = field(repr=False)
    category: Int = field(repr=False)

    def __post_init__(self) -> None:
        n_ladder, n = self.log.ladder_bid.shape
        shapes: dict[str, tuple[NDArray[Any], tuple[int, ...]]] = {
            "ladder_bid": (self.log.ladder_bid, (self.rules.n_slots + 2, n)),
            "ladder_advertiser": (self.log.ladder_advertiser, (n_ladder, n)),
            "value": (self.log.value, (self.n_advertisers, n)),
            "sigma": (self.log.sigma, (self.n_advertisers, n)),
            "exposed": (self.log.exposed, (n,)),
            "known": (self.log.known, (n,)),
            "tick_start": (self.log.tick_start, (self.n_periods, self.n_ticks + 1)),
            "value_sum": (self.log.value_sum, (self.n_advertisers, self.n_periods, self.n_ticks)),
            "budget": (self.budget, (self.n_periods, self.n_advertisers)),
            "cpa_target": (self.cpa_target, (self.n_periods, self.n_advertisers)),
            "category": (self.category, (self.n_advertisers,)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise ValueError(f"`{name}` must have shape {shape}, found {array.shape}")
        for name, numbers in (("periods", self.periods), ("advertisers", self.advertisers)):
            if len(np.unique(numbers)) != len(numbers):
                raise ValueError(f"`{name}` must be distinct, found {numbers.tolist()}")
        start = self.log.tick_start
        if start[0, 0] != 0 or start[-1, -1] != n or np.any(np.diff(start.ravel()) < 0):
            raise ValueError(f"`tick_start` must rise from 0 to the number of impressions, {n}, period by period")
        if not np.isfinite(self.budget).any():
            raise ValueError("`budget` must be finite for at least one advertiser of one period, found none")

    def __deepcopy__(self, memo: dict[int, Any]) -> ReplayMarket:
        return self  # nothing changes it; Gymnasium copies the arguments of every environment

    @property
    def n_periods(self) -> int:
        return len(self.periods)

    @property
    def n_advertisers(self) -> int:
        return len(self.advertisers)

    @property
    def n_ticks(self) -> int:
        return int(self.log.tick_start.shape[1]) - 1

    @property
    def n_impressions(self) -> Int:
        """(n_periods,) impressions of each period."""
        return self.log.tick_start[:, -1] - self.log.tick_start[:, 0]

    @property
    def nbytes(self) -> int:
        """Size of the arrays of impressions."""
        return sum(array.nbytes for array in self.log)

    @property
    def episodes(self) -> Int:
        """(n_episodes, 2) index of the period and of the advertiser, for all that can be played."""
        return np.argwhere(np.isfinite(self.budget))

    def difference(self, other: ReplayMarket) -> str:
        """In what another log differs, in a few words; empty if it is the same log."""
        if self is other:
            return ""
        for name in ("rules", "assumption", "n_ticks"):
            if getattr(self, name) != getattr(other, name):
                return f"another `{name}`"
        names = ("periods", "advertisers", "budget", "cpa_target", "category")
        pairs = [*zip(self.log, other.log, strict=True), *((getattr(self, n), getattr(other, n)) for n in names)]
        is_same = all(np.array_equal(own, others, equal_nan=True) for own, others in pairs)
        return "" if is_same else "another log"

    def rows(self, periods: ArrayLike) -> Int:
        """The indices of periods given by their numbers, (n,); ValueError if the log does not have one."""
        given = check_integers("period", periods)
        order = np.argsort(self.periods)  # in which the log has them
        row: Int = order[np.searchsorted(self.periods, given, sorter=order) % self.n_periods]
        is_unknown = self.periods[row] != given
        if is_unknown.any():
            raise ValueError(f"`period` must be one of {self.periods.tolist()}, found {given[is_unknown][0]}")
        return row

    def index(self, periods: ArrayLike, advertisers: ArrayLike) -> tuple[Int, Int]:
        """The indices of periods and advertisers given by their numbers, (n,) each.

        Raises:
            ValueError: The log does not have them.
        """
        given_periods, given_advertisers = np.broadcast_arrays(
            np.atleast_1d(check_integers("period", periods)), np.atleast_1d(check_integers("advertiser", advertisers))
        )
        row = self.rows(given_periods)
        column = np.searchsorted(self.advertisers, given_advertisers) % self.n_advertisers
        is_absent = (self.advertisers[column] != given_advertisers) | np.isnan(self.budget[row, column])
        if is_absent.any():
            period, known = given_periods[is_absent][0], np.isfinite(self.budget[row[is_absent][0]])
            raise ValueError(
                f"`advertiser` must be one of {self.advertisers[known].tolist()} in period {period},"
                f" found {given_advertisers[is_absent][0]}"
            )
        return row, column

    def least_winning_costs(self, impressions: slice) -> Float:
        """(n,) the least winning costs as the log has them, all advertisers' own bids included."""
        rank = 0 if self.assumption == LEAST_WINNING_COST else self.rules.n_slots
        cost: Float = np.maximum(self.log.ladder_bid[rank, impressions], np.float32(self.rules.reserve)).astype(float)
        return cost

    def prices_to_beat(self, column: int, impressions: slice) -> Float:
        """(n,) the least bids with which one advertiser, given by its index, wins the last slot from the others."""
        if self.assumption == LEAST_WINNING_COST:
            return self.least_winning_costs(impressions)
        n_slots, ladder = self.rules.n_slots, self.log.ladder_bid[:, impressions]
        holds_a_slot = (self.log.ladder_advertiser[:n_slots, impressions] == column).any(axis=0)
        price: Float = np.where(holds_a_slot, ladder[n_slots], ladder[n_slots - 1]).astype(float)
        return np.maximum(price, float(np.float32(self.rules.reserve)))

    def clear(self, period: int, advertiser: int, bids: ArrayLike, *, seed: int = 0) -> LoggedClearing:
        """Clears every impression of a period for given own bids, without a budget.

        Args:
            period, advertiser: Their numbers.
            bids: (n_impressions,) own bids in arrival order, finite and not negative.
            seed: Of the exposures that the log does not tell.
        """
        rows, columns = self.index(period, advertiser)
        row, column = int(rows[0]), int(columns[0])
        n = int(self.n_impressions[row])
        given = np.asarray(bids, np.float64)
        if given.shape != (n,):
            raise ValueError(f"`bids` must have shape ({n},), found {given.shape}")
        check_not_negative("bids", given)
        if seed < 0:
            raise ValueError(f"`seed` must not be negative, found {seed}")
        slot, exposed = np.empty(n, np.int32), np.empty(n, np.bool_)
        price, lwc = np.empty(n, np.float32), np.empty(n, np.float32)
        kernel.clear_period(
            self.log, self.rules.for_kernel(), row, column, given.astype(np.float32), np.uint64(seed),
            kernel.new_scratch(), slot, price, lwc, exposed,
        )  # fmt: skip
        return LoggedClearing(slot, price, exposed, lwc)

    @classmethod
    def concat(cls, markets: Sequence[ReplayMarket], columns: Columns | None = None) -> ReplayMarket:
        """Puts the periods of several markets behind each other; rules, assumption and ticks must agree.

        The arrays of impressions are made by `columns`, which may keep them in files; in memory by default.
        """
        if not markets:
            raise ValueError("`markets` must hold at least one market, found none")
        first = markets[0]
        for market in markets[1:]:
            for name in ("rules", "assumption", "n_ticks"):
                if getattr(market, name) != getattr(first, name):
                    raise ValueError(f"`{name}` must agree, found {getattr(first, name)} and {getattr(market, name)}")
        if len(markets) == 1:
            return first
        advertisers = np.unique(np.concatenate([market.advertisers for market in markets]))
        positions = [np.searchsorted(advertisers, market.advertisers) for market in markets]
        n, n_periods = sum(m.log.exposed.size for m in markets), sum(m.n_periods for m in markets)
        columns = columns or Columns(None)
        n_ladder, m = len(first.log.ladder_bid), len(advertisers)
        make_columns(columns, n_ladder, m, n)
        value_sum = np.zeros((len(advertisers), n_periods, first.n_ticks))
        budget = np.full((n_periods, len(advertisers)), np.nan)
        cpa_target, category = np.full_like(budget, np.nan), np.zeros(len(advertisers), np.int64)
        starts, at, row = [], 0, 0
        for market, column in zip(markets, positions, strict=True):
            stop, last = at + market.log.exposed.size, row + market.n_periods
            for name in ("ladder_bid", "exposed", "known"):
                columns[name][..., at:stop] = getattr(market.log, name)
            holder = np.append(column, -1)  # -1 stays -1
            columns["ladder_advertiser"][:, at:stop] = holder[market.log.ladder_advertiser]
            for name in ("value", "sigma"):
                for own, of_market in zip(column, getattr(market.log, name), strict=True):
                    columns[name][own, at:stop] = of_market
            value_sum[column, row:last] = market.log.value_sum
            budget[row:last, column], cpa_target[row:last, column] = market.budget, market.cpa_target
            category[column] = market.category
            starts.append(market.log.tick_start + at)
            at, row = stop, last
        log = ReplayLog(
            **{name: columns[name] for name in IMPRESSION_COLUMNS},
            tick_start=np.concatenate(starts),
            value_sum=value_sum,
        )
        return cls(
            rules=first.rules, assumption=first.assumption, log=log, advertisers=advertisers,
            periods=np.concatenate([market.periods for market in markets]), budget=budget, cpa_target=cpa_target,
            category=category,
        )  # fmt: skip


def rank_bids(bids: Float, n_slots: int) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Ladder of a (n, n_advertisers) matrix of bids: the highest bids and their advertisers."""
    if bids.shape[1] > _MAX_ADVERTISERS:
        raise ValueError(f"there must be at most {_MAX_ADVERTISERS} advertisers, found {bids.shape[1]}")
    check_not_negative("bids", bids)
    top_bid = np.empty((n_slots + 2, len(bids)), np.float32)
    top_advertiser = np.empty(top_bid.shape, np.int16)
    kernel.rank_ladder(bids, top_bid, top_advertiser)
    return top_bid, top_advertiser


def one_period(
    *,
    rules: ReplayParams,
    assumption: Assumption,
    period: int,
    numbers: Int,
    ladder: tuple[NDArray[np.float32], NDArray[np.int16]],
    value: NDArray[np.float32],
    sigma: NDArray[np.float32],
    exposed: NDArray[np.uint8],
    known: NDArray[np.uint8],
    tick_counts: Int,
    budget: Float,
    cpa_target: Float,
    category: Int,
) -> ReplayMarket:
    """A market of one period; `tick_counts` (n_ticks,) impressions of each tick, otherwise see `ReplayMarket`."""
    tick_start = np.concatenate(([0], np.cumsum(tick_counts)))[None]
    return ReplayMarket(
        rules=rules,
        assumption=assumption,
        log=ReplayLog(*ladder, value, sigma, exposed, known, tick_start, value_sums(value, tick_start)),
        periods=np.array([period], np.int64),
        advertisers=np.asarray(numbers, np.int64),
        budget=budget[None],
        cpa_target=cpa_target[None],
        category=np.asarray(category, np.int64),
    )


def value_sums(value: NDArray[np.float32], tick_start: Int) -> Float:
    """(n_advertisers, n_periods, n_ticks) sums over the impressions of each tick."""
    total = np.empty((len(value), len(tick_start), tick_start.shape[1] - 1))
    kernel.sum_values(value, tick_start, total)
    return total


def check_not_negative(name: str, values: Float) -> None:
    """ValueError that names the first of the values that is negative, not finite or beyond float32."""
    bad = ~(np.isfinite(values) & (values >= 0) & (values <= _MAX_FLOAT32))
    if bad.any():
        where = tuple(int(k) for k in np.argwhere(bad)[0])
        rule = "must be finite and not negative" + (f", at most {_MAX_FLOAT32:.3g}" if values[where] > 1 else "")
        raise ValueError(f"`{name}` {rule}, found {values[where]} at {where}")
