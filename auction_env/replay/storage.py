"""Replay markets on disk: a directory with a manifest and a file an array, without pickles."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auction_env.data.manifest import code_version
from auction_env.files import own_directory, sha256_of, staged_directory
from auction_env.kernels.replay import ReplayLog
from auction_env.replay.columns import Columns
from auction_env.replay.market import FULL_LADDER, LEAST_WINNING_COST, Assumption, ReplayMarket
from auction_env.replay.params import ReplayParams

FORMAT_VERSION = 2
MANIFEST = "replay.json"
_OF_MARKET = ("periods", "advertisers", "budget", "cpa_target", "category")
_NAMES = (*ReplayLog._fields, *_OF_MARKET)
_SMALL = 4096  # bytes of a file that is not worth a mapping
_FILES = {name: f"{name}.npy" for name in _NAMES}


class ReplayError(ValueError):
    """A directory that is not a sound replay market; names the file, the rule and the value."""


def check_target(directory: str | os.PathLike[str], *, force: bool) -> Path:
    """The path of a market that is to be written.

    Raises:
        FileExistsError: The directory holds files and `force` is False, or files of something else.
    """
    return own_directory(directory, "a replay market", {MANIFEST, *_FILES.values()}.__contains__, force=force)


def save_replay(market: ReplayMarket, directory: str | os.PathLike[str], *, force: bool = False) -> None:
    """Writes a market to a directory: `replay.json` and a `.npy` file an array; renamed when complete.

    Raises:
        FileExistsError: The directory holds files and `force` is False, or files of something else.
    """
    target = check_target(directory, force=force)
    with staged_directory(target) as stage:
        write_market(stage, market)


def join_replays(
    directories: Sequence[str | os.PathLike[str]], target: str | os.PathLike[str], *, force: bool = False
) -> None:
    """Writes the periods of several saved markets as one (`ReplayMarket.concat`), in the memory of one.

    Raises:
        FileExistsError, FileNotFoundError, ReplayError: As of `save_replay` and `load_replay`.
        ValueError: No market, or their rules, assumptions or ticks differ.
    """
    place = check_target(target, force=force)
    markets = [load_replay(directory, mmap=True) for directory in directories]
    with staged_directory(place) as stage:
        write_market(stage, ReplayMarket.concat(markets, Columns(stage)))


def write_market(directory: Path, market: ReplayMarket) -> None:
    """Writes the arrays of a market that are not files there yet, and its manifest."""
    arrays = market.log._asdict() | {name: getattr(market, name) for name in _OF_MARKET}
    files = {}
    for name, array in arrays.items():
        path = directory / _FILES[name]
        if not path.exists():
            np.save(path, array, allow_pickle=False)
        files[name] = {"n_bytes": path.stat().st_size, "sha256": sha256_of(path)}
    manifest = {
        "format_version": FORMAT_VERSION,
        "code_version": code_version(),
        "assumption": market.assumption,
        "rules": {name: getattr(market.rules, name) for name in ReplayParams.__slots__},
        "files": files,
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def load_replay(directory: str | os.PathLike[str], *, mmap: bool = False) -> ReplayMarket:
    """Reads what `save_replay` wrote and checks it against its manifest.

    Args:
        directory: Where it is.
        mmap: Open the arrays as memory-mapped files instead of reading them: at once, whatever the size, and processes
            on a machine share their memory. Then the sizes of the files are checked, and not their SHA-256.

    Raises:
        FileNotFoundError: The directory has no manifest.
        ReplayError: The files are of another version, changed, truncated or not of this format.
    """
    path = Path(directory)
    if not (path / MANIFEST).is_file():
        raise FileNotFoundError(f"{path} must be a replay market: it has no {MANIFEST}")
    rules, assumption, files = _read_manifest(path / MANIFEST)
    arrays = {name: _read_array(path / _FILES[name], files[name], mmap=mmap) for name in _NAMES}
    log = ReplayLog(**{name: arrays.pop(name) for name in ReplayLog._fields})
    try:
        return ReplayMarket(rules=rules, assumption=assumption, log=log, **arrays)
    except ValueError as error:
        raise ReplayError(f"{path}: must hold the arrays of a replay market: {error}") from error


def _read_array(path: Path, stated: dict[str, Any], *, mmap: bool) -> NDArray[Any]:
    try:
        n_bytes = path.stat().st_size
        if n_bytes != stated["n_bytes"]:
            raise ReplayError(f"{path}: changed: it must have {stated['n_bytes']} bytes, found {n_bytes}")
        if not mmap and sha256_of(path) != stated["sha256"]:
            raise ReplayError(f"{path}: changed: its SHA-256 must be {stated['sha256']}")
        # "c": nobody writes, and the kernels compiled for arrays in memory take these too, unlike read-only ones
        return np.asarray(np.load(path, mmap_mode="c" if mmap and n_bytes > _SMALL else None, allow_pickle=False))
    except FileNotFoundError as error:
        raise ReplayError(f"{path}: must exist, as {MANIFEST} names it") from error
    except (ValueError, EOFError) as error:
        if isinstance(error, ReplayError):
            raise
        raise ReplayError(f"{path}: must hold an array: {error}") from error


def _read_manifest(path: Path) -> tuple[ReplayParams, Assumption, dict[str, dict[str, Any]]]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReplayError(f"{path}: must be JSON: {error}") from error
    version = record.get("format_version") if isinstance(record, dict) else None
    if type(version) is not int or version != FORMAT_VERSION:
        raise ReplayError(
            f"{path}: `format_version` must be {FORMAT_VERSION}, found {version!r}: make the market from its logs again"
        )
    try:
        rules = record["rules"] | {"exposure": tuple(record["rules"]["exposure"])}
        assumption = record["assumption"]
        if assumption not in (FULL_LADDER, LEAST_WINNING_COST):
            raise ValueError(f"`assumption` must be {FULL_LADDER!r} or {LEAST_WINNING_COST!r}, found {assumption!r}")
        files = {name: dict(record["files"][name]) for name in _NAMES}
        if not all({"n_bytes", "sha256"} <= set(stated) for stated in files.values()):
            raise ValueError("`files` must state `n_bytes` and `sha256` of each array")
        return ReplayParams(**rules), assumption, files
    except (KeyError, TypeError, ValueError) as error:
        raise ReplayError(f"{path}: must hold `rules`, `assumption` and `files`: {error!r}") from error
