"""The columns of a trajectory data set, version 3: one row per (period, advertiser, tick).

The table is the single definition: the in-memory class, the Parquet shards and the importer follow it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from auction_env.control.observation import FEATURE_NAMES
from auction_env.tasks import REQUIREMENT_NAMES

SCHEMA_VERSION = 3
"""Raised whenever a column is added, removed or changes its meaning."""

SORT_KEY = ("period", "advertiser", "tick")
"""The order of the rows, and what no two rows may share."""

EPISODE_CONSTANTS = (
    "policy",
    "task", "category", "seed", "budget", "cpa_target", "cpc_target", "cart_cost_target", "roas_target",
)  # fmt: skip
"""Columns with one value per (period, advertiser)."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the data set.

    Attributes:
        name: Name in the files and, `task` aside, of the attribute of `TrajectoryData`.
        dtype: numpy dtype in memory; `str` is the JSON of a Task.
        description: Meaning and unit.
    """

    name: str
    dtype: str
    description: str

    @property
    def arrow_type(self) -> pa.DataType:
        """Type in the Parquet files."""
        if self.dtype == "str":
            return pa.string()
        return pa.from_numpy_dtype(np.dtype(self.dtype))


FEATURE_COLUMNS = tuple(f"feature_{name}" for name in FEATURE_NAMES)
REQUIREMENT_COLUMNS = tuple(f"requirement_{name}" for name in REQUIREMENT_NAMES)
OBSERVATION_COLUMNS = FEATURE_COLUMNS + REQUIREMENT_COLUMNS

COLUMNS = (
    Column("period", "int64", "delivery period"),
    Column("advertiser", "int32", "advertiser within the period"),
    Column("tick", "int32", "tick within the period, 0-based"),
    Column("category", "int32", "industry category of the advertiser"),
    Column("seed", "int64", "seed of the market; -1 when unknown"),
    Column("policy", "str", "name of the policy that bid; empty if unknown"),
    Column("task", "str", "JSON of the Task (`auction_env.tasks.Task.to_json`)"),
    Column("budget", "float64", "currency per episode"),
    Column("cpa_target", "float64", "currency per conversion"),
    Column("cpc_target", "float64", "currency per click; 0: clicks are not recorded"),
    Column("cart_cost_target", "float64", "currency per add-to-cart; 0: add-to-carts are not recorded"),
    Column("roas_target", "float64", "gross merchandise value per currency spent; 0: GMV is not recorded"),
    *(Column(name, "float64", "state feature (`auction_env.control.observation`)") for name in FEATURE_COLUMNS),
    *(Column(name, "float64", "requirement (`auction_env.tasks`)") for name in REQUIREMENT_COLUMNS),
    Column("action", "float64", "multiplier: bids / predicted amount of what the task's objective counts; 0 without"),
    Column("reward", "float64", "the objective earned, sampled: conversions, clicks, add-to-carts, GMV or surplus"),
    Column("reward_expected", "float64", "the same, predicted"),
    Column("done", "bool", "last tick of the period, or the campaign had ended when the tick began"),
    Column("n_impressions", "float64", "impressions of the tick"),
    Column("bid", "float64", "sum of bids over the impressions, currency"),
    Column("offered_conversions", "float64", "predicted conversions of all impressions, if exposed"),
    Column("offered_clicks", "float64", "predicted clicks of all impressions, if exposed"),
    Column("offered_add_to_carts", "float64", "predicted add-to-carts of all impressions, if exposed"),
    Column("offered_gmv", "float64", "predicted GMV of all impressions, if exposed, currency"),
    Column("wins", "float64", "impressions won"),
    Column("exposures", "float64", "impressions exposed"),
    Column("cost", "float64", "paid for exposed impressions, currency"),
    Column("conversions", "float64", "conversions of exposed impressions"),
    Column("expected_conversions", "float64", "predicted conversions of exposed impressions"),
    Column("clicks", "float64", "clicks on exposed impressions"),
    Column("expected_clicks", "float64", "predicted clicks of exposed impressions"),
    Column("add_to_carts", "float64", "add-to-carts of exposed impressions"),
    Column("expected_add_to_carts", "float64", "predicted add-to-carts of exposed impressions"),
    Column("gmv", "float64", "gross merchandise value of the conversions, currency"),
    Column("expected_gmv", "float64", "predicted GMV of exposed impressions, currency"),
    Column("least_winning_cost", "float64", "mean over the impressions, currency"),
    Column("budget_left", "float64", "at the start of the tick, currency"),
)
"""The columns of a trajectory data set, in the order of its files: one row per advertiser and tick."""

COLUMN_NAMES = tuple(column.name for column in COLUMNS)
"""The names of `COLUMNS`, in their order."""

UNRECORDED = (
    "cpc_target", "cart_cost_target", "roas_target", "clicks", "expected_clicks", "offered_clicks",
    "add_to_carts", "expected_add_to_carts", "offered_add_to_carts", "gmv", "expected_gmv", "offered_gmv",
)  # fmt: skip
"""Columns that a log of conversions alone does not have: 0 throughout. A target of 0 says so."""

MAY_BE_MISSING = tuple(
    column.name
    for column in COLUMNS
    if column.dtype == "float64"
    and column.name not in (*EPISODE_CONSTANTS, *REQUIREMENT_COLUMNS, "feature_time_left", "budget_left")
)
"""Columns that a log may lack (`auction_env.data.missing`)."""


def arrow_schema() -> pa.Schema:
    """The Arrow schema of every shard; no column holds nulls: what a log lacks is NaN."""
    return pa.schema([pa.field(column.name, column.arrow_type, nullable=False) for column in COLUMNS])
