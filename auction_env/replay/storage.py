"""Replay markets on disk: a directory with a manifest and a file an array, no pickles, mapped when it is read."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auction_env.data.manifest import code_version
from auction_env.files import already_there, staged_directory
from auction_env.kernels.replay import ReplayLog
from auction_env.replay.market import FULL_LADDER, LEAST_WINNING_COST, Assumption, ReplayMarket
from auction_env.replay.params import ReplayParams

FORMAT_VERSION = 2
MANIFEST = "replay.json"
_SMALL = 1 << 20  # bytes, below which an array is read: mapping is for what does not fit into memory


_ARRAYS = (*ReplayLog._fields, "periods", "advertisers", "budget", "cpa_target", "category")


class ReplayError(ValueError):
    """A directory that is not a sound replay market; names the file, the rule and the value."""


def save_replay(market: ReplayMarket, directory: str | os.PathLike[str], *, force: bool = False) -> None:
    """Writes a market to a directory: a `.npy` file an array (no pickles) and `replay.json`; renamed when complete.

    Raises:
        FileExistsError: The directory holds files and `force` is False, or files of something else.
    """
    target = Path(directory).resolve()
    names = sorted(path.name for path in target.iterdir()) if target.is_dir() else []
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} must be a directory, found a file")
    if names and not force:
        raise already_there(target, repr(names[0]))
    foreign = [name for name in names if name not in {MANIFEST, *(f"{array}.npy" for array in _ARRAYS)}]
    if foreign:
        raise FileExistsError(f"{target} must hold nothing but a replay market, found {foreign[0]!r}")
    with staged_directory(target) as stage:
        for name in _ARRAYS:
            of_log = name in ReplayLog._fields
            np.save(stage / f"{name}.npy", getattr(market.log if of_log else market, name), allow_pickle=False)
        manifest = {
            "format_version": FORMAT_VERSION,
            "code_version": code_version(),
            "assumption": market.assumption,
            "rules": {name: getattr(market.rules, name) for name in ReplayParams.__slots__},
            "sha256": {name: _sha256(stage / f"{name}.npy") for name in _ARRAYS},
        }
        (stage / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def load_replay(directory: str | os.PathLike[str], *, is_checked: bool = True) -> ReplayMarket:
    """Opens what `save_replay` wrote.

    Large arrays are mapped: they are read from the files when they are used, and need no memory of their own.

    Args:
        directory: Where.
        is_checked: Whether the files are compared with the manifest, which reads them once.

    Raises:
        FileNotFoundError: The directory has no manifest.
        ReplayError: The files are of a newer version, changed, truncated or not of this format.
    """
    path = Path(directory)
    if not (path / MANIFEST).is_file():
        raise FileNotFoundError(f"{path} must be a replay market: it has no {MANIFEST}")
    rules, assumption, digests = _read_manifest(path / MANIFEST)
    arrays: dict[str, NDArray[Any]] = {}
    for name in _ARRAYS:
        file = path / f"{name}.npy"
        if not file.is_file():
            raise ReplayError(f"{file}: must exist: a replay market has {[f'{array}.npy' for array in _ARRAYS]}")
        if is_checked and _sha256(file) != digests.get(name):
            raise ReplayError(f"{file}: changed: its SHA-256 must be {digests.get(name)}")
        try:
            # "c" maps privately: kernels take writable arrays, and nothing is ever written to the file
            mapped = np.load(file, mmap_mode="c" if file.stat().st_size > _SMALL else None, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ReplayError(f"{file}: must be an array of NumPy's format: {error}") from error
        arrays[name] = mapped.view(np.ndarray)
    log = ReplayLog(**{name: arrays.pop(name) for name in ReplayLog._fields})
    return ReplayMarket(rules=rules, assumption=assumption, log=log, **arrays)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> tuple[ReplayParams, Assumption, dict[str, str]]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReplayError(f"{path}: must be JSON: {error}") from error
    version = record.get("format_version") if isinstance(record, dict) else None
    if version != FORMAT_VERSION:
        raise ReplayError(
            f"{path}: `format_version` must be {FORMAT_VERSION}, found {version!r}: import the log again and save it"
        )
    try:
        rules = record["rules"] | {"exposure": tuple(record["rules"]["exposure"])}
        assumption = record["assumption"]
        if assumption not in (FULL_LADDER, LEAST_WINNING_COST):
            raise ValueError(f"`assumption` must be {FULL_LADDER!r} or {LEAST_WINNING_COST!r}, found {assumption!r}")
        return ReplayParams(**rules), assumption, dict(record["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise ReplayError(f"{path}: must hold `rules`, `assumption` and `sha256`: {error!r}") from error
