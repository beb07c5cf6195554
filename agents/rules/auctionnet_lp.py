"""AuctionNet's "online LP" baseline, rule by rule: a table of thresholds from one logged period.

Its training (arXiv 2412.10798, `strategy_train_env`, online LP) makes a table for each category and tick: a random
eighth of the category's rows of the log (a category has eight advertisers) from that tick on, in the order of price
over value, price / (value + 0.0001), with their cumulative price. Rows without a value, and with a price of at most
0.0001, are left out; so is what lies beyond 6,000 currency; one row in 10 currency is kept. Its strategy bids threshold
x value with the first threshold whose cumulative price exceeds the money left, the target CPA if there is none, and at
most 1.5 times the target CPA.

`agents.rules.online_lp` is another rule: it has the thresholds of each advertiser and guards cost limits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.replay.market import ReplayMarket
from auction_env.tasks import REQUIREMENT_NAMES

Float = NDArray[np.float64]

_LOWEST_PRICE = 1e-4  # currency, at which AuctionNet does not sell
_VALUE_GUARD = 1e-4  # added to the value that a price is divided by
_MOST_OF_CPA = 1.5


class LpTable(NamedTuple):
    """Thresholds by category and tick, with ascending cumulative prices.

    Attributes:
        rows: By (category, tick): cumulative price, currency, and threshold, currency per conversion, (n,) each.
        n_ticks: Ticks of an episode.
    """

    rows: dict[tuple[int, int], tuple[Float, Float]]
    n_ticks: int


def auctionnet_lp_table(
    log: ReplayMarket,
    *,
    period: int | None = None,
    share: float = 1 / 8,
    interval: float = 10.0,
    max_budget: float = 6000.0,
    seed: int = 0,
) -> LpTable:
    """Makes the table of one logged period.

    Args:
        log: A log of impressions (`replay_from_auctionnet`, `load_replay`).
        period: Number of the period; the first of the log by default, as AuctionNet takes the first file.
        share: Of a category's rows: one over the number of its advertisers.
        interval, max_budget: Currency between two rows of the table, and at its end. AuctionNet's are for full-size
            periods; smaller ones need smaller ones.
        seed: Of the sample of rows, which AuctionNet draws without one.

    Raises:
        ValueError: An argument breaks a rule, or the log lacks the period.
    """
    if not 0 < share <= 1:
        raise ValueError(f"`share` must lie in (0, 1], found {share}")
    for name, money in (("interval", interval), ("max_budget", max_budget)):
        if not (np.isfinite(money) and money > 0):
            raise ValueError(f"`{name}` must be positive, found {money}")
    row = 0 if period is None else int(log.rows([period])[0])
    start, rng = log.log.tick_start[row], np.random.default_rng(seed)
    columns = slice(start[0], start[-1])
    price, tick = log.least_winning_costs(columns), np.repeat(np.arange(log.n_ticks), np.diff(start))
    present = np.isfinite(log.budget[row])
    rows: dict[tuple[int, int], tuple[Float, Float]] = {}
    for category in np.unique(log.category[present]):
        members = np.flatnonzero(present & (log.category == category))
        value = log.log.value[members, columns].astype(np.float64)
        member, impression = np.nonzero((value > 0) & (price > _LOWEST_PRICE))
        kept = rng.choice(len(member), round(len(member) * share), replace=False)
        member, impression = member[kept], impression[kept]
        ratio = price[impression] / (value[member, impression] + _VALUE_GUARD)
        order = np.argsort(ratio, kind="stable")
        ratio, impression = ratio[order], impression[order]
        for t in range(log.n_ticks):
            is_to_come = tick[impression] >= t
            cumulative = np.cumsum(price[impression[is_to_come]])
            within = int(np.searchsorted(cumulative, max_budget))
            picks = _thinned(cumulative[:within], interval)
            rows[int(category), t] = cumulative[picks], ratio[is_to_come][picks]
    return LpTable(rows, log.n_ticks)


def _thinned(cumulative: Float, interval: float) -> NDArray[np.int64]:
    """Positions of the rows that are kept: each at least `interval` beyond the one before, and the last."""
    picks: list[int] = []
    last = 0.0
    while (at := int(np.searchsorted(cumulative, last + interval))) < len(cumulative):
        picks.append(at)
        last = float(cumulative[at])
    if len(cumulative) and (not picks or picks[-1] < len(cumulative) - 1):
        picks.append(len(cumulative) - 1)
    return np.asarray(picks, np.int64)


class AuctionNetLpBidder(NamedBidder):
    """Bids the table's first threshold whose cumulative price exceeds the money left: see the module.

    Args:
        table: Of a log of the market that it plays in (`auctionnet_lp_table`).
        name: Label in tables.
    """

    def __init__(self, table: LpTable, *, name: str = "AuctionNet's LP") -> None:
        self.name, self._table = name, table

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes; ValueError if the table does not fit them."""
        if campaigns.n_ticks != self._table.n_ticks:
            raise ValueError(
                f"`table` must be of episodes of {campaigns.n_ticks} ticks, as they are played, found"
                f" {self._table.n_ticks}"
            )
        if np.any(campaigns.requirements[:, REQUIREMENT_NAMES.index("wants_conversions")] != 1):
            raise ValueError(f"bidder {self.name!r} must play tasks that count conversions, found another one")
        self._category, self._cpa = campaigns.category, campaigns.cpa_target

    def act(self, view: TickView) -> Float:
        """Multipliers, (n,) currency per conversion."""
        out = self._cpa.copy()
        for i, (category, left) in enumerate(zip(self._category.tolist(), view.budget_left, strict=True)):
            cumulative, threshold = self._table.rows.get((category, view.tick), (np.empty(0), np.empty(0)))
            at = int(np.searchsorted(cumulative, left, side="right"))
            if at < len(threshold):
                out[i] = threshold[at]
        return np.minimum(out, _MOST_OF_CPA * self._cpa)
