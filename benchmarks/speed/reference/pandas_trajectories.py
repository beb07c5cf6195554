"""AuctionNet's trajectory files to training rows in pandas, the way forks of its repository read them.

States are evaluated text by text; what a tick was is derived by shifts within each trajectory. It holds the whole files
in memory. `auction_env.data.import_auctionnet_trajectories` is tested and timed against it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
import pandas as pd

from auction_env.control.observation import FEATURE_NAMES

EPISODE = ["deliveryPeriodIndex", "advertiserNumber"]


def import_pandas_trajectories(paths: Iterable[str | os.PathLike[str]]) -> pd.DataFrame:
    """Reads trajectory files without gaps into one row per (period, advertiser, tick), sorted by them.

    Returns:
        The plain columns as they are, the 16 features, and `n_impressions`, `offered_conversions`, `bid`, `cost`,
        `wins` and `least_winning_cost` of the tick: NaN in the last of an episode where they do not follow.
    """
    frame = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    states = frame["state"].map(lambda text: eval(text, {"np": np, "nan": np.nan}))  # as the forks do
    features = pd.DataFrame(states.to_list(), columns=[f"feature_{name}" for name in FEATURE_NAMES])
    frame = pd.concat([frame.drop(columns=["state", "next_state"]), features.fillna(0.0)], axis=1)
    frame = frame.sort_values([*EPISODE, "timeStepIndex"], ignore_index=True)
    episodes = frame.groupby(EPISODE)
    after = episodes[list(features)].shift(-1)
    n_seen = episodes.cumcount()

    def of_tick(name: str) -> pd.Series[float]:
        column = f"feature_{name}_all"
        return (n_seen + 1) * after[column] - n_seen * frame[column]

    frame["n_impressions"] = frame["feature_volume_now"]
    frame["offered_conversions"] = frame["feature_value_now"] * frame["n_impressions"]
    frame["bid"] = frame["action"] * frame["offered_conversions"]
    frame["wins"] = (of_tick("win_rate") * frame["n_impressions"]).round()
    frame["least_winning_cost"] = of_tick("least_winning_cost")
    frame["cost"] = frame["budget"] * (frame["feature_budget_left"] - after["feature_budget_left"])
    if "realAllCost" in frame:
        spent = episodes["cost"].transform("sum")
        frame["cost"] = frame["cost"].fillna(frame["realAllCost"] - spent)
    return frame
