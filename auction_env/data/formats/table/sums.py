"""Sums by campaign and tick, added up while a log is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

KEY = ("campaign", "period", "tick")
ROWS_HELD = 1 << 20  # of partial sums, before they are added up


def sums_schema(campaign: pa.DataType, amounts: Sequence[str]) -> pa.Schema:
    """The schema of a table of sums."""
    return pa.schema(
        {"campaign": campaign, "period": pa.int64(), "tick": pa.int64()} | dict.fromkeys(amounts, pa.float64())
    )


def added(parts: Sequence[pa.Table]) -> pa.Table:
    """The amounts of tables of one schema summed up by `KEY`, in the order in which the keys come."""
    table = pa.concat_tables(parts)
    amounts = [name for name in table.column_names if name not in KEY]
    sums = table.group_by(list(KEY), use_threads=False).aggregate([(name, "sum") for name in amounts])
    return sums.select([*KEY, *(f"{name}_sum" for name in amounts)]).rename_columns([*KEY, *amounts])


def all_added(parts: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    """`added` for any number of parts, none included, of which few are held at a time."""
    held = [schema.empty_table()]
    for part in parts:
        held.append(part)
        if sum(len(one) for one in held[1:]) > ROWS_HELD:
            held = [added(held)]
    return added(held)
