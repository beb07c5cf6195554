"""Made-up tables in BAT's schema: campaigns, and what each price of a contact brings in each hour.

A campaign lasts 1 to 7 days. The views of an hour follow the time of day, with noise. The price of a contact that wins
a view is log-normal. Its median follows the time of day, too, and differs between campaigns. The click rate rises with
the price, as that of better places does. Contacts are a share of the clicks. An increment costs 75 % to 95 % of its
price in VCG. A budget is 10 % to 70 % of what all increments cost in VCG.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from auction_env.replay.bat.landscape import AMOUNTS, SECONDS_AN_HOUR, bin_prices, price_bins

Float = NDArray[np.float64]

START = 1_700_006_400 - 1_700_006_400 % 86_400  # Unix second of a midnight
_FEWEST_VIEWS = 0.01  # of a price, expected: less has no row
_SPREAD_OF_PRICES = 0.5  # standard deviation of the log
_BINS_ABOVE = 8  # prices of 1.2 ** 8 times the median, 3 standard deviations
_MEDIAN_PRICE, _VIEWS_AN_HOUR, _CLICK_RATE, _CONTACT_RATE = 20.0, 60.0, 0.03, 0.1


def made_up_bat(n_campaigns: int, seed: int) -> tuple[pa.Table, pa.Table]:
    """`campaigns.csv` and `stats.csv` as tables.

    Args:
        n_campaigns: Number of campaigns, numbered from 1,000 x seed on.
        seed: Of all draws.
    """
    rng = np.random.default_rng(seed)
    numbers = 1000 * seed + np.arange(n_campaigns)
    n_hours = 24 * rng.integers(1, 8, n_campaigns)
    first_hour = rng.integers(0, 24, n_campaigns)
    stats, budgets = [], np.empty(n_campaigns)
    for row in range(n_campaigns):
        columns = _hours(rng, int(first_hour[row]), int(n_hours[row]))
        budgets[row] = rng.uniform(0.1, 0.7) * columns["AuctionWinBidSurplus"].sum()
        stats.append(pa.table({"campaign_id": np.full(len(columns["period"]), numbers[row]), **columns}))
    start = START + SECONDS_AN_HOUR * first_hour
    campaigns = pa.table(
        {
            "campaign_id": numbers,
            "campaign_start": start,
            "campaign_end": start + SECONDS_AN_HOUR * n_hours,
            "auction_budget": budgets,
            "region_id": rng.integers(0, 80, n_campaigns),
        }
    )
    return campaigns, pa.concat_tables(stats)


def _hours(rng: np.random.Generator, first: int, n_hours: int) -> dict[str, NDArray[np.float64 | np.int64]]:
    """The rows of a campaign's hours, from an hour of the day on."""
    hour = np.arange(first, first + n_hours)
    day = 2 * np.pi * (hour % 24 - 15) / 24  # most views at 15 h
    scale = rng.lognormal(0.0, 0.6)  # of the campaign
    views = _VIEWS_AN_HOUR * scale * (1.0 + 0.8 * np.cos(day)) * rng.gamma(4.0, 0.25, n_hours)
    median = (
        _MEDIAN_PRICE * rng.lognormal(0.0, 0.5) * (1.0 + 0.3 * np.cos(day + 1.0)) * rng.lognormal(0.0, 0.1, n_hours)
    )
    click_rate = _CLICK_RATE * rng.lognormal(0.0, 0.4)
    contact_rate = _CONTACT_RATE * rng.lognormal(0.0, 0.3)
    middle = price_bins(median).astype(np.int64)
    bins = middle[:, None] + np.arange(-_BINS_ABOVE, _BINS_ABOVE + 1)  # (hours, bins)
    edges = (np.log(bin_prices(np.c_[bins[:, :1] - 1, bins])) - np.log(median)[:, None]) / _SPREAD_OF_PRICES
    won = np.diff(_normal_cdf(edges), axis=1) * views[:, None]
    place = np.linspace(0.7, 1.3, bins.shape[1])  # the click rate, over its middle
    clicks = won * click_rate * place
    contacts = clicks * contact_rate
    money = contacts * bin_prices(bins) * rng.uniform(0.75, 0.95, bins.shape)
    period = START + SECONDS_AN_HOUR * np.broadcast_to(hour[:, None], bins.shape)
    kept = won >= _FEWEST_VIEWS
    named = zip(AMOUNTS, (won, clicks, contacts, money), strict=True)
    return {"period": period[kept], "contact_price_bin": bins[kept], **{name: values[kept] for name, values in named}}


def _normal_cdf(z: Float) -> Float:
    """Logistic approximation of the standard normal's distribution function, within 0.01."""
    out: Float = 1.0 / (1.0 + np.exp(-1.702 * z))
    return out
