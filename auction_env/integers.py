"""Integers from outside: seeds, advertisers, days. What is not an integer is refused, never rounded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Int = NDArray[np.int64]


def check_integers(name: str, values: ArrayLike | Iterable[Any]) -> Int:
    """Values as an int64 array of their own shape.

    Args:
        name: What an error calls them.
        values: An integer, or a sequence or array of them.

    Raises:
        ValueError: A value that is not an integer: 1.9, True, "3", None, or one beyond 64 bits. 1.0 is none, either.
    """
    given = values if isinstance(values, np.ndarray) else np.asarray(values, object)
    if np.issubdtype(given.dtype, np.signedinteger):
        return given.astype(np.int64)
    # one by one: NumPy would make integers of True beside 2, and texts of 2 beside "3"
    for value in given.astype(object).reshape(-1):
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
            raise ValueError(f"`{name}` must {'hold integers' if given.ndim else 'be an integer'}, found {value!r}")
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"`{name}` must fit into 64 bits, found {value}")
    return given.astype(np.int64)


def check_integer(name: str, value: object) -> int:
    """One integer; raises as `check_integers`."""
    found = check_integers(name, value)  # type: ignore[arg-type]  # it says what is wrong with any object
    if found.ndim:
        raise ValueError(f"`{name}` must be one integer, found {value!r}")
    return int(found)
