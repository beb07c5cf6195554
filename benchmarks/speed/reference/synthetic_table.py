"""An advertiser's own log with made-up numbers, as a Parquet table with a row a campaign and tick."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

N_CAMPAIGNS, N_TICKS = 1_000, 48


def write_table(path: Path, *, n_episodes: int) -> int:
    """Writes the table, sorted by period, campaign and tick; returns its number of rows."""
    rng, n = np.random.default_rng(0), n_episodes * N_TICKS
    episode = np.repeat(np.arange(n_episodes), N_TICKS)
    columns = {
        "period": episode // N_CAMPAIGNS,
        "campaign": episode % N_CAMPAIGNS,
        "tick": np.tile(np.arange(N_TICKS), n_episodes),
        "bid": rng.uniform(0.01, 0.1, n),
        "cost": rng.uniform(0.0, 1.0, n),
        "volume": np.full(n, 1_000),
        "impressions": rng.integers(0, 300, n),
        "conversions": rng.poisson(0.2, n),
        "budget": np.full(n, 100.0),
        "cpa_target": np.full(n, 8.0),
    }
    pq.write_table(pa.table(columns), path)
    return n
