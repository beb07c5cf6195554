"""Files of logs as streams of CSV: plain, gzip, members of ZIP archives, and Parquet, in bounded memory."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from auction_env.data.manifest import code_version
from auction_env.data.schema import SCHEMA_VERSION

ENDINGS = (".csv", ".csv.gz", ".zip", ".parquet")
_ENDINGS_TEXT = "must end in .csv, .csv.gz, .zip (of .csv files) or .parquet"
_MAGICS = {b"\x1f\x8b": ".csv.gz", b"PK\x03\x04": ".zip", b"PAR1": ".parquet"}
_ROWS_AT_ONCE = 8192  # of a Parquet file
_SKIPPED_AT_ONCE = 1 << 20


class AuctionNetLogError(ValueError):
    """A log that breaks the schema; names the file and, where they apply, the line and the column.

    Attributes:
        path: The file; of an archive, with its member behind it.
        line: Line of the CSV file, the header being line 1 (of a Parquet file, its row + 1); None if the file as a
            whole is at fault.
        column: Name of the column, or None.
    """

    def __init__(
        self, rule: str, *, path: Path | None = None, line: int | None = None, column: str | None = None
    ) -> None:
        self.path, self.line, self.column = path, line, column
        place = "" if path is None else f"{path}: "
        place += "" if line is None else f"line {line} (the header is line 1): "
        place += "" if column is None else f"`{column}` "
        super().__init__(place + rule)


@dataclass(frozen=True, slots=True)
class Source:
    """A log: a file, or a member of a ZIP archive.

    Attributes:
        file: The file.
        member: Name within the archive; empty if the file is none.
        n_bytes: As stored.
    """

    file: Path
    member: str
    n_bytes: int

    @classmethod
    def of(cls, path: Path) -> Source:
        """A file that is no archive; FileNotFoundError where there is none."""
        if not path.is_file():
            raise FileNotFoundError(f"{path} must be a file, but does not exist")
        return cls(path, "", path.stat().st_size)

    @property
    def path(self) -> Path:
        """The file, with the member behind it: what errors name."""
        return self.file / self.member if self.member else self.file

    @property
    def state(self) -> tuple[str, int, int]:
        """What changes when the log does."""
        found = self.file.stat()
        return str(self.path.resolve()), found.st_size, found.st_mtime_ns


def import_plan(files: Sequence[Source]) -> dict[str, Any]:
    """What an import that goes on where another was killed must share with it."""
    return {"files": [file.state for file in files], "versions": {"code": code_version(), "schema": SCHEMA_VERSION}}


def find_logs(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Source]:
    """The logs named, and those in the directories named, sorted by name in each.

    Raises:
        AuctionNetLogError: An archive is damaged or holds no `.csv` file.
        FileNotFoundError: A path does not exist, or a directory holds no log.
        ValueError: No path is given, a file has another ending than `ENDINGS`, or a file is named twice.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise ValueError("`paths` must name at least one log, found none")
    files: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            inside = sorted(entry for entry in path.iterdir() if _is_log(entry))
            if not inside:
                raise FileNotFoundError(f"{path} must hold files that end in {', '.join(ENDINGS)}, found none")
            files += inside
        elif not path.exists():
            raise FileNotFoundError(f"{path} must be a log or a directory of logs, but does not exist")
        elif not _is_log(path):
            raise ValueError(f"{path} {_ENDINGS_TEXT}")
        else:
            files.append(path)
    seen: set[Path] = set()
    for path in files:
        if path.resolve() in seen:
            raise ValueError(f"`paths` must name a log once, found {path} twice")
        seen.add(path.resolve())
    return [source for path in files for source in _sources(path)]


def _is_log(path: Path) -> bool:
    return path.is_file() and path.name.endswith(ENDINGS)


def _sources(path: Path) -> list[Source]:
    if path.suffix != ".zip":
        return [Source(path, "", path.stat().st_size)]
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
    except zipfile.BadZipFile as error:
        raise AuctionNetLogError(f"must be a sound ZIP file: {error}", path=path) from error
    logs = [info for info in members if _is_log_member(info.filename)]
    if not logs:
        names = ", ".join(info.filename for info in members[:5]) or "nothing"
        raise AuctionNetLogError(
            f"must hold files that end in .csv, found {names}: unpack other archives first", path=path
        )
    return [Source(path, info.filename, info.compress_size) for info in sorted(logs, key=lambda info: info.filename)]


def _is_log_member(name: str) -> bool:
    """Whether a member is a log; macOS puts a hidden twin of every file into an archive."""
    return name.endswith(".csv") and not name.startswith("__MACOSX/") and not Path(name).name.startswith(".")


@contextmanager
def open_source(source: Source) -> Iterator[tuple[io.BufferedIOBase, Callable[[], int]]]:
    """The log's CSV, and a function that says how many of its stored bytes have been read so far.

    Raises:
        AuctionNetLogError: The file is damaged; also for what is read from the stream within the block.
    """
    try:
        if source.member:
            with source.file.open("rb") as raw, zipfile.ZipFile(raw) as archive, archive.open(source.member) as member:
                first = raw.tell()
                yield cast(io.BufferedIOBase, member), lambda: min(max(raw.tell() - first, 0), source.n_bytes)
        elif source.file.suffix == ".parquet":
            text = _ParquetText(source.file)
            with io.BufferedReader(text, _SKIPPED_AT_ONCE) as stream:
                yield stream, lambda: int(source.n_bytes * text.share)
        else:
            with source.file.open("rb") as raw:
                if source.file.suffix == ".gz":
                    with gzip.GzipFile(fileobj=raw) as unpacked:
                        yield unpacked, raw.tell
                else:
                    yield raw, raw.tell
    except EOFError as error:
        rule = "truncated: the compressed file must be complete, found its end too early"
        raise AuctionNetLogError(rule, path=source.path) from error
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, pa.ArrowException, RuntimeError) as error:
        kind = "ZIP" if source.member else "Parquet" if source.file.suffix == ".parquet" else "gzip"
        raise AuctionNetLogError(f"must be a sound {kind} file: {error}", path=source.path) from error


def seek(stream: io.BufferedIOBase, offset: int, at: int) -> None:
    """Goes forward from `at` to an offset of a stream that may not be able to seek."""
    if stream.seekable():
        stream.seek(offset)
        return
    while at < offset:
        passed = len(stream.read(min(offset - at, _SKIPPED_AT_ONCE)))
        if not passed:
            return
        at += passed


def other_ending(source: Source, first_line: bytes) -> str:
    """The ending that a file should have by its first bytes, where it has another; empty elsewhere."""
    found = (ending for magic, ending in _MAGICS.items() if first_line.startswith(magic))
    return next(found, "")


class _ParquetText(io.RawIOBase):
    """A Parquet file as the CSV that it would be: with a header, every number as its shortest text that reads back."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        self._batches = self._file.iter_batches(_ROWS_AT_ONCE)
        self._n_rows, self._at = max(self._file.metadata.num_rows, 1), 0
        self._names = [name for name in self._file.schema_arrow.names if not name.startswith("__index_level_")]
        self._held = memoryview((",".join(self._names) + "\n").encode())

    def readable(self) -> bool:
        return True

    @property
    def share(self) -> float:
        """Share of the rows that were read."""
        return float(self._at / self._n_rows)

    def readinto(self, buffer: Any) -> int:
        while not self._held:
            batch = next(self._batches, None)
            if batch is None:
                return 0
            self._at += batch.num_rows
            self._held = memoryview(_csv(batch.select(self._names)))
        n = min(len(buffer), len(self._held))
        buffer[:n] = self._held[:n]
        self._held = self._held[n:]
        return n

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _csv(batch: pa.RecordBatch) -> bytes:
    sink = io.BytesIO()
    columns = [_plain(column) for column in batch.columns]
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
    pyarrow.csv.write_csv(pa.table(columns, names=batch.schema.names), sink, write_options=options)
    return sink.getvalue()


def _plain(column: pa.Array) -> pa.Array:
    """A column that CSV can hold: flags as 0 and 1, lists of numbers as the text of a tuple."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_boolean(column.type):
        return column.cast(pa.int8())
    if pa.types.is_floating(column.type):
        return column.cast(pa.float64())
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type):
        return tuple_texts(column)
    return column


def tuple_texts(rows: pa.Array) -> pa.Array:
    """Lists of numbers as texts "(a, b, ...)" that read back as the same numbers; null where a list is."""
    if pa.types.is_fixed_size_list(rows.type):
        rows = rows.cast(pa.list_(rows.type.value_type))
    texts = rows.cast(pa.list_(pa.float64())).cast(pa.list_(pa.string()))
    return pc.binary_join_element_wise("(", pc.binary_join(texts, ", "), ")", "")


def tuple_texts_of(matrix: np.ndarray[Any, np.dtype[np.float64]]) -> pa.Array:
    """`tuple_texts` of the rows of a matrix (n, k)."""
    flat = pa.array(np.ascontiguousarray(matrix).reshape(-1))
    return tuple_texts(pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1]))
