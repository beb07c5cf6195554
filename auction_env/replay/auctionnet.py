"""Replay markets from impression logs in AuctionNet's schema."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auction_env.data.formats.auctionnet_csv import LOG_COLUMNS, parse_logs
from auction_env.data.formats.csv_blocks import BLOCK_BYTES, ParsedBlock
from auction_env.data.formats.sources import AuctionNetLogError, Source, find_logs
from auction_env.kernels.logs.cells import N_TICKS
from auction_env.replay.market import (
    FULL_LADDER,
    LEAST_WINNING_COST,
    Assumption,
    ReplayMarket,
    one_period,
    rank_bids,
)
from auction_env.replay.params import ReplayParams

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]
Int = NDArray[np.int64]


_RELATIVE_ROUNDING = 1e-6  # of a logged cost against the bid that it should be


_Rows = dict[str, NDArray[Any]]  # columns of a log by name


def replay_from_auctionnet(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    assumption: Assumption | None = None,
    rules: ReplayParams | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> ReplayMarket:
    """Reads impression logs in AuctionNet's 18-column CSV schema.

    Rows may come in any order within a period; the files of a period must follow each other. A period of 24
    million rows needs about 4 GB while it is read. Arrival order is that of `pvIndex`.

    Args:
        paths: Files that end in `.csv` or `.csv.gz`, or directories of them.
        assumption: `full_ladder` demands every advertiser's bid. `least_winning_cost` is for logs of one
            or some advertisers: an own bid above the logged least winning cost wins the only slot at that
            price. That price counts the own
            logged bid and is one rank too low where the advertiser lost; it is the best that such a log
            says. By default the log must have every bid, and an error names this argument where it does not.
        rules: How the market clears. By default AuctionNet's rules with the reserve price that the log shows: its
            smallest least winning cost, where losing bids are below it. With `least_winning_cost` they need
            one slot, and by default that slot is seen as often as the log's won slots are on average.
        block_bytes: Size of the blocks in which the logs are read.

    Raises:
        AuctionNetLogError: A log breaks the schema.
        FileNotFoundError: A path does not exist.
        ValueError: The log does not have every bid and `assumption` does not say what to do about it, its periods
            have different reserve prices, or `rules` have more than a slot with `least_winning_cost`.
    """
    if assumption not in (None, FULL_LADDER, LEAST_WINNING_COST):
        raise ValueError(f"`assumption` must be {FULL_LADDER!r}, {LEAST_WINNING_COST!r} or None, found {assumption!r}")
    if assumption == LEAST_WINNING_COST and rules is not None and rules.n_slots != 1:
        raise ValueError(f"`rules` must have `n_slots` 1 with {LEAST_WINNING_COST!r}, found {rules.n_slots}")
    days = _read_days(find_logs(paths), block_bytes)
    if assumption == LEAST_WINNING_COST:
        return _from_least_winning_costs(list(days), rules)
    is_forced = assumption is not None
    if rules is not None:
        return ReplayMarket.concat([_from_day(day, rules, is_forced=is_forced) for day in days])
    return ReplayMarket.concat(_with_one_reserve([_from_day(day, None, is_forced=is_forced) for day in days]))


def _with_one_reserve(markets: Sequence[ReplayMarket]) -> list[ReplayMarket]:
    """Markets whose reserve prices were inferred, with the one that the periods share."""
    found = {market.rules.reserve for market in markets if _is_bound(market, market.rules.reserve)}
    reserve = min(found, default=min(market.rules.reserve for market in markets))
    for market in markets:
        if len(found) > 1 or (market.rules.reserve not in found and _is_bound(market, reserve)):
            raise ValueError(
                "the reserve price must be the same in all periods, found the smallest least winning costs"
                f" {sorted(found)} as those of some, and lower ones in others: read the periods apart, or give `rules`"
            )
    how = "the smallest least winning cost of the log" if found else "not shown by the log: no price is at it"
    logger.info("the reserve price is %g: %s", reserve, how)
    return [replace(market, rules=replace(market.rules, reserve=reserve)) for market in markets]


def _is_bound(market: ReplayMarket, reserve: float) -> bool:
    """Whether the reserve price is the least winning cost of some impression, as all losing bids are below it."""
    return bool((market.log.ladder_bid[market.rules.n_slots] < np.float32(reserve)).any())


def _inferred_rules(cost: Float, best_losing_bid: NDArray[np.float32]) -> ReplayParams:
    """AuctionNet's rules with the reserve price that a period shows.

    Its smallest least winning cost is the reserve price if the best losing bid is below it somewhere. Elsewhere the
    reserve price is below all bids that count, and its value does not matter to the log.
    """
    rules, smallest = ReplayParams(), float(cost.min())
    if (best_losing_bid < np.float32(smallest)).any():
        return replace(rules, reserve=smallest)
    return rules if rules.reserve < smallest else replace(rules, reserve=0.0)


class _Day(NamedTuple):
    """The rows of one period, whatever their order."""

    period: int
    rows: _Rows


_ROW_TYPES: dict[str, type] = {
    "advertiserNumber": np.int32, "advertiserCategoryIndex": np.int32, "budget": np.float64,
    "CPAConstraint": np.float64, "timeStepIndex": np.int16, "pvIndex": np.int64, "pValue": np.float32,
    "pValueSigma": np.float32, "bid": np.float64, "adSlot": np.int32, "isExposed": np.int8,
    "leastWinningCost": np.float64,
}  # fmt: skip


def _read_days(files: Sequence[Source], block_bytes: int) -> Iterator[_Day]:
    """The rows of each period, as soon as a file begins that does not go on with it."""
    pending: dict[int, list[_Rows]] = {}
    finished: set[int] = set()
    with closing(parse_logs(files, block_bytes)) as blocks:
        for parsed in blocks:
            if parsed.error is not None:
                raise parsed.error
            pieces = _split(parsed)
            again = sorted(finished & set(pieces))
            if again:
                raise AuctionNetLogError(
                    f"the files of a period must follow each other, found period {again[0]} again",
                    path=parsed.block.source.path,
                )
            if parsed.block.is_first:
                for period in [period for period in pending if period not in pieces]:
                    finished.add(period)
                    yield _join(period, pending.pop(period))
            for period, rows in pieces.items():
                pending.setdefault(period, []).append(rows)
    for period in list(pending):
        yield _join(period, pending.pop(period))


def _join(period: int, pieces: list[_Rows]) -> _Day:
    return _Day(period, {name: np.concatenate([piece[name] for piece in pieces]) for name in _ROW_TYPES})


def _split(parsed: ParsedBlock) -> dict[int, _Rows]:
    """The rows of a block by period."""
    period = parsed.rows[:, LOG_COLUMNS.index("deliveryPeriodIndex")].astype(np.int64)
    pieces = {}
    for number in np.unique(period):
        chosen = parsed.rows[period == number]
        pieces[int(number)] = {
            name: chosen[:, LOG_COLUMNS.index(name)].astype(dtype) for name, dtype in _ROW_TYPES.items()
        }
    return pieces


class _Layout(NamedTuple):
    """Where the rows of a day belong: impression and advertiser of each, and the day's constants."""

    impression: Int
    column: Int
    numbers: Int
    tick_counts: Int
    first: Int  # (n_advertisers,) a row of each advertiser

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.tick_counts.sum()), len(self.numbers)


def _lay_out(day: _Day) -> _Layout:
    rows = day.rows
    key = rows["timeStepIndex"] * (rows["pvIndex"].max() + 1) + rows["pvIndex"]
    impressions, impression = np.unique(key, return_inverse=True)
    numbers, first, column = np.unique(rows["advertiserNumber"], return_index=True, return_inverse=True)
    cell = impression * len(numbers) + column
    is_filled = np.zeros(len(impressions) * len(numbers), np.bool_)
    is_filled[cell] = True
    if is_filled.sum() != len(cell):
        raise AuctionNetLogError(
            f"`pvIndex` must be unique in (period {day.period}, advertiser, tick), found {len(cell)} rows of"
            f" {is_filled.sum()} impressions and advertisers"
        )
    for name in ("budget", "CPAConstraint", "advertiserCategoryIndex"):
        different = np.flatnonzero(rows[name] != rows[name][first][column])
        if len(different):
            row = different[0]
            raise AuctionNetLogError(
                f"`{name}` must be {rows[name][first][column[row]]} as on the first row of (period {day.period},"
                f" advertiser {rows['advertiserNumber'][row]}), found {rows[name][row]}"
            )
    if rows["pValue"].max() > 1:
        raise AuctionNetLogError(f"`pValue` must be at most 1 in period {day.period}, found {rows['pValue'].max()}")
    ticks = impressions // (rows["pvIndex"].max() + 1)
    return _Layout(impression, column, numbers.astype(np.int64), np.bincount(ticks, minlength=N_TICKS), first)


def _values(day: _Day, layout: _Layout) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Predicted values and sigmas, (n_advertisers, n_impressions) each; 0 where the log lacks the row."""
    n, n_advertisers = layout.shape
    value, sigma = np.zeros((n_advertisers, n), np.float32), np.zeros((n_advertisers, n), np.float32)
    value[layout.column, layout.impression] = day.rows["pValue"]
    sigma[layout.column, layout.impression] = day.rows["pValueSigma"]
    return value, sigma


def _campaigns(day: _Day, layout: _Layout) -> dict[str, NDArray[Any]]:
    names = {"budget": "budget", "cpa_target": "CPAConstraint", "category": "advertiserCategoryIndex"}
    return {name: day.rows[column][layout.first] for name, column in names.items()}


def _costs(day: _Day, layout: _Layout) -> Float:
    """(n_impressions,) the logged least winning cost, which all rows of an impression must share."""
    cost = np.zeros(layout.shape[0])
    cost[layout.impression] = day.rows["leastWinningCost"]
    if np.any(cost[layout.impression] != day.rows["leastWinningCost"]):
        row = np.flatnonzero(cost[layout.impression] != day.rows["leastWinningCost"])[0]
        raise AuctionNetLogError(
            f"`leastWinningCost` must be the same on all rows of an impression, found two values in (period"
            f" {day.period}, tick {day.rows['timeStepIndex'][row]}, pvIndex {day.rows['pvIndex'][row]})"
        )
    return cost


def _from_day(day: _Day, rules: ReplayParams | None, *, is_forced: bool) -> ReplayMarket:
    """A period whose log has every bid; checked by clearing it again."""
    layout, rows = _lay_out(day), day.rows
    n_slots = (rules or ReplayParams()).n_slots
    if rows["adSlot"].max() > n_slots:
        raise ValueError(f"`n_slots` must be at least the log's `adSlot`, {rows['adSlot'].max()}, found {n_slots}")
    n = layout.shape[0]
    bids = np.zeros(layout.shape)
    bids[layout.impression, layout.column] = rows["bid"]
    ladder, cost = rank_bids(bids, n_slots), _costs(day, layout)
    rules = rules or _inferred_rules(cost, ladder[0][n_slots])
    derived = np.maximum(ladder[0][rules.n_slots], rules.reserve)
    n_different = int((~np.isclose(derived, cost, rtol=_RELATIVE_ROUNDING, atol=0.0)).sum())
    if n_different and not is_forced:
        raise ValueError(
            f"the log must have every advertiser's bid: in period {day.period} the least winning cost differs from"
            f" what {layout.shape[1]} advertisers bid, with {rules.n_slots} slots and reserve {rules.reserve}, on"
            f" {n_different} of {n} impressions. For a log of some advertisers give"
            f" `assumption={LEAST_WINNING_COST!r}`, to clear what is there {FULL_LADDER!r}"
        )
    is_won = rows["adSlot"] > 0
    bit = 1 << (rows["adSlot"][is_won] - 1)
    known, exposed = np.zeros(n, np.int64), np.zeros(n, np.int64)
    np.bitwise_or.at(known, layout.impression[is_won], bit)
    np.bitwise_or.at(exposed, layout.impression[is_won], bit * rows["isExposed"][is_won])
    value, sigma = _values(day, layout)
    market = one_period(
        rules=rules, assumption=FULL_LADDER, period=day.period, numbers=layout.numbers, ladder=ladder, value=value,
        sigma=sigma, exposed=exposed.astype(np.uint8), known=known.astype(np.uint8), tick_counts=layout.tick_counts,
        **_campaigns(day, layout),
    )  # fmt: skip
    n_slots_different = _count_different_slots(market, rows, layout)
    if n_different or n_slots_different:
        logger.warning(
            "period %d: the logged bids, cleared again, differ from the log in the least winning cost on %d and in"
            " the slots on %d of %d impressions", day.period, n_different, n_slots_different, n,
        )  # fmt: skip
    return market


def _count_different_slots(market: ReplayMarket, rows: _Rows, layout: _Layout) -> int:
    """On how many impressions the ladder's winners are not the log's."""
    n_slots, log = market.rules.n_slots, market.log
    logged = np.full((n_slots, layout.shape[0]), -1)
    is_won = rows["adSlot"] > 0
    logged[rows["adSlot"][is_won] - 1, layout.impression[is_won]] = layout.column[is_won]
    price = np.maximum(log.ladder_bid[1 : n_slots + 1], np.float32(market.rules.reserve))
    is_sold = log.ladder_bid[:n_slots] >= np.float32(market.rules.reserve)
    if market.rules.for_kernel().is_unsold_at_reserve:
        is_sold &= price > np.float32(market.rules.reserve)
    return int((np.where(is_sold, log.ladder_advertiser[:n_slots], -1) != logged).any(axis=0).sum())


def _from_least_winning_costs(days: Sequence[_Day], rules: ReplayParams | None) -> ReplayMarket:
    """One slot an impression at the logged least winning cost; by default seen as often as the logs' won slots."""
    rules = rules or _observed_rules(days)
    logger.warning(
        "replaying from the least winning cost alone: assumed is a one-slot %s auction at that cost, seen with"
        " probability %.4f", "first-price" if rules.mechanism == "first_price" else "second-price", rules.exposure[0],
    )  # fmt: skip
    markets = []
    for day in days:
        layout = _lay_out(day)
        # three equal entries of nobody: whatever the own bid, the least winning cost stays the logged one
        cost = np.repeat(_costs(day, layout).astype(np.float32)[None], rules.n_slots + 2, axis=0)
        value, sigma = _values(day, layout)
        unknown = np.zeros(layout.shape[0], np.uint8)
        markets.append(
            one_period(
                rules=rules, assumption=LEAST_WINNING_COST, period=day.period, numbers=layout.numbers,
                ladder=(cost, np.full(cost.shape, -1, np.int16)), value=value, sigma=sigma, exposed=unknown,
                known=unknown, tick_counts=layout.tick_counts, **_campaigns(day, layout),
            )
        )  # fmt: skip
    return ReplayMarket.concat(markets)


def _observed_rules(days: Sequence[_Day]) -> ReplayParams:
    """A slot without a reserve price, seen with the average frequency of the slots that the logs' advertisers won."""
    n_won = sum(int((day.rows["adSlot"] > 0).sum()) for day in days)
    n_seen = sum(int(day.rows["isExposed"][day.rows["adSlot"] > 0].sum()) for day in days)
    exposure = n_seen / n_won if n_won else 1.0
    return ReplayParams(n_slots=1, exposure=(exposure,), reserve=0.0, is_unsold_at_reserve=False)
