"""Train, validation and test episodes: dealt once by seed, written beside the shards, named by the manifest."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from auction_env.data.manifest import (
    DataSetError,
    Manifest,
    read_buffer,
    read_manifest,
    read_shard,
    write_manifest,
)
from auction_env.files import BY_FORCE, write_atomically

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
"""The names of the parts of a split data set."""

_PREFIX = "splits-"


@dataclass(frozen=True)
class Assignment:
    """Which part of the split each episode belongs to; rows are sorted by (period, advertiser) and unique.

    Attributes:
        period, advertiser: (n_episodes,) int64.
        code: (n_episodes,) indices into `SPLITS`.
    """

    period: Int
    advertiser: Int
    code: NDArray[np.int8]

    @property
    def names(self) -> tuple[str, ...]:
        """The parts that have episodes."""
        return tuple(name for code, name in enumerate(SPLITS) if (self.code == code).any())

    @cached_property
    def _key(self) -> tuple[Int, int, Int]:
        periods = np.unique(self.period)
        width = int(self.advertiser.max()) + 1
        return periods, width, np.searchsorted(periods, self.period) * width + self.advertiser

    def count(self, name: str) -> int:
        """Number of episodes of a part."""
        return int((self.code == SPLITS.index(name)).sum())

    def periods(self, name: str) -> Int:
        """The periods that have episodes of a part, ascending."""
        return np.unique(self.period[self.code == SPLITS.index(name)])

    def mask(self, name: str, period: NDArray[Any], advertiser: NDArray[Any]) -> Bool:
        """(n,) whether the episodes (period, advertiser), which must be of the data set, are of a part."""
        periods, width, keys = self._key
        key = np.searchsorted(periods, period) * width + advertiser
        return np.asarray(self.code[np.searchsorted(keys, key)] == SPLITS.index(name))


def deal(n: int, n_held_out: Sequence[int], key: Sequence[int]) -> NDArray[np.int8]:
    """Deals n episodes at random: 0 for training, k for the k-th held-out part.

    Args:
        n: Number of episodes.
        n_held_out: Size of each held-out part; training gets the rest.
        key: Integers that determine the draw.
    """
    order = np.random.default_rng(list(key)).permutation(n)
    codes = np.zeros(n, np.int8)
    first = 0
    for part, size in enumerate(n_held_out, start=1):
        codes[order[first : first + size]] = part
        first += size
    return codes


def write_splits(
    directory: str | os.PathLike[str],
    *,
    seed: int = 0,
    validation: float | int = 0.1,
    test: float | int = 0.1,
    contiguous: bool = False,
    force: bool = False,
) -> dict[str, int]:
    """Splits the episodes of a data set into train, validation and test, once and for all.

    Every episode, that is (period, advertiser), belongs to exactly one part. At random, each task's episodes are
    dealt on their own, so that a rare task is in every part. With `contiguous`, whole periods are held out: the
    last ones are the test set, those before them the validation set (the paper's first version tests on the last
    day); the seed then plays no role.

    Args:
        directory: The data set.
        seed: Seed of the draw, integer >= 0.
        validation, test: Held-out amounts: a float is a share (at least one is held out if it is above 0), an int a
            number; of each task's episodes or, with `contiguous`, of the periods. 0 leaves the part empty.
        contiguous: Whether whole last periods are held out.
        force: Whether a split that is there already is replaced.

    Returns:
        The number of episodes of each part.

    Raises:
        FileExistsError: The data set is split already and `force` is False.
        ValueError: An amount is out of range, or there are too few episodes or periods.
    """
    path, manifest = Path(directory), read_manifest(directory)
    if manifest.splits is not None and not force:
        raise FileExistsError(f"{path} is split already (seed {manifest.splits['seed']}): keep it, or {BY_FORCE}")
    if seed < 0:
        raise ValueError(f"`seed` must not be negative, found {seed}")
    period, advertiser, task = _episodes(path, manifest)
    amounts = {VALIDATION: validation, TEST: test}
    if contiguous:
        code = _last_periods(period, amounts)
    else:
        code = np.zeros(len(period), np.int8)
        for index, text in enumerate(sorted(set(task.tolist()))):
            chosen = np.flatnonzero(task == text)
            sizes = held_out_sizes(len(chosen), amounts, f"episodes of task {text}")
            code[chosen] = deal(len(chosen), sizes, [seed, index])
    assignment = Assignment(period, advertiser, code)
    record = {"seed": seed, "contiguous": contiguous, "validation": validation, "test": test}
    _store(path, manifest, assignment, record)
    return {name: assignment.count(name) for name in SPLITS}


def held_out_sizes(n: int, amounts: Mapping[str, float | int], of_what: str) -> list[int]:
    """The size of each held-out part; ValueError, naming `of_what`, if fewer than one of n is left to train on."""
    sizes = []
    for name, amount in amounts.items():
        is_count = isinstance(amount, int) and not isinstance(amount, bool)
        if not (amount >= 0 and (is_count or amount < 1)):
            raise ValueError(f"`{name}` must be a number >= 0 or a share in [0, 1), found {amount!r}")
        sizes.append(int(amount) if is_count else max(round(amount * n), 1) if amount else 0)
    if sum(sizes) >= n:
        wanted = " and ".join(f"{size} for {name}" for name, size in zip(amounts, sizes, strict=True))
        raise ValueError(f"there must be more {of_what} than are held out ({wanted}), found {n}")
    return sizes


def read_splits(directory: Path, manifest: Manifest) -> Assignment:
    """The split of a data set.

    Raises:
        ValueError: The data set is not split.
        DataSetError: The file of the split is missing or changed.
    """
    if manifest.splits is None:
        raise ValueError(f"`split` needs a data set that is split: {directory} is not, see `write_splits`")
    try:
        name, digest = manifest.splits["file"], manifest.splits["sha256"]
    except (KeyError, TypeError) as error:
        raise DataSetError(f"{directory}: `splits` must name a `file` and its `sha256`: {error!r}") from error
    if Path(name).name != name or not name.startswith(_PREFIX):
        raise DataSetError(
            f"{directory}: `file` of `splits` must look like 'splits-0123456789ab.parquet', found {name!r}"
        )
    path = directory / name
    if not path.is_file():
        raise DataSetError(f"{path}: must exist, as the manifest names it")
    raw = read_buffer(path)
    if hashlib.sha256(raw).hexdigest() != digest:
        raise DataSetError(f"{path}: changed: SHA-256 must be {digest}, found {hashlib.sha256(raw).hexdigest()}")
    table = pq.ParquetFile(pa.BufferReader(raw)).read()
    return Assignment(*(table.column(column).to_numpy() for column in ("period", "advertiser", "code")))


def is_splits_file(name: str) -> bool:
    """Whether a file of a data set is its split, or an old one."""
    return name.startswith(_PREFIX) and name.endswith(".parquet")


def _episodes(directory: Path, manifest: Manifest) -> tuple[Int, Int, NDArray[Any]]:
    """Period, advertiser and task of every episode, sorted by period and advertiser."""
    seen: dict[tuple[int, int], str] = {}
    for shard in manifest.shards:
        table = read_shard(directory, shard, columns=["period", "advertiser", "task"])
        keys = table.group_by(["period", "advertiser"]).aggregate([("task", "min")])
        columns = (keys.column(name).to_pylist() for name in ("period", "advertiser", "task_min"))
        seen |= {(period, advertiser): task for period, advertiser, task in zip(*columns, strict=True)}
    ordered = sorted(seen)
    period, advertiser = np.array(ordered, np.int64).T
    return np.ascontiguousarray(period), np.ascontiguousarray(advertiser), np.array([seen[key] for key in ordered])


def _last_periods(period: Int, amounts: Mapping[str, float | int]) -> NDArray[np.int8]:
    periods = np.unique(period)
    sizes = held_out_sizes(len(periods), amounts, "periods")
    code_of = np.zeros(len(periods), np.int8)
    n_train = len(periods) - sum(sizes)
    code_of[n_train : n_train + sizes[0]] = SPLITS.index(VALIDATION)
    code_of[n_train + sizes[0] :] = SPLITS.index(TEST)
    return np.asarray(code_of[np.searchsorted(periods, period)])


def _store(directory: Path, manifest: Manifest, assignment: Assignment, record: Mapping[str, Any]) -> None:
    """Writes the file, then the manifest that names it, then removes the file of an earlier split."""
    sink = pa.BufferOutputStream()
    columns = {"period": assignment.period, "advertiser": assignment.advertiser, "code": assignment.code}
    pq.write_table(pa.table(columns), sink, compression="zstd")
    raw = sink.getvalue().to_pybytes()
    digest = hashlib.sha256(raw).hexdigest()
    name = f"{_PREFIX}{digest[:12]}.parquet"
    write_atomically(directory / name, raw)
    counts = {part: assignment.count(part) for part in SPLITS}
    splits = {**record, "parts": list(SPLITS), "n_episodes": counts, "file": name, "sha256": digest}
    write_manifest(directory, dataclasses.replace(manifest, splits=splits))
    for entry in directory.iterdir():
        if is_splits_file(entry.name) and entry.name != name:
            entry.unlink()
