"""BAT markets on disk: the two tables as Parquet, checked, with a manifest."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from auction_env.data.formats.table.frames import to_arrow
from auction_env.data.manifest import code_version
from auction_env.files import own_directory, sha256_of, staged_directory
from auction_env.replay.bat.landscape import CAMPAIGN_COLUMNS, STATS_COLUMNS
from auction_env.replay.bat.market import BatMarket, read_bat
from auction_env.replay.storage import ReplayError

MANIFEST = "bat.json"
_FORMAT_VERSION = 1
_COLUMNS = {"campaigns.parquet": CAMPAIGN_COLUMNS, "stats.parquet": STATS_COLUMNS}


def import_bat(
    campaigns: Any, stats: Any, out: str | os.PathLike[str], *, mechanism: str = "vcg", force: bool = False
) -> BatMarket:
    """Checks BAT's two tables and writes what is used of them as a market that `load_bat` opens; whole or not at all.

    Args:
        campaigns, stats: As of `read_bat`.
        out: Directory of the market.
        mechanism: `vcg` or `first_price`: that of the auctions which the tables tell of.
        force: Whether a market that is there is replaced.

    Raises:
        FileExistsError: The directory holds files and `force` is False, or files of something else.
        TableError, FileNotFoundError: As of `read_bat`.
    """
    target = own_directory(out, "a BAT market", {MANIFEST, *_COLUMNS}.__contains__, force=force)
    market = read_bat(campaigns, stats, mechanism=mechanism)
    with staged_directory(target) as stage:
        files = {}
        for (name, columns), frame in zip(_COLUMNS.items(), (campaigns, stats), strict=True):
            _write(stage / name, to_arrow(frame, columns))
            files[name] = sha256_of(stage / name)
        manifest = {
            "format_version": _FORMAT_VERSION,
            "code_version": code_version(),
            "mechanism": mechanism,
            "sha256": files,
        }
        (stage / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return market


def load_bat(directory: str | os.PathLike[str]) -> BatMarket:
    """The market that `import_bat` wrote, checked against its manifest.

    Raises:
        FileNotFoundError: The directory has no manifest.
        ReplayError: The files are of another version, changed, truncated or not of this format.
    """
    path = Path(directory)
    if not (path / MANIFEST).is_file():
        raise FileNotFoundError(f"{path} must be a BAT market: it has no {MANIFEST}")
    try:
        record = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        version, mechanism, stated = record["format_version"], record["mechanism"], dict(record["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ReplayError(f"{path / MANIFEST}: must be JSON with `format_version`, `mechanism`, `sha256`") from error
    if version != _FORMAT_VERSION:
        rule = f"`format_version` must be {_FORMAT_VERSION}, found {version!r}: import the tables again"
        raise ReplayError(f"{path / MANIFEST}: {rule}")
    for name in _COLUMNS:
        if not (path / name).is_file():
            raise ReplayError(f"{path / name}: must exist, as {MANIFEST} names it")
        if sha256_of(path / name) != stated.get(name):
            raise ReplayError(f"{path / name}: changed: its SHA-256 must be {stated.get(name)}")
    return read_bat(*(path / name for name in _COLUMNS), mechanism=mechanism)


def _write(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd")
