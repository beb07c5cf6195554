"""AuctionNet logs to training rows in pandas, step by step the way AuctionNet's own generator goes about it.

One group per advertiser and period; per-tick means with expanding and rolling means shifted by a tick, merged
back into the group; then a loop over the ticks that builds the rows (arXiv 2412.10798, the offline data set).
It holds the whole logs in memory. `auction_env.data.import_auctionnet_impressions` is tested and timed against it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pandas as pd

N_TICKS = 48
WINDOW = 3

EPISODE_COLUMNS = [
    "deliveryPeriodIndex",
    "advertiserNumber",
    "advertiserCategoryIndex",
    "budget",
    "CPAConstraint",
]
FEATURE_SOURCES = {
    "bid": "bid",
    "leastWinningCost": "least_winning_cost",
    "pValue": "value",
    "conversionAction": "conversions",
    "xi": "win_rate",
}


def import_pandas(paths: Iterable[str | os.PathLike[str]]) -> pd.DataFrame:
    """Reads logs, plain or gzipped, into one row per (period, advertiser, tick), sorted by them.

    The columns are those of `auction_env.data.schema` but for `seed`, `task` and the requirements.
    """
    log = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    rows: list[dict[str, Any]] = []
    for _, group in log.groupby(EPISODE_COLUMNS):
        group = _add_history(group.sort_values("timeStepIndex", kind="stable"))
        for tick in group["timeStepIndex"].unique():
            rows.append(_tick_row(tick, group[group["timeStepIndex"] == tick]))
    return pd.DataFrame(rows).sort_values(["period", "advertiser", "tick"], ignore_index=True)


def _add_history(group: pd.DataFrame) -> pd.DataFrame:
    """Adds the features that summarise the past ticks to every row of one advertiser's period."""
    ticks = group.groupby("timeStepIndex")
    means = ticks[list(FEATURE_SOURCES)].mean()
    volume = ticks.size()
    history = pd.DataFrame(index=means.index)
    for column, name in FEATURE_SOURCES.items():
        history[f"feature_{name}_all"] = means[column].expanding().mean().shift(1)
        history[f"feature_{name}_last_3"] = means[column].rolling(WINDOW, min_periods=1).mean().shift(1)
    history["feature_volume_all"] = volume.cumsum().shift(1)
    history["feature_volume_last_3"] = volume.rolling(WINDOW, min_periods=1).sum().shift(1)
    return group.merge(history.fillna(0.0).reset_index(), on="timeStepIndex")


def _tick_row(tick: float, rows: pd.DataFrame) -> dict[str, Any]:
    """The row of one tick, from its impressions."""
    first = rows.iloc[0].to_dict()
    exposed = rows[rows["isExposed"] == 1]
    total_bid, total_value = rows["bid"].sum(), rows["pValue"].sum()
    return {
        "period": first["deliveryPeriodIndex"],
        "advertiser": first["advertiserNumber"],
        "tick": tick,
        "category": first["advertiserCategoryIndex"],
        "budget": first["budget"],
        "cpa_target": first["CPAConstraint"],
        "feature_time_left": (N_TICKS - tick) / N_TICKS,
        "feature_budget_left": first["remainingBudget"] / first["budget"],
        "feature_value_now": rows["pValue"].mean(),
        "feature_volume_now": len(rows),
        **{name: value for name, value in first.items() if name.startswith("feature_")},
        "action": total_bid / total_value if total_value > 0 else 0.0,
        "reward": exposed["conversionAction"].sum(),
        "reward_expected": exposed["pValue"].sum(),
        "done": tick == N_TICKS - 1 or first["isEnd"] == 1,
        "n_impressions": len(rows),
        "bid": total_bid,
        "offered_conversions": total_value,
        "wins": rows["xi"].sum(),
        "exposures": rows["isExposed"].sum(),
        "cost": exposed["cost"].sum(),
        "conversions": exposed["conversionAction"].sum(),
        "expected_conversions": exposed["pValue"].sum(),
        "least_winning_cost": rows["leastWinningCost"].mean(),
        "budget_left": first["remainingBudget"],
    }
