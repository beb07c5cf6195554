"""Columns that a log lacks, in some rows or in all: NaN there, and named in the metadata under "missing"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

MISSING = "missing"
"""Key of the metadata: the names of the columns that may hold NaN."""


class Log(Protocol):
    """What is asked of trajectories here."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The columns that may hold NaN."""
        ...

    def __getitem__(self, name: str) -> NDArray[Any]: ...


def missing_columns(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that a data set with this metadata may lack."""
    return tuple(metadata.get(MISSING, ()))


def require(data: Log, names: Iterable[str], purpose: str, rows: NDArray[Any] | None = None) -> None:
    """ValueError, which says what to do, if the log lacks one of the columns where it is needed.

    Args:
        data: The log.
        names: Columns of the schema.
        purpose: What they are needed for, to follow "needed for".
        rows: Those needed: a mask (n,) or indices; all by default.
    """
    missing = set(data.missing)
    chosen = slice(None) if rows is None else rows
    absent = [name for name in names if name in missing and np.isnan(data[name][chosen]).any()]
    if absent:
        raise ValueError(
            f"{', '.join(f'`{name}`' for name in absent)} must be recorded, needed for {purpose}, found missing in this"
            " log: import a log that has them, or estimate what can be estimated"
            " (`agents.labels.completion.complete`; `vamo train` does it itself)"
        )
