"""Reads BAT's two tables: campaigns, and what each price of a contact adds in each hour.

Source: A. Khirianova et al., "BAT: Benchmark for Auto-bidding Task" (WWW 2025, arXiv 2505.08485). A contact is a user
who writes to or calls the seller. Bids are prices of a contact, rounded to powers of 1.2.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auction_env.data.formats.table.cells import read_cells
from auction_env.data.formats.table.columns import Kind
from auction_env.data.formats.table.frames import column_names, is_path, to_arrow
from auction_env.data.formats.table.problems import Problems, TableError, TableProblem

Float = NDArray[np.float64]
Int = NDArray[np.int64]

SECONDS_AN_HOUR = 3600
_LOG_STEP = float(np.log(1.2))

CAMPAIGN_COLUMNS: dict[str, Kind] = {
    "campaign_id": "integer",
    "campaign_start": "amount",
    "campaign_end": "amount",
    "auction_budget": "target",
    "region_id": "integer",
}
"""The columns of `campaigns.csv` that are used, times in Unix seconds; others are left alone."""

AMOUNTS = ("AuctionVisibilitySurplus", "AuctionClicksSurplus", "AuctionContactsSurplus", "AuctionWinBidSurplus")
"""What a price adds to the one below: views, clicks, contacts, and money in VCG; expected amounts, not integers."""

VIEWS, CLICKS, CONTACTS, MONEY, AT_OWN_PRICE = range(len(AMOUNTS) + 1)

STATS_COLUMNS: dict[str, Kind] = {
    "campaign_id": "integer",
    "period": "amount",
    "contact_price_bin": "integer",
    **dict.fromkeys(AMOUNTS, "amount"),
}
"""The columns of `stats.csv` that are used; `period` is the Unix second of the hour."""


class Campaigns(NamedTuple):
    """c campaigns, in the order of the file; arrays of shape (c,)."""

    number: Int  # campaign_id
    start: Int  # Unix second of the first hour
    n_hours: Int
    budget: Float  # currency
    region: Int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Landscape:
    """What every price brings in every hour of every campaign.

    Attributes:
        campaigns: The campaigns.
        first_hour: (c + 1,) number of the first hour of each campaign, then of all; hours without a row count.
        first_row: (hours + 1,) first row of each hour, then the number of rows.
        key: (rows,) ascending: hour x `span` + bin - `lowest` + 1.
        lowest, span: Lowest bin, and number of bins plus 1.
        sums: (rows + 1, 5) running sums over all rows, of which an hour's are a difference: `AMOUNTS`, then the
            contacts times their own price.
    """

    campaigns: Campaigns
    first_hour: Int
    first_row: Int
    key: Int
    lowest: int
    span: int
    sums: Float

    @property
    def n_campaigns(self) -> int:
        return len(self.campaigns.number)

    @property
    def digest(self) -> str:
        """SHA-256 of all that it tells."""
        found = hashlib.sha256(repr((self.lowest, self.span)).encode())
        for array in (*self.campaigns, self.first_hour, self.first_row, self.key, self.sums):
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def up_to(self, hour: Int, price: Float) -> Float:
        """(n, 5) amounts that prices (n,) bring in hours (n,): those of all rows with at most that price."""
        place = np.clip(price_bins(price) - self.lowest + 1, 0, self.span - 1).astype(np.int64)
        end = np.searchsorted(self.key, hour * self.span + place, side="right")
        amounts: Float = self.sums[end] - self.sums[self.first_row[hour]]
        return amounts

    def whole(self, hour: Int) -> Float:
        """(n, 5) amounts that the highest price brings in hours (n,)."""
        amounts: Float = self.sums[self.first_row[hour + 1]] - self.sums[self.first_row[hour]]
        return amounts


def price_bins(price: Float) -> Float:
    """(n,) rounded logs to base 1.2 of prices; minus infinity for a price of 0."""
    with np.errstate(divide="ignore"):
        bins: Float = np.round(np.log(price) / _LOG_STEP)
    return bins


def bin_prices(price_bin: NDArray[Any]) -> Float:
    """(n,) prices of bins."""
    prices: Float = np.exp(_LOG_STEP * np.asarray(price_bin, np.float64))
    return prices


def read_landscape(campaigns: Any, stats: Any) -> Landscape:
    """Reads the two tables, as `data.from_table` does: paths of CSV or Parquet files, or data frames.

    Rows of `stats` of campaigns that are not in `campaigns`, or outside a campaign's hours, are left out, as in BAT's
    own simulator. Rows of one price are added up.

    Raises:
        TableError: Cells that break a rule, a column that is missing, or a campaign that is there twice; with rows.
        FileNotFoundError: A file is not there.
    """
    found = _read_campaigns(campaigns)
    first_hour = np.concatenate([[0], np.cumsum(found.n_hours)])
    rows = _read(stats, STATS_COLUMNS).values
    order = np.argsort(found.number, kind="stable")
    place = np.minimum(np.searchsorted(found.number[order], rows["campaign_id"]), len(order) - 1)
    campaign = order[place]
    number = np.floor_divide(rows["period"] - found.start[campaign], SECONDS_AN_HOUR).astype(np.int64)
    kept = (found.number[campaign] == rows["campaign_id"]) & (number >= 0) & (number < found.n_hours[campaign])
    hour, price_bin = (first_hour[campaign] + number)[kept], rows["contact_price_bin"][kept].astype(np.int64)
    order = np.lexsort((price_bin, hour))
    hour, price_bin = hour[order], price_bin[order]
    amounts = [rows[name][kept][order] for name in AMOUNTS]
    amounts.append(amounts[CONTACTS] * bin_prices(price_bin))
    lowest = int(price_bin.min(initial=0))
    span = int(price_bin.max(initial=0)) - lowest + 2
    return Landscape(
        campaigns=found,
        first_hour=first_hour,
        first_row=np.searchsorted(hour, np.arange(first_hour[-1] + 1)).astype(np.int64),
        key=hour * span + price_bin - lowest + 1,
        lowest=lowest,
        span=span,
        sums=np.concatenate([np.zeros((1, len(amounts))), np.cumsum(np.stack(amounts, axis=1), axis=0)]),
    )


class _Rows(NamedTuple):
    """A table's columns, and where to note what is wrong with them."""

    values: dict[str, NDArray[Any]]
    problems: Problems


def _read(frame: str | os.PathLike[str] | Any, columns: dict[str, Kind]) -> _Rows:
    source = str(frame) if is_path(frame) else ""
    here = column_names(frame)
    lacking = [name for name in columns if name not in here]
    if lacking:
        raise TableError([TableProblem(source, None, name, f"must be a column, found {here}") for name in lacking])
    table = to_arrow(frame, columns)
    if not table.num_rows:
        raise TableError([TableProblem(source, None, "", "must have rows, found none")])
    problems = Problems([source], [table.num_rows], {})
    rows = {name: read_cells(name, table.column(name), kind, problems) for name, kind in columns.items()}
    problems.raise_any()
    return _Rows(rows, problems)


def _read_campaigns(frame: Any) -> Campaigns:
    rows, problems = _read(frame, CAMPAIGN_COLUMNS)
    start = np.floor_divide(rows["campaign_start"], SECONDS_AN_HOUR).astype(np.int64) * SECONDS_AN_HOUR
    end, number = rows["campaign_end"], rows["campaign_id"].astype(np.int64)
    problems.add(
        "campaign_end",
        np.flatnonzero(end <= rows["campaign_start"]),
        lambda row: f"must be after `campaign_start`, {rows['campaign_start'][row]:.15g}, found {end[row]:.15g}",
    )
    is_again = np.ones(len(number), bool)
    is_again[np.unique(number, return_index=True)[1]] = False
    again = np.flatnonzero(is_again)
    problems.add("campaign_id", again, lambda row: f"must be one row each, found {number[row]} again")
    problems.raise_any()
    n_hours = np.ceil((end - start) / SECONDS_AN_HOUR).astype(np.int64)
    return Campaigns(number, start, n_hours, rows["auction_budget"], rows["region_id"].astype(np.int64))
