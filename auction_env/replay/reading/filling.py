"""The second pass over a log of impressions: every row is put where it belongs, and each period is checked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auction_env.data.formats.auctionnet_csv import LOG_COLUMNS, parse_logs
from auction_env.data.formats.csv_blocks import Position
from auction_env.data.formats.sources import AuctionNetLogError, Source
from auction_env.kernels.logs import placing
from auction_env.kernels.replay import ReplayLog
from auction_env.replay.columns import IMPRESSION_COLUMNS, Columns, make_columns
from auction_env.replay.market import (
    FULL_LADDER,
    LEAST_WINNING_COST,
    Assumption,
    ReplayMarket,
    rank_bids,
    value_sums,
)
from auction_env.replay.params import ReplayParams
from auction_env.replay.reading.shape import PERIOD, PeriodShape

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]

_RELATIVE_ROUNDING = 1e-6  # of a logged cost against the bid that it should be
_RANKED_AT_ONCE = 1 << 16  # impressions


class Finding(NamedTuple):
    """What a finished period says of the reserve price."""

    reserve: float
    is_bound: bool  # whether it is the least winning cost of some impression, as all losing bids are below it


class Filling:
    """The second pass over logs: fills the arrays of a market period by period.

    Args:
        files, block_bytes: What is read, and how.
        shapes: Of the periods, by number, from the first pass.
        assumption, given: As of `replay_from_auctionnet`; `given` are its rules, None where they are inferred.
        rules: By which the ladder is cut: `given`, or those with the reserve price not yet inferred.
        columns: The arrays, which are made.
    """

    def __init__(
        self,
        files: Sequence[Source],
        block_bytes: int,
        shapes: Mapping[int, PeriodShape],
        *,
        assumption: Assumption | None,
        given: ReplayParams | None,
        rules: ReplayParams,
        columns: Columns,
    ) -> None:
        self.files, self.block_bytes, self.shapes, self.columns = files, block_bytes, shapes, columns
        self.assumption, self.given, self.rules = assumption, given, rules
        self.is_ladder = assumption != LEAST_WINNING_COST
        self.advertisers = np.unique(np.concatenate([shape.advertisers for shape in shapes.values()]))
        counts = [len(shape.impressions) for shape in shapes.values()]
        ends = np.cumsum([0, *counts])
        self.first = dict(zip(shapes, ends[:-1].tolist(), strict=True))
        n, m, n_ladder = int(ends[-1]), len(self.advertisers), rules.n_slots + 2
        make_columns(columns, n_ladder, m, n)

    def fill(self, finished: set[int], progress: Callable[[int], None] | None) -> Iterator[tuple[int, Finding]]:
        """Fills all periods but those that are finished; each is yielded when it is whole."""
        todo = {period: shape for period, shape in self.shapes.items() if period not in finished}
        if not todo:
            return
        file = int(min(shape.files[0] for shape in todo.values()))
        pending: dict[int, placing.PlacedRows] = {}
        with closing(parse_logs(self.files, self.block_bytes, Position(file, 0, 2))) as blocks:
            file -= 1
            for parsed in blocks:
                file += parsed.block.is_first
                for period in [period for period in pending if todo[period].files[1] < file]:
                    yield period, self._finish(period, pending.pop(period))
                for period in np.unique(parsed.rows[:, PERIOD]).astype(int).tolist():
                    if period in todo:
                        if period not in pending:
                            pending[period] = self._blank(period)
                        self._place(period, parsed.rows, pending[period])
                if progress is not None:
                    progress(parsed.block.bytes_read)
        for period in list(pending):
            yield period, self._finish(period, pending.pop(period))

    def _blank(self, period: int) -> placing.PlacedRows:
        shape = self.shapes[period]
        k, m = len(shape.impressions), len(shape.advertisers)
        n_slots = self.rules.n_slots if self.is_ladder else 0
        return placing.PlacedRows(
            bid=self.columns.scratch(f"bids-{period}", np.float64, (k if self.is_ladder else 0, m)),
            cost=np.full(k, -1.0),
            winner=np.full((n_slots, k), -1, np.int16),
            seen=np.zeros((n_slots, k), np.uint8),
            is_filled=np.zeros((k, m), np.bool_),
            value=self.columns["value"],
            sigma=self.columns["sigma"],
        )

    def _place(self, period: int, rows: Float, out: placing.PlacedRows) -> None:
        shape = self.shapes[period]
        column = np.searchsorted(self.advertisers, shape.advertisers)
        bad, status = placing.place_rows(
            rows, period, shape.impressions, shape.advertisers, column, self.first[period], out
        )
        if status == placing.OK:
            return
        tick, impression, advertiser = (
            int(rows[bad, LOG_COLUMNS.index(name)]) for name in ("timeStepIndex", "pvIndex", "advertiserNumber")
        )
        if status == placing.REPEATED:
            raise AuctionNetLogError(
                f"`pvIndex` must be unique in (period {period}, advertiser {advertiser}, tick {tick}), found"
                f" {impression} twice"
            )
        raise AuctionNetLogError(
            f"`leastWinningCost` must be the same on all rows of an impression, found two values in (period"
            f" {period}, tick {tick}, pvIndex {impression})"
        )

    def _finish(self, period: int, placed: placing.PlacedRows) -> Finding:
        """Writes what follows from all rows of a period; checks a ladder by clearing it again."""
        first = self.first[period]
        where = slice(first, first + len(placed.cost))
        if not self.is_ladder:
            # equal entries of nobody: whatever the own bid, the least winning cost stays the logged one
            self.columns["ladder_bid"][:, where] = placed.cost.astype(np.float32)
            self.columns["ladder_advertiser"][:, where] = -1
            return Finding(self.rules.reserve, False)
        ladder_bid, holder = self.columns["ladder_bid"][:, where], self.columns["ladder_advertiser"][:, where]
        of_market = np.append(np.searchsorted(self.advertisers, self.shapes[period].advertisers), -1).astype(np.int16)
        for start in range(0, len(placed.bid), _RANKED_AT_ONCE):
            part = slice(start, start + _RANKED_AT_ONCE)
            top_bid, top_advertiser = rank_bids(np.asarray(placed.bid[part]), self.rules.n_slots)
            ladder_bid[:, part], holder[:, part] = top_bid, of_market[top_advertiser]  # -1 stays -1
        self.columns.drop_scratch(f"bids-{period}")
        is_won = placed.winner >= 0
        bits = (1 << np.arange(self.rules.n_slots, dtype=np.uint8))[:, None]
        self.columns["known"][where] = (is_won * bits).sum(axis=0)
        self.columns["exposed"][where] = (placed.seen * bits).sum(axis=0)
        n_slots = self.rules.n_slots
        rules = self.given or _inferred_rules(placed.cost, ladder_bid[n_slots])
        self._check(period, placed, of_market, ladder_bid, holder, rules)
        return Finding(rules.reserve, _is_bound(ladder_bid[n_slots], rules.reserve))

    def _check(
        self,
        period: int,
        placed: placing.PlacedRows,
        of_market: NDArray[np.int16],
        ladder_bid: NDArray[np.float32],
        holder: NDArray[np.int16],
        rules: ReplayParams,
    ) -> None:
        """Raises where the least winning costs are not those of the bids; warns where the slots are not."""
        n, n_slots = len(placed.cost), rules.n_slots
        derived = np.maximum(ladder_bid[n_slots], rules.reserve)
        n_different = int((~np.isclose(derived, placed.cost, rtol=_RELATIVE_ROUNDING, atol=0.0)).sum())
        if n_different and self.assumption is None:
            raise ValueError(
                f"the log must have every advertiser's bid: in period {period} the least winning cost differs from"
                f" what {placed.is_filled.shape[1]} advertisers bid, with {n_slots} slots and reserve {rules.reserve},"
                f" on {n_different} of {n} impressions. For a log of some advertisers give"
                f" `assumption={LEAST_WINNING_COST!r}`, to clear what is there {FULL_LADDER!r}"
            )
        price = np.maximum(ladder_bid[1 : n_slots + 1], np.float32(rules.reserve))
        is_sold = ladder_bid[:n_slots] >= np.float32(rules.reserve)
        if rules.for_kernel().is_unsold_at_reserve:
            is_sold &= price > np.float32(rules.reserve)
        is_other = np.where(is_sold, holder[:n_slots], -1) != of_market[placed.winner]
        n_slots_different = int(is_other.any(axis=0).sum())
        if n_different or n_slots_different:
            logger.warning(
                "period %d: the logged bids, cleared again, differ from the log in the least winning cost on %d and in"
                " the slots on %d of %d impressions", period, n_different, n_slots_different, n,
            )  # fmt: skip

    def common_reserve(self, findings: Mapping[int, Finding]) -> float:
        """The reserve price that the periods share, of those that were inferred."""
        found = {finding.reserve for finding in findings.values() if finding.is_bound}
        reserve = min(found, default=min(finding.reserve for finding in findings.values()))
        for period, finding in findings.items():
            first = self.first[period]
            losing = self.columns["ladder_bid"][self.rules.n_slots]
            losing = losing[first : first + len(self.shapes[period].impressions)]
            if len(found) > 1 or (finding.reserve not in found and _is_bound(losing, reserve)):
                raise ValueError(
                    "the reserve price must be the same in all periods, found the smallest least winning costs"
                    f" {sorted(found)} as those of some, and lower ones in others: read the periods apart, or give"
                    " `rules`"
                )
        how = "the smallest least winning cost of the log" if found else "not shown by the log: no price is at it"
        logger.info("the reserve price is %g: %s", reserve, how)
        return reserve

    def whole(self, rules: ReplayParams) -> ReplayMarket:
        """The market, once all periods are filled."""
        if not self.is_ladder:
            logger.warning(
                "replaying from the least winning cost alone: assumed is a one-slot %s auction at that cost, seen with"
                " probability %.4f", "first-price" if rules.mechanism == "first_price" else "second-price",
                rules.exposure[0],
            )  # fmt: skip
        tick_start = np.stack(
            [
                self.first[period] + np.concatenate(([0], np.cumsum(shape.tick_counts)))
                for period, shape in self.shapes.items()
            ]
        )
        n_advertisers = len(self.advertisers)
        # advertiser by advertiser: a file's pages are let go before the next ones are read
        sums = np.concatenate([value_sums(self.columns["value"][j : j + 1], tick_start) for j in range(n_advertisers)])
        log = ReplayLog(
            **{name: self.columns[name] for name in IMPRESSION_COLUMNS}, tick_start=tick_start, value_sum=sums
        )
        budget = np.full((len(self.shapes), n_advertisers), np.nan)
        cpa_target, category = np.full_like(budget, np.nan), np.zeros(n_advertisers, np.int64)
        for row, shape in enumerate(self.shapes.values()):
            column = np.searchsorted(self.advertisers, shape.advertisers)
            budget[row, column], cpa_target[row, column] = shape.constants[:, 0], shape.constants[:, 1]
            category[column] = shape.constants[:, 2]
        return ReplayMarket(
            rules=rules, assumption=FULL_LADDER if self.is_ladder else LEAST_WINNING_COST, log=log,
            periods=np.array(list(self.shapes), np.int64), advertisers=self.advertisers, budget=budget,
            cpa_target=cpa_target, category=category,
        )  # fmt: skip


def _is_bound(losing_bid: NDArray[np.float32], reserve: float) -> bool:
    """Whether the reserve price is the least winning cost of some impression, as all losing bids are below it."""
    return bool((losing_bid < np.float32(reserve)).any())


def _inferred_rules(cost: Float, best_losing_bid: NDArray[np.float32]) -> ReplayParams:
    """AuctionNet's rules with the reserve price that a period shows.

    Its smallest least winning cost is the reserve price if the best losing bid is below it somewhere. Elsewhere the
    reserve price is below all bids that count, and its value does not matter to the log.
    """
    rules, smallest = ReplayParams(), float(cost.min())
    if (best_losing_bid < np.float32(smallest)).any():
        return replace(rules, reserve=smallest)
    return rules if rules.reserve < smallest else replace(rules, reserve=0.0)
