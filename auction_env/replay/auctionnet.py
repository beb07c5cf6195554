"""Replay markets from impression logs in AuctionNet's schema."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auction_env.data.formats.auctionnet_csv import LOG_COLUMNS, AuctionNetLogError, ParsedBlock, find_logs, parse_logs
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

BLOCK_BYTES = 2 << 20
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
            price, and is seen as often as the log's won slots are on average. That price counts the own
            logged bid and is one rank too low where the advertiser lost; it is the best that such a log
            says. By default the log must have every bid, and an error names this argument where it does not.
        rules: How the market clears; AuctionNet's rules by default.
        block_bytes: Size of the blocks in which the logs are read.

    Raises:
        AuctionNetLogError: A log breaks the schema.
        FileNotFoundError: A path does not exist.
        ValueError: The log does not have every bid and `assumption` does not say what to do about it.
    """
    if assumption not in (None, FULL_LADDER, LEAST_WINNING_COST):
        raise ValueError(f"`assumption` must be {FULL_LADDER!r}, {LEAST_WINNING_COST!r} or None, found {assumption!r}")
    rules = rules or ReplayParams()
    days = _read_days(find_logs(paths), block_bytes)
    if assumption == LEAST_WINNING_COST:
        return _from_least_winning_costs(list(days))
    return ReplayMarket.concat([_from_day(day, rules, is_forced=assumption is not None) for day in days])


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


def _read_days(files: Sequence[Path], block_bytes: int) -> Iterator[_Day]:
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
                    path=parsed.block.path,
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


def _from_day(day: _Day, rules: ReplayParams, *, is_forced: bool) -> ReplayMarket:
    """A period whose log has every bid; checked by clearing it again."""
    layout, rows = _lay_out(day), day.rows
    if rows["adSlot"].max() > rules.n_slots:
        largest = rows["adSlot"].max()
        raise ValueError(f"`n_slots` must be at least the log's `adSlot`, {largest}, found {rules.n_slots}")
    n = layout.shape[0]
    bids = np.zeros(layout.shape)
    bids[layout.impression, layout.column] = rows["bid"]
    ladder = rank_bids(bids, rules.n_slots)
    derived = np.maximum(ladder[0][rules.n_slots], rules.reserve)
    n_different = int((~np.isclose(derived, _costs(day, layout), rtol=_RELATIVE_ROUNDING, atol=0.0)).sum())
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


def _from_least_winning_costs(days: Sequence[_Day]) -> ReplayMarket:
    """One slot an impression at the logged least winning cost, seen as often as the logs' won slots on average."""
    n_won = sum(int((day.rows["adSlot"] > 0).sum()) for day in days)
    n_seen = sum(int(day.rows["isExposed"][day.rows["adSlot"] > 0].sum()) for day in days)
    exposure = n_seen / n_won if n_won else 1.0
    rules = ReplayParams(n_slots=1, exposure=(exposure,), reserve=0.0, is_unsold_at_reserve=False)
    logger.warning(
        "replaying from the least winning cost alone: assumed is a one-slot second-price auction at that cost, seen"
        " with probability %.4f, the average of %d won slots of the log", exposure, n_won,
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
