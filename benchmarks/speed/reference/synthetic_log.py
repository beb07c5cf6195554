"""A log in AuctionNet's CSV schema with made-up numbers of realistic length, for measuring importers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

N_TICKS, N_ADVERTISERS, N_IMPRESSIONS = 48, 48, 100


def write_log(path: Path, *, n_periods: int, seed: int = 0) -> int:
    """Writes n_periods x 48 ticks x 100 impressions x 48 advertisers; returns the number of rows."""
    rng = np.random.default_rng(seed)
    for period in range(n_periods):
        frame = _period(rng, period)
        frame.to_csv(path, mode="w" if period == 0 else "a", header=period == 0, index=False)
    return n_periods * N_TICKS * N_ADVERTISERS * N_IMPRESSIONS


def _period(rng: np.random.Generator, period: int) -> pd.DataFrame:
    shape = (N_TICKS, N_IMPRESSIONS, N_ADVERTISERS)
    tick, impression, advertiser = (index.ravel().astype(float) for index in np.indices(shape))
    n = tick.size
    value = np.abs(rng.normal(5e-4, 2.5e-4, n))
    bid = 90 * value
    won = rng.random(n) < 3 / N_ADVERTISERS
    exposed = won & (rng.random(n) < 0.8)
    budget = 20.0 + advertiser
    return pd.DataFrame(
        {
            "deliveryPeriodIndex": float(period),
            "advertiserNumber": advertiser,
            "advertiserCategoryIndex": advertiser // 8,
            "budget": budget,
            "CPAConstraint": 60 + advertiser,
            "timeStepIndex": tick,
            "remainingBudget": budget * (1 - tick / N_TICKS),
            "pvIndex": impression,
            "pValue": value,
            "pValueSigma": 0.15 * value,
            "bid": bid,
            "xi": won.astype(float),
            "adSlot": won * rng.integers(1, 4, n).astype(float),
            "cost": np.where(won, 0.9 * bid, 0.0),
            "isExposed": exposed.astype(float),
            "conversionAction": (exposed & (rng.random(n) < 1e-3)).astype(float),
            "leastWinningCost": 0.1 * (1 + rng.random(n)),
            "isEnd": (tick == N_TICKS - 1).astype(float),
        }
    )
