"""Replay markets on disk: a directory with a manifest and one file of arrays, without pickles."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np

from auction_env.data.manifest import code_version
from auction_env.files import already_there, staged_directory
from auction_env.kernels.replay import ReplayLog
from auction_env.replay.market import FULL_LADDER, LEAST_WINNING_COST, Assumption, ReplayMarket, value_sums
from auction_env.replay.params import ReplayParams

FORMAT_VERSION = 1
MANIFEST, ARRAYS = "replay.json", "replay.npz"


class ReplayError(ValueError):
    """A directory that is not a sound replay market; names the file, the rule and the value."""


def save_replay(market: ReplayMarket, directory: str | os.PathLike[str], *, force: bool = False) -> None:
    """Writes a market to a directory: `replay.npz` (no pickles) and `replay.json`; renamed when complete.

    Raises:
        FileExistsError: The directory holds files and `force` is False, or files of something else.
    """
    target = Path(directory).resolve()
    names = sorted(path.name for path in target.iterdir()) if target.is_dir() else []
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} must be a directory, found a file")
    if names and not force:
        raise already_there(target, repr(names[0]))
    foreign = [name for name in names if name not in (MANIFEST, ARRAYS)]
    if foreign:
        raise FileExistsError(f"{target} must hold nothing but a replay market, found {foreign[0]!r}")
    arrays = {name: array for name, array in market.log._asdict().items() if name != "value_sum"}
    for name in ("periods", "advertisers", "budget", "cpa_target", "category"):
        arrays[name] = getattr(market, name)
    with staged_directory(target) as stage:
        np.savez(stage / ARRAYS, **arrays)
        manifest = {
            "format_version": FORMAT_VERSION,
            "code_version": code_version(),
            "assumption": market.assumption,
            "rules": {name: getattr(market.rules, name) for name in ReplayParams.__slots__},
            "sha256": _sha256(stage / ARRAYS),
        }
        (stage / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def load_replay(directory: str | os.PathLike[str]) -> ReplayMarket:
    """Reads what `save_replay` wrote and checks it against its manifest.

    Raises:
        FileNotFoundError: The directory has no manifest.
        ReplayError: The files are of a newer version, changed, truncated or not of this format.
    """
    path = Path(directory)
    if not (path / MANIFEST).is_file():
        raise FileNotFoundError(f"{path} must be a replay market: it has no {MANIFEST}")
    rules, assumption, digest = _read_manifest(path / MANIFEST)
    try:
        if _sha256(path / ARRAYS) != digest:
            raise ReplayError(f"{path / ARRAYS}: changed: its SHA-256 must be {digest}")
        with np.load(path / ARRAYS, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        log_names = [name for name in ReplayLog._fields if name != "value_sum"]
        fields = {name: arrays.pop(name) for name in log_names}
        log = ReplayLog(**fields, value_sum=value_sums(fields["value"], fields["tick_start"]))
        return ReplayMarket(rules=rules, assumption=assumption, log=log, **arrays)
    except FileNotFoundError as error:
        raise ReplayError(f"{path / ARRAYS}: must exist, as {MANIFEST} names it") from error
    except (KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ReplayError(f"{path / ARRAYS}: must hold the arrays of a replay market: {error!r}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> tuple[ReplayParams, Assumption, str]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReplayError(f"{path}: must be JSON: {error}") from error
    version = record.get("format_version") if isinstance(record, dict) else None
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ReplayError(f"{path}: `format_version` must be an integer from 1 to {FORMAT_VERSION}, found {version!r}")
    try:
        rules = record["rules"] | {"exposure": tuple(record["rules"]["exposure"])}
        assumption = record["assumption"]
        if assumption not in (FULL_LADDER, LEAST_WINNING_COST):
            raise ValueError(f"`assumption` must be {FULL_LADDER!r} or {LEAST_WINNING_COST!r}, found {assumption!r}")
        return ReplayParams(**rules), assumption, record["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ReplayError(f"{path}: must hold `rules`, `assumption` and `sha256`: {error!r}") from error
