"""Data sets of schema version 1, as this version reads them: columns that they lack are filled as not recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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

NEW_COLUMNS = frozenset(column.name for column in COLUMNS if column.name not in VERSION_1_COLUMNS)
"""Columns that version 1 lacks. The numbers among them may be NaN, which says that they were not recorded."""

_NOT_RECORDED: dict[str, Any] = {"f": np.nan, "i": -1, "b": False}


def upgrade_table(table: pa.Table, columns: Sequence[Column] = COLUMNS) -> pa.Table:
    """A shard of version 1 with today's columns.

    A requirement that version 1 does not know is 0, which is how an absent constraint is written: its tasks had
    none but the budget and the CPA. Any other number is NaN, an integer -1, a text empty: not recorded.
    """
    n, out = table.num_rows, {}
    for column in columns:
        if column.name in VERSION_1_COLUMNS:
            out[column.name] = table.column(column.name)
        elif column.dtype == "str":
            out[column.name] = pa.array([""] * n, pa.string())
        else:
            dtype = np.dtype(column.dtype)
            value = 0.0 if column.name.startswith("requirement_") else _NOT_RECORDED[dtype.kind]
            out[column.name] = pa.array(np.full(n, value, dtype))
    return pa.table(out)
