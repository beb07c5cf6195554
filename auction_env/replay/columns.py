"""The arrays of a replay market while they are filled: in memory, or as files of a directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike, NDArray

_IMPRESSION_TYPES: dict[str, DTypeLike] = {
    "ladder_bid": np.float32,
    "ladder_advertiser": np.int16,
    "value": np.float32,
    "sigma": np.float32,
    "exposed": np.uint8,
    "known": np.uint8,
}
IMPRESSION_COLUMNS = tuple(_IMPRESSION_TYPES)
"""The arrays of a replay market that have an entry an impression."""


def make_columns(columns: Columns, n_ladder: int, n_advertisers: int, n: int) -> None:
    """Makes the arrays of n impressions."""
    rows = {"ladder_bid": n_ladder, "ladder_advertiser": n_ladder, "value": n_advertisers, "sigma": n_advertisers}
    for name, dtype in _IMPRESSION_TYPES.items():
        columns.make(name, dtype, (rows[name], n) if name in rows else (n,))


class Columns:
    """Arrays by name.

    An array in a file is mapped anew at each access: when the caller lets go of it, its pages no longer
    count as memory of the process. What an earlier process has written is found again.

    Args:
        directory: Where the files `NAME.npy` are; None: in memory.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._arrays: dict[str, NDArray[Any]] = {}

    def make(self, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
        """An array of zeros, or the file that is there with this type and shape."""
        if self._directory is None:
            self._arrays[name] = np.zeros(shape, dtype)
            return
        path = self._directory / f"{name}.npy"
        if not path.is_file():
            open_memmap(path, "w+", dtype, shape)
        found = open_memmap(path, "r+")
        if found.shape != shape or found.dtype != dtype:
            raise ValueError(f"{path} must hold {dtype} of shape {shape}, found {found.dtype} of {found.shape}")

    def __getitem__(self, name: str) -> NDArray[Any]:
        if self._directory is None:
            return self._arrays[name]
        return np.asarray(open_memmap(self._directory / f"{name}.npy", "r+"))

    def scratch(self, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
        """An array of zeros beside the others, until `drop_scratch`."""
        if self._directory is None or not np.prod(shape):
            return np.zeros(shape, dtype)
        return np.asarray(open_memmap(self._scratch(name), "w+", dtype, shape))

    def drop_scratch(self, name: str) -> None:
        """Removes the file of a scratch array, if there is one; whoever holds the array keeps it."""
        if self._directory is not None:
            self._scratch(name).unlink(missing_ok=True)

    def _scratch(self, name: str) -> Path:
        assert self._directory is not None
        return self._directory.with_name(f"{name}.npy")
