"""Writes a market episode as a log of impressions in AuctionNet's 18-column CSV schema.

Where AuctionNet's conventions leave a choice: `cost` is the price of every slot won, seen or not (only seen ones are
paid); `pValueSigma` is the standard deviation that bidders see (`BatchMarket.sigmas_of`); `isEnd` is 1 in the
last tick and once the campaign could not pay an impression before the tick; an advertiser that runs out of money
within a tick bids 0 from there on.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import ArrayLike, NDArray

from auction_env.data.formats.auctionnet_csv import LOG_COLUMNS
from auction_env.files import already_there, naming_errors
from auction_env.kernels.logs.cells import N_TICKS
from auction_env.market.market import BatchMarket
from auction_env.market.tracing import TracedTick, check_traceable

_MEASURED = {"pValue", "pValueSigma", "bid", "cost", "leastWinningCost", "budget", "CPAConstraint", "remainingBudget"}


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
        check_traceable(market.params)
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
            "budget": everyone(market.episode_targets.budget[index]),
            "CPAConstraint": everyone(market.episode_targets.cpa[index]),
            "timeStepIndex": np.full(n * n_advertisers, opening.tick),
            "remainingBudget": everyone(opening.budget_left[index]),
            "pvIndex": np.repeat(np.arange(n), n_advertisers),
            "pValue": traced.value.ravel(),
            "pValueSigma": np.stack([market.sigmas_of(index, j) for j in range(n_advertisers)], axis=1).ravel(),
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
