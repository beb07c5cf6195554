"""A table with a row a campaign and tick to features in pandas, as one writes it with group-bys."""

from __future__ import annotations

import os
from typing import Any

import pandas as pd

KEY = ["period", "campaign"]
WINDOW = 3


def table_pandas(path: str | os.PathLike[str], n_ticks: int) -> pd.DataFrame:
    """Reads a Parquet file; adds the features that an advertiser's own log tells, and the budget left.

    `auction_env.data.from_table` is timed against it.
    """
    rows = pd.read_parquet(path).sort_values([*KEY, "tick"], ignore_index=True)
    episodes = rows.groupby(KEY, sort=False)
    volume = rows["volume"].clip(lower=1)
    spent = episodes["cost"].cumsum() - rows["cost"]
    rows["budget_left"] = rows["budget"] - spent
    rows["feature_time_left"] = (n_ticks - rows["tick"]) / n_ticks
    rows["feature_budget_left"] = rows["budget_left"] / rows["budget"]
    means = {
        "bid": rows["bid"],
        "conversions": rows["conversions"] / volume,
        "win_rate": rows["impressions"] / volume,
    }
    for name, values in means.items():
        past = values.groupby([rows[key] for key in KEY], sort=False).shift(1)
        by_episode: Any = past.groupby([rows[key] for key in KEY], sort=False)
        rows[f"feature_{name}_all"] = (by_episode.cumsum() / by_episode.cumcount().clip(lower=1)).fillna(0.0)
        recent = by_episode.rolling(WINDOW, min_periods=1).mean()
        rows[f"feature_{name}_last_3"] = recent.reset_index(level=[0, 1], drop=True).fillna(0.0)
    past = episodes["volume"].shift(1)
    by_episode = past.groupby([rows[key] for key in KEY], sort=False)
    rows["feature_volume_now"] = rows["volume"]
    rows["feature_volume_all"] = by_episode.cumsum().fillna(0.0)
    recent = by_episode.rolling(WINDOW, min_periods=1).sum()
    rows["feature_volume_last_3"] = recent.reset_index(level=[0, 1], drop=True).fillna(0.0)
    return rows
