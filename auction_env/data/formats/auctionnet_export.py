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

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import ArrayLike, NDArray

from auction_env.data.formats.auctionnet_csv import LOG_COLUMNS
from auction_env.files import already_there, naming_errors
from auction_env.kernels.logs.cells import N_TICKS
from auction_env.market.market import BatchMarket
from auction_env.market.tracing import TracedTick, check_traceable


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
        self._csv = pyarrow.csv.CSVWriter(self._sink, _SCHEMA, write_options=options)
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
        all_of_one, one_of_all = np.repeat(np.arange(n), n_advertisers), np.tile(np.arange(n_advertisers), n)
        same, targets = np.zeros(n * n_advertisers, np.int64), market.episode_targets
        sigmas = np.stack([market.sigmas_of(index, j) for j in range(n_advertisers)], axis=1)

        def everyone(values: ArrayLike) -> pa.Array:
            return _words(values).take(pa.array(one_of_all))

        def flags(values: NDArray[np.bool_]) -> pa.Array:
            return _words([0, 1]).take(pa.array(values.ravel().astype(np.int64)))

        columns = {
            "deliveryPeriodIndex": _words([self._period]).take(pa.array(same)),
            "advertiserNumber": everyone(np.arange(n_advertisers)),
            "advertiserCategoryIndex": everyone(np.asarray(market.population.category, np.int64)),
            "budget": everyone(targets.budget[index]),
            "CPAConstraint": everyone(targets.cpa[index]),
            "timeStepIndex": _words([opening.tick]).take(pa.array(same)),
            "remainingBudget": everyone(opening.budget_left[index]),
            "pvIndex": _words(np.arange(n)).take(pa.array(all_of_one)),
            "pValue": _words(traced.value.ravel()),
            "pValueSigma": _words(sigmas.ravel()),
            "bid": _words(traced.bid.ravel()),
            "xi": flags(traced.slot > 0),
            "adSlot": _words(np.arange(market.params.n_slots + 1)).take(pa.array(traced.slot.ravel())),
            "cost": _mostly_zero(traced.price.ravel()),
            "isExposed": flags(traced.exposed),
            "conversionAction": flags(traced.converted),
            "leastWinningCost": _words(traced.least_winning_cost).take(pa.array(all_of_one)),
            "isEnd": everyone(is_end.astype(np.int64)),
        }
        with naming_errors(self._path):
            self._csv.write_table(pa.table([columns[name] for name in LOG_COLUMNS], schema=_SCHEMA))


_SCHEMA = pa.schema([(name, pa.string()) for name in LOG_COLUMNS])
"""Everything is text when it is written: most columns repeat few numbers, and turning those into text takes longest."""


def _words(values: ArrayLike) -> pa.Array:
    """Numbers as text: integers without a point, others with all digits of 64 bits."""
    numbers = np.asarray(values)
    numbers = numbers if np.issubdtype(numbers.dtype, np.integer) else numbers.astype(np.float64)
    return pc.cast(pa.array(numbers), pa.string())


def _mostly_zero(values: NDArray[np.float32]) -> pa.Array:
    """`_words` of values few of which are not 0."""
    others = np.flatnonzero(values)
    place = np.zeros(len(values), np.int64)
    place[others] = np.arange(1, len(others) + 1)
    return _words(np.append(0.0, values[others])).take(pa.array(place))
