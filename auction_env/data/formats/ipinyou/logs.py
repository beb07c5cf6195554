"""Finds iPinYou's files, and what each of them is: by its name and the number of fields of its lines."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from auction_env.data.formats.ipinyou.columns import FORMALISED, KINDS, LAYOUTS, Kind, Layout
from auction_env.data.formats.sources import Source
from auction_env.data.formats.table.problems import TableError, TableProblem

ENDINGS = (".txt", ".txt.bz2", ".txt.gz")
MAX_LINE_BYTES = 1 << 20  # a longer line is no log


@dataclass(frozen=True, slots=True)
class IpinyouLog:
    """A file.

    Attributes:
        source: Where it is.
        kind: What it has a line for.
        layout: The fields of its lines.
        has_header: Whether its first line names them.
    """

    source: Source
    kind: Kind
    layout: Layout
    has_header: bool

    @property
    def path(self) -> Path:
        return self.source.file


def find_ipinyou_logs(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[IpinyouLog]:
    """The logs named, and those in the directories named and below, sorted by name in each.

    In directories, files are logs whose names begin with bid, imp, clk or conv and a dot, `leaderboard.test`, or are
    `train.log.txt` and `test.log.txt`; each may end in `.bz2` or `.gz`.

    Raises:
        FileNotFoundError: A path does not exist, or a directory holds no log.
        TableError: A log of bids or impressions is empty, or a file is damaged or has another number of fields.
        ValueError: No path, a name that does not say what the file is, or a file that is named twice.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise ValueError("`paths` must name at least one log, found none")
    files: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file() and _kind(file) is not None)
            if not inside:
                raise FileNotFoundError(f"{path} must hold logs of iPinYou ({_names()}), found none")
            files += inside
        else:
            files.append(path)
    seen = set[Path]()
    for path in files:
        if path.resolve() in seen:
            raise ValueError(f"`paths` must name a log once, found {path} twice")
        seen.add(path.resolve())
    return [_log(path) for path in files]


def _names() -> str:
    return ", ".join([*(f"{kind}.*" for kind in KINDS), "leaderboard.test.*", "train.log.txt", "test.log.txt"])


def _kind(path: Path) -> Kind | None:
    """What a file has a line for, by its name; None if the name does not say it."""
    if not path.name.endswith(ENDINGS):
        return None
    if path.name.startswith(("train.log.", "test.log.", "leaderboard.test.")):
        return "imp"
    return next((kind for kind in KINDS if path.name.startswith(f"{kind}.")), None)


def _log(path: Path) -> IpinyouLog:
    source, kind = Source.of(path), _kind(path)
    if kind is None:
        raise ValueError(f"{path} must have a name of iPinYou's ({_names()}) and end in one of {', '.join(ENDINGS)}")
    line = first_line(path)
    cells = line.rstrip("\r\n").split("\t")
    layouts = LAYOUTS["bids" if kind == "bid" else "events"]
    if not line.strip():
        if kind in ("clk", "conv"):  # nobody clicked that day
            return IpinyouLog(source, kind, layouts[0], has_header=False)
        raise TableError([TableProblem(str(path), None, "", "must have lines, found an empty file")])
    for layout in layouts:
        if len(layout.fields) == len(cells):
            return IpinyouLog(source, kind, layout, has_header=tuple(cells[:3]) == FORMALISED)
    known = "; ".join(f"{len(layout.fields)}: {layout.what}" for layout in layouts)
    rule = f"must have lines with tabs between one of these numbers of fields ({known}), found {len(cells)}"
    raise TableError([TableProblem(str(path), 1, "", f"{rule} in {line[:80]!r}")])


def first_line(path: Path) -> str:
    """The first line of a log, empty where the file is; TableError where it is damaged or no UTF-8."""
    try:
        with path.open("rb") as raw, unpacked(path, raw) as stream:
            line = stream.readline(MAX_LINE_BYTES)
    except (EOFError, OSError, zlib.error) as error:
        raise damaged(path, error) from error
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(path, error) from error


def unpacked(path: Path, raw: io.BufferedReader) -> IO[bytes]:
    """The text of an open file that may be compressed."""
    if path.suffix == ".bz2":
        return cast(IO[bytes], bz2.BZ2File(raw))
    return cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw


def damaged(path: Path, error: Exception) -> TableError:
    """The error of a file that cannot be unpacked."""
    rule = f"truncated or damaged: must be a whole {path.suffix} file; copy it again: {error}"
    return TableError([TableProblem(str(path), None, "", rule)])


def not_utf8(path: Path, error: Exception) -> TableError:
    """The error of a file in another encoding."""
    rule = f"must be text in UTF-8: convert it (iconv -f CODING -t UTF-8): {error}"
    return TableError([TableProblem(str(path), None, "", rule)])
