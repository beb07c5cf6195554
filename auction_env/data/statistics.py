"""Statistics of columns, as the manifest states them for each shard and for the whole data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from auction_env.data.schema import COLUMNS

MAX_VALUES = 256
"""Text columns and integer columns with at most so many distinct values have them listed."""

Statistics = dict[str, Any]
"""Of a column: `min`, `max` and `mean` (None where nothing is recorded), `n_distinct` and `values` of texts and of
integers with few distinct values; a text column has only the last two."""


def table_statistics(table: pa.Table) -> dict[str, Statistics]:
    """The statistics of every column of the schema in a shard's table."""
    return {column.name: _of_column(table.column(column.name), column.dtype) for column in COLUMNS}


def _of_column(array: pa.ChunkedArray, dtype: str) -> Statistics:
    if dtype == "str":
        return _listed(sorted(pc.unique(array).to_pylist()))
    values = array.to_numpy()
    recorded = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not len(recorded):
        return {"min": None, "max": None, "mean": None}
    out: Statistics = {
        "min": recorded.min().item(),
        "max": recorded.max().item(),
        "mean": float(recorded.mean(dtype=np.float64)),
    }
    if values.dtype.kind == "i":
        out |= _listed(np.unique(values).tolist())
    return out


def _listed(values: Sequence[Any]) -> Statistics:
    if len(values) > MAX_VALUES and not isinstance(values[0], str):
        return {}
    return {"n_distinct": len(values), "values": list(values)}


def merge_statistics(parts: Sequence[tuple[int, Mapping[str, Statistics]]]) -> dict[str, Statistics]:
    """The statistics of shards together, from (number of rows, statistics) of each.

    The mean of a column that some rows do not record is that of the shards' means, weighted by their rows.
    """
    merged: dict[str, Statistics] = {}
    for column in COLUMNS:
        of_parts = [(n, part[column.name]) for n, part in parts]
        out: Statistics = {}
        if column.dtype != "str":
            known = [(n, part) for n, part in of_parts if part["min"] is not None]
            total = sum(n for n, _ in known)
            out = {
                "min": min((part["min"] for _, part in known), default=None),
                "max": max((part["max"] for _, part in known), default=None),
                "mean": sum(n * part["mean"] for n, part in known) / total if known else None,
            }
        if all("values" in part for _, part in of_parts):
            out |= _listed(sorted({value for _, part in of_parts for value in part["values"]}))
        merged[column.name] = out
    return merged
