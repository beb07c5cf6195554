"""Writes a market episode as a log of impressions in AuctionNet's 18-column CSV schema.

Where AuctionNet's conventions leave a choice: `cost` is the price of every slot won, seen or not (only seen ones are
paid); `pValueSigma` is the standard deviation, the market's relative uncertainty times the value; `isEnd` is 1 in the
last tick and once the campaign could not pay an impression before the tick; an advertiser that runs out of money
within a tick bids 0 from there on.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import ArrayLike, NDArray

from auction_env.data.formats.auctionnet_csv import LOG_COLUMNS
from auction_env.files import already_there, naming_errors
from auction_env.kernels import impressions as kernel
from auction_env.kernels.clearing import BLOCK
from auction_env.kernels.logs.cells import N_TICKS
from auction_env.market.market import BatchMarket
from auction_env.market.params import MarketParams

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

_MEASURED = {"pValue", "pValueSigma", "bid", "cost", "leastWinningCost", "budget", "CPAConstraint", "remainingBudget"}


class TracedTick(NamedTuple):
    """The impressions of a tick, (n_impressions, n_advertisers) unless said otherwise.

    Attributes:
        value: float32 predicted values.
        bid: float32 bids submitted.
        slot: int64: 0 lost, 1..n_slots.
        price: float32 price of the slot won, 0 elsewhere.
        exposed, converted: bool.
        least_winning_cost: (n_impressions,) float32.
    """

    value: Float32
    bid: Float32
    slot: NDArray[np.int64]
    price: Float32
    exposed: Bool
    converted: Bool
    least_winning_cost: Float32


def trace_tick(market: BatchMarket, multipliers: ArrayLike, index: int = 0, *, any_basis: bool = False) -> TracedTick:
    """What each impression of the current tick will be in `market.step`, which it leaves as it is.

    Args:
        market: The markets, within an episode.
        multipliers: (n_advertisers,) of the market traced, as `step` takes them.
        index: Which of the markets.
        any_basis: Whether advertisers may bid on something else than conversions; `value` is then the predicted
            amount of what each bids on.

    Raises:
        ValueError: The market drops wins of overspenders (`budget_rule`) or delays conversions, so that what happens
            to an impression is not settled when it arrives, or an advertiser bids on something else than conversions
            though `any_basis` is False.
    """
    _check_params(market.params)
    if not (any_basis or market.is_bidding_on_conversions(index)):
        raise ValueError("all advertisers must bid on conversions to trace impressions, found another basis")
    opening = market.opening
    value = np.ascontiguousarray(market.values(index))
    n, n_advertisers = value.shape
    multiplier = np.where(opening.active[index], np.asarray(multipliers, np.float32), np.float32(0))
    left = opening.budget_left[index].copy()
    shape = (n, n_advertisers)
    traced = TracedTick(
        value, np.zeros(shape, np.float32), np.zeros(shape, np.int64), np.zeros(shape, np.float32),
        np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(n, np.float32),
    )  # fmt: skip
    draws = market.draws(index)
    block = np.zeros((n_advertisers, BLOCK), np.float32)
    for first in range(0, n, BLOCK):
        rows = slice(first, min(first + BLOCK, n))
        block[:, : rows.stop - first] = value[rows].T
        kernel.trace_block(
            draws.seed, opening.tick, first, rows.stop - first, block, multiplier, draws.rules, draws.advertisers,
            draws.keys, left, *(column[rows] for column in traced[1:]),
        )  # fmt: skip
    return traced


def _check_params(params: MarketParams) -> None:
    if params.budget_rule != "in_order":
        raise ValueError(f"`budget_rule` must be 'in_order' to trace impressions, found {params.budget_rule!r}")
    if params.conversion_delay > 0:
        raise ValueError(f"`conversion_delay` must be 0 to trace impressions, found {params.conversion_delay}")


class ImpressionWriter:
    """Writes ticks of one market into a CSV file, which appears whole at the end of a `with` block or not at all.

    Args:
        path: The file; ends in `.csv` or `.csv.gz`.
        market: The market, of `N_TICKS` ticks.
        period: Number of the period.
        force: Whether a file that is there already is replaced.

    Raises:
        FileExistsError: The file is there and `force` is False.
        ValueError: The path has another ending, or the market is not one that AuctionNet's schema can hold.
    """

    def __init__(self, path: str | os.PathLike[str], market: BatchMarket, *, period: int, force: bool = False) -> None:
        self._path, self._market, self._period = Path(path), market, period
        if not self._path.name.endswith((".csv", ".csv.gz")):
            raise ValueError(f"`path` must end in .csv or .csv.gz, found {self._path.name!r}")
        if self._path.exists() and not force:
            raise already_there(self._path, "a file", "must not exist")
        if market.params.n_ticks != N_TICKS:
            raise ValueError(f"`n_ticks` must be {N_TICKS} in AuctionNet's schema, found {market.params.n_ticks}")
        _check_params(market.params)
        self._temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> ImpressionWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        is_compressed = self._path.name.endswith(".gz")
        self._sink = pa.output_stream(str(self._temporary), compression="gzip" if is_compressed else None)
        options = pyarrow.csv.WriteOptions(quoting_style="none")
        self._csv = pyarrow.csv.CSVWriter(self._sink, _schema(), write_options=options)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with naming_errors(self._path):
                self._csv.close()
                self._sink.close()
                if kind is None:
                    os.replace(self._temporary, self._path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def write(self, traced: TracedTick, index: int = 0) -> None:
        """Adds the current tick of market `index`; for use before `step`."""
        market, opening = self._market, self._market.opening
        n, n_advertisers = traced.slot.shape
        if n == 0:
            return
        is_end = ~opening.active[index] | (opening.tick == N_TICKS - 1)

        def everyone(values: ArrayLike) -> NDArray[Any]:
            return np.tile(np.asarray(values), n)

        columns: dict[str, NDArray[Any]] = {
            "deliveryPeriodIndex": np.full(n * n_advertisers, self._period),
            "advertiserNumber": everyone(np.arange(n_advertisers)),
            "advertiserCategoryIndex": everyone(market.population.category),
            "budget": everyone(market.budget),
            "CPAConstraint": everyone(market.cpa_target),
            "timeStepIndex": np.full(n * n_advertisers, opening.tick),
            "remainingBudget": everyone(opening.budget_left[index]),
            "pvIndex": np.repeat(np.arange(n), n_advertisers),
            "pValue": traced.value.ravel(),
            "pValueSigma": (traced.value * market.draws(index).advertisers.sigma).ravel(),
            "bid": traced.bid.ravel(),
            "xi": (traced.slot > 0).ravel(),
            "adSlot": traced.slot.ravel(),
            "cost": traced.price.ravel(),
            "isExposed": traced.exposed.ravel(),
            "conversionAction": traced.converted.ravel(),
            "leastWinningCost": np.repeat(traced.least_winning_cost, n_advertisers),
            "isEnd": everyone(is_end),
        }
        arrays = {name: columns[name].astype(np.float64 if name in _MEASURED else np.int64) for name in LOG_COLUMNS}
        with naming_errors(self._path):
            self._csv.write_table(pa.table(arrays, schema=_schema()))


def _schema() -> pa.Schema:
    return pa.schema([(name, pa.float64() if name in _MEASURED else pa.int64()) for name in LOG_COLUMNS])
