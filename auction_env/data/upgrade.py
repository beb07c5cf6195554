"""Data sets of schema version 1, as this version reads them: columns that they lack are filled as not recorded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from auction_env.data.schema import COLUMNS, FEATURE_COLUMNS, Column

VERSION_1_COLUMNS = (
    *("period", "advertiser", "tick", "category", "seed", "task", "budget", "cpa_target"),
    *FEATURE_COLUMNS,
    *("requirement_budget", "requirement_cpa_limit", "requirement_has_cpa_limit"),
    *("action", "reward", "reward_continuous", "done", "n_impressions", "bid", "value_all", "wins", "exposures"),
    *("cost", "conversions", "value", "least_winning_cost", "budget_left"),
)
"""The columns of schema version 1, in its order."""

_RENAMED = ('"objective": "value"', '"objective": "continuous_conversions"')


def upgrade_table(table: pa.Table, columns: Sequence[Column] = COLUMNS) -> pa.Table:
    """A shard of version 1 with today's columns.

    Its tasks counted conversions, under a budget and perhaps a CPA limit, and nothing else was recorded: the
    numbers that it lacks are 0 (`schema.UNRECORDED`) and the policy is empty.
    """
    n, out = table.num_rows, {}
    for column in columns:
        if column.name == "task":  # "value" is what the objective of predicted conversions was called
            texts = pa.array([text.replace(*_RENAMED) for text in table.column("task").to_pylist()], pa.string())
            out["task"] = texts
        elif column.name in VERSION_1_COLUMNS:
            out[column.name] = table.column(column.name)
        elif column.dtype == "str":
            out[column.name] = pa.array([""] * n, pa.string())
        else:
            value = 1.0 if column.name == "requirement_wants_conversions" else 0.0
            out[column.name] = pa.array(np.full(n, value))
    return pa.table(out)
