"""Small logs and the replay markets made from them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from auction_env import ReplayMarket, ReplayParams, replay_from_bids
from auction_env.data.formats.auctionnet_csv import LOG_COLUMNS

N_TICKS = 6


def make_log(seed: int, n: int = 150, n_advertisers: int = 7, n_slots: int = 3, coarse: bool = True) -> dict:
    """A random log; coarse bids make ties, bids of zero and below the reserve."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 0.2, (n, n_advertisers))
    bids = rng.uniform(0, 1, (n, n_advertisers))
    if coarse:
        bids, values = np.round(bids * 8) / 8, np.round(values * 40) / 40
    return {
        "tick": np.sort(rng.integers(0, N_TICKS, n)),
        "bids": bids,
        "values": values,
        "sigmas": values * 0.2,
        "exposed": rng.integers(-1, 2, (n, n_slots)),
        "budget": rng.uniform(0.5, 8, n_advertisers),
        "cpa_target": rng.uniform(2, 10, n_advertisers),
    }


def day_of_48_ticks(seed: int = 1, budget: float = 30.0) -> dict:
    """A log of AuctionNet's number of ticks, with 10 impressions each."""
    return make_log(seed, n=480) | {"tick": np.repeat(np.arange(48), 10), "budget": np.full(7, budget)}


def make_market(log: dict, *, period: int = 0, **rules: object) -> ReplayMarket:
    params = ReplayParams(**({"is_unsold_at_reserve": False} | rules))
    return replay_from_bids(**log, rules=params, n_ticks=N_TICKS, period=period)


def three_periods() -> ReplayMarket:
    """Numbers 10 to 12, the last of which lacks advertiser 0."""
    logs = [make_log(k) for k in (1, 2)]
    third = make_log(3, n_advertisers=6)
    rules = ReplayParams(is_unsold_at_reserve=False)
    third_market = replay_from_bids(**third, rules=rules, n_ticks=N_TICKS, period=12, advertisers=np.arange(1, 7))
    return ReplayMarket.concat([make_market(log, period=10 + k) for k, log in enumerate(logs)] + [third_market])


def log_rows(bids: list[list[float]], *, reserve: float) -> pd.DataFrame:
    """A log as AuctionNet writes it: a slot at the reserve price is unsold."""
    rows = []
    for pv, offers in enumerate(bids):
        order = sorted(range(len(offers)), key=lambda j: -offers[j])
        price = [max(([offers[k] for k in order] + [0.0])[s + 1], reserve) for s in range(3)]
        lwc = max(offers[order[3]] if len(order) > 3 else 0.0, reserve)
        for j, bid in enumerate(offers):
            slot = order.index(j) + 1 if order.index(j) < 3 and price[order.index(j)] > reserve else 0
            cost = price[slot - 1] if slot else 0.0
            head = [7, j, 0, 100.0, 50.0, 2, 100.0, pv, 0.001, 0.0, bid]
            rows.append([*head, int(slot > 0), slot, cost, int(slot > 0), 0, lwc, 0])
    return pd.DataFrame(rows, columns=LOG_COLUMNS)
