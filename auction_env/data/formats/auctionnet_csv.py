"""Reads logs in AuctionNet's 18-column CSV schema, block by block, in bounded memory.

The main thread reads (and decompresses) blocks of whole lines; worker threads parse them and check every
cell; blocks come back in the order of the files. A bad line is found exactly: the line and the column,
whatever the size of the blocks.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from auction_env.kernels.logs import csv_parser
from auction_env.kernels.logs.cells import N_TICKS
from auction_env.kernels.logs.csv_parser import Bytes, Float

MAX_LINE_BYTES = 1 << 20  # a longer line is no CSV log
MAX_WORKERS = 8
_MIN_LINE_BYTES = 2 * 18  # a byte and a separator a field
_MAX_QUOTED = 300  # characters of a file in a message
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_FLOAT = float(np.finfo(np.float64).max)
_MAX_EXACT = 2.0**53
_MAX_INT32 = 2.0**31 - 1


class AuctionNetLogError(ValueError):
    """A log that breaks the schema; names the file and, where they apply, the line and the column.

    Attributes:
        path: The file.
        line: Line of the CSV file, the header being line 1; None if the file as a whole is at fault.
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


class CellRule(NamedTuple):
    """The range of a column's cells."""

    low: float
    high: float
    is_whole: bool
    text: str  # follows the column's name in an error


_ID = CellRule(0, _MAX_INT32, True, "must be an integer from 0 to 2147483647")
_INDEX = CellRule(0, _MAX_EXACT, True, "must be an integer that is not negative")
_FLAG = CellRule(0, 1, True, "must be 0 or 1")
_TICK = CellRule(0, N_TICKS - 1, True, f"must be an integer from 0 to {N_TICKS - 1}")
_FINITE = CellRule(-_MAX_FLOAT, _MAX_FLOAT, False, "must be finite")
_NOT_NEGATIVE = CellRule(0, _MAX_FLOAT, False, "must be finite and not negative")
_POSITIVE = CellRule(float(np.nextafter(0.0, 1.0)), _MAX_FLOAT, False, "must be finite and positive")

LOG_RULES: dict[str, CellRule] = {
    "deliveryPeriodIndex": _INDEX,
    "advertiserNumber": _ID,
    "advertiserCategoryIndex": _ID,
    "budget": _POSITIVE,
    "CPAConstraint": _POSITIVE,
    "timeStepIndex": _TICK,
    "remainingBudget": _FINITE,
    "pvIndex": _INDEX,
    "pValue": _NOT_NEGATIVE,
    "pValueSigma": _NOT_NEGATIVE,
    "bid": _NOT_NEGATIVE,
    "xi": _FLAG,
    "adSlot": _ID,
    "cost": _NOT_NEGATIVE,
    "isExposed": _FLAG,
    "conversionAction": _FLAG,
    "leastWinningCost": _NOT_NEGATIVE,
    "isEnd": _FLAG,
}
"""The columns of a log, in the schema's order (a file may have them in any), and their rules."""

LOG_COLUMNS = tuple(LOG_RULES)
_RULES: Float = np.array([(rule.low, rule.high, rule.is_whole) for rule in LOG_RULES.values()])


class Block(NamedTuple):
    """Whole lines of a log, without its header."""

    path: Path
    header: tuple[str, ...]
    buffer: _Buffer
    n_bytes: int
    is_first: bool  # of its file
    end: int  # offset in the file, decompressed, behind the block
    bytes_read: int  # of all the files as stored, up to the end of this block


@dataclass(frozen=True, slots=True)
class ParsedBlock:
    """The sound rows of a block.

    Attributes:
        block: Where the rows come from.
        first_line: Line of the file at which the block starts.
        rows: (n, 18) float64, columns in the order of `LOG_COLUMNS`; valid until the next block is taken.
        error: What is wrong with the line after them; None if nothing is.
        next_line: Line of the file behind the block.
    """

    block: Block
    first_line: int
    rows: Float
    error: AuctionNetLogError | None
    next_line: int


class Position(NamedTuple):
    """A place between two blocks from which parsing can go on."""

    file: int  # index of the file
    offset: int  # in the file, decompressed; 0: from the start
    line: int  # of the file, at the offset


def find_logs(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The `.csv` and `.csv.gz` files named, and those in the directories named, sorted by name in each.

    Raises:
        FileNotFoundError: A path does not exist, or a directory holds no log.
        ValueError: No path is given, a file has another ending, or a file is named twice.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise ValueError("`paths` must name at least one log, found none")
    files: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            inside = sorted(entry for entry in path.iterdir() if _is_log(entry))
            if not inside:
                raise FileNotFoundError(f"{path} must hold files that end in .csv or .csv.gz, found none")
            files += inside
        elif not path.exists():
            raise FileNotFoundError(f"{path} must be a log or a directory of logs, but does not exist")
        elif not _is_log(path):
            raise ValueError(f"{path} must end in .csv or .csv.gz")
        else:
            files.append(path)
    seen: set[Path] = set()
    for path in files:
        if path.resolve() in seen:
            raise ValueError(f"`paths` must name a log once, found {path} twice")
        seen.add(path.resolve())
    return files


START = Position(0, 0, 2)


def parse_logs(files: Sequence[Path], block_bytes: int, start: Position = START) -> Generator[ParsedBlock]:
    """Parses the files in order from `start` on, some blocks ahead in worker threads.

    Raises:
        AuctionNetLogError: A header or a compressed file is wrong. Errors of lines are in the blocks.
    """
    n_workers = max(1, min(os.cpu_count() or 1, MAX_WORKERS))
    free = deque(_Buffer(block_bytes) for _ in range(n_workers + 2))
    ahead: deque[tuple[Block, Future[_Outcome]]] = deque()
    blocks = _read_blocks(files, free, start)
    failure: AuctionNetLogError | None = None
    is_read, line = False, start.line
    executor = ThreadPoolExecutor(n_workers, thread_name_prefix="auctionnet-log")
    try:
        while ahead or not is_read:
            while free and not is_read:
                try:
                    block = next(blocks, None)
                except AuctionNetLogError as error:
                    block, failure = None, error  # raised after the blocks before it
                if block is None:
                    is_read = True
                else:
                    ahead.append((block, executor.submit(_parse, block)))
            if ahead:
                block, future = ahead.popleft()
                outcome = future.result()
                line = 2 if block.is_first else line
                rows = block.buffer.rows[: outcome.n_rows]
                next_line = line + outcome.n_lines
                yield ParsedBlock(block, line, rows, _outcome_error(block, line, outcome), next_line)
                line = next_line
                free.append(block.buffer)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    if failure is not None:
        raise failure


def row_error(block: Block, first_line: int, row: int, column: str, rule: str) -> AuctionNetLogError:
    """The error of a cell, given its row within the block: finds the line and the cell's text."""
    index, cells = _line_of(block, row)
    cell = cells[block.header.index(column)][:_MAX_QUOTED]
    return AuctionNetLogError(f"{rule}, found {cell!r}", path=block.path, line=first_line + index, column=column)


class _Buffer:
    """Memory of one block, used again and again: its text and its rows."""

    def __init__(self, n_bytes: int) -> None:
        self._allocate(n_bytes)

    def _allocate(self, n_bytes: int) -> None:
        self.text = bytearray(n_bytes + csv_parser.PADDING)
        self.data: Bytes = np.frombuffer(self.text, np.uint8)
        self.rows: Float = np.empty((n_bytes // _MIN_LINE_BYTES + 1, len(LOG_COLUMNS)))

    def fill(self, stream: io.BufferedIOBase, carried: bytes) -> tuple[int, int, bool]:
        """Takes the bytes carried over, then reads the stream until a line ends or the stream does.

        Returns:
            The number of bytes that are whole lines, the number of bytes held, and whether the stream has
            ended (then a last line without a newline gets one).
        """
        if len(carried) > len(self.text) - csv_parser.PADDING:
            self._allocate(len(carried))
        self.text[: len(carried)] = carried
        n = len(carried)
        while True:
            room = memoryview(self.text)[n : len(self.text) - csv_parser.PADDING]
            n_read = stream.readinto(room) if room else 0
            n += n_read
            end = self.text.rfind(b"\n", n - n_read, n) + 1
            if end or n > MAX_LINE_BYTES:
                return end, n, False
            if room and not n_read:
                if n:
                    self.text[n : n + 1] = b"\n"
                    n += 1
                return n, n, True
            if not room:
                held = bytes(self.text[:n])
                self._allocate(2 * n)
                self.text[:n] = held


class _Outcome(NamedTuple):
    """What became of a block's lines."""

    n_rows: int  # sound
    n_lines: int  # sound or blank
    status: int
    field: int  # the one at fault


def _parse(block: Block) -> _Outcome:
    """Parses and checks a block; its sound rows are left in its buffer."""
    order = np.array([LOG_COLUMNS.index(name) for name in block.header])
    rows = block.buffer.rows
    n_rows, n_lines, n_slow, status, field = csv_parser.parse_lines(
        block.buffer.data, block.n_bytes, order, _RULES, rows
    )
    if n_slow:
        lines = _lines(block)
        for row, field_of_row in np.argwhere(np.isnan(rows[:n_rows][:, order])):
            column = order[field_of_row]
            value = float(lines[row][1].split(b",")[field_of_row])
            rule = LOG_RULES[LOG_COLUMNS[column]]
            if not rule.low <= value <= rule.high or (rule.is_whole and value % 1):
                return _Outcome(int(row), n_lines, csv_parser.BREAKS_RULE, int(field_of_row))
            rows[row, column] = value
    return _Outcome(n_rows, n_lines, status, field)


def _lines(block: Block) -> list[tuple[int, bytes]]:
    """The line of each row, with its index within the block, where blank lines count."""
    lines = bytes(block.buffer.text[: block.n_bytes]).replace(b"\r\n", b"\n").split(b"\n")
    return [(index, line) for index, line in enumerate(lines) if line]


def _line_of(block: Block, row: int) -> tuple[int, list[str]]:
    """The index of a row's line within the block, and the line's cells."""
    index, line = _lines(block)[row]
    return index, line.decode(errors="replace").split(",")


def _outcome_error(block: Block, first_line: int, outcome: _Outcome) -> AuctionNetLogError | None:
    if outcome.status == csv_parser.LINES_OK:
        return None
    n_fields = len(block.header)
    if outcome.status in (csv_parser.TOO_FEW_FIELDS, csv_parser.TOO_MANY_FIELDS):
        index, cells = _line_of(block, outcome.n_rows)
        rule = f"a line must have {n_fields} fields, found {len(cells)}"
        if len(cells) < n_fields:
            rule += f"; the first missing is `{block.header[len(cells)]}`"
        return AuctionNetLogError(rule, path=block.path, line=first_line + index)
    column = block.header[outcome.field]
    is_number = outcome.status == csv_parser.BREAKS_RULE
    rule = LOG_RULES[column].text if is_number else "must be a finite number"
    return row_error(block, first_line, outcome.n_rows, column, rule)


def _is_log(path: Path) -> bool:
    return path.is_file() and path.name.endswith((".csv", ".csv.gz"))


def _read_blocks(files: Sequence[Path], free: deque[_Buffer], start: Position) -> Iterator[Block]:
    """The blocks of the files; each takes a buffer from `free`, which must hold one."""
    bytes_before = sum(path.stat().st_size for path in files[: start.file])
    for index, path in enumerate(files[start.file :]):
        with path.open("rb") as raw:
            try:
                yield from _read_file(path, raw, bytes_before, free, 0 if index else start.offset)
            except EOFError as error:
                rule = "truncated: the compressed file must be complete, found its end too early"
                raise AuctionNetLogError(rule, path=path) from error
            except (gzip.BadGzipFile, zlib.error) as error:
                raise AuctionNetLogError(f"must be a sound gzip file: {error}", path=path) from error
        bytes_before += path.stat().st_size


def _read_file(
    path: Path, raw: io.BufferedIOBase, bytes_before: int, free: deque[_Buffer], offset: int
) -> Iterator[Block]:
    """Blocks of one file from an offset: the header is checked and cut off, every block ends with its last line."""
    stream: io.BufferedIOBase = gzip.GzipFile(fileobj=raw) if path.name.endswith(".gz") else raw
    first = stream.readline(MAX_LINE_BYTES)
    if not first:
        raise AuctionNetLogError("a log must have a header and data, found an empty file", path=path)
    header = _check_header(path, first)
    carried, is_ended, is_first, has_data = b"", False, not offset, bool(offset)
    end = stream.seek(offset) if offset else len(first)
    while not is_ended:
        buffer = free.popleft()
        n_whole, n, is_ended = buffer.fill(stream, carried)
        carried = bytes(buffer.text[n_whole:n])
        has_data = has_data or bool(buffer.text[:n_whole].strip(b"\r\n"))
        if n_whole:
            end += n_whole
            yield Block(path, header, buffer, n_whole, is_first, end, bytes_before + raw.tell())
            is_first = False
        else:
            free.append(buffer)
        if len(carried) > MAX_LINE_BYTES:
            rule = f"a line must have at most {MAX_LINE_BYTES} bytes, found {len(carried)} or more"
            raise AuctionNetLogError(rule, path=path)
    if not has_data:
        raise AuctionNetLogError("a log must have data, found only a header", path=path)


def _check_header(path: Path, line: bytes) -> tuple[str, ...]:
    if line.startswith(_GZIP_MAGIC):
        raise AuctionNetLogError("must end in .csv.gz, as it is compressed", path=path, line=1)
    text = line.decode("utf-8-sig", errors="replace").strip()
    header = tuple(name.strip(' "') for name in text.split(","))
    faults = {
        "missing": [column for column in LOG_COLUMNS if column not in header],
        "twice": [column for column in LOG_COLUMNS if header.count(column) > 1],
        "unknown": [column[:_MAX_QUOTED] for column in header if column not in LOG_RULES],
    }
    said = "; ".join(f"{what}: {', '.join(columns)}" for what, columns in faults.items() if columns)
    if said:
        rule = f"the header must name each of the {len(LOG_COLUMNS)} columns of the schema once; {said}"
        raise AuctionNetLogError(f"{rule}, found {text[:_MAX_QUOTED]!r}", path=path, line=1)
    return header
