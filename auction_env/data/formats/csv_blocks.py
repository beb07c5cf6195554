"""Reads logs block by block in bounded memory, for any schema of CSV lines.

The main thread reads (and decompresses) blocks of whole lines; worker threads parse them and check every
cell; blocks come back in the order of the files. A bad line is found exactly: the line and the column,
whatever the size of the blocks.
"""

from __future__ import annotations

import csv
import io
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from auction_env.data.formats.sources import AuctionNetLogError, Source, open_source, other_ending, seek
from auction_env.kernels.logs.csv_parser import PADDING, Bytes, Float

BLOCK_BYTES = 2 << 20
MAX_LINE_BYTES = 1 << 20  # a longer line is no CSV log
MAX_WORKERS = 8
_MAX_QUOTED = 300  # characters of a file in a message
_MAX_FLOAT = float(np.finfo(np.float64).max)
_MAX_EXACT = 2.0**53
_MAX_INT32 = 2.0**31 - 1


class CellRule(NamedTuple):
    """The range of a column's cells."""

    low: float
    high: float
    is_whole: bool
    text: str  # follows the column's name in an error

    def holds(self, value: float) -> bool:
        """Whether a number keeps the rule."""
        return self.low <= value <= self.high and not (self.is_whole and value % 1)


ID = CellRule(0, _MAX_INT32, True, "must be an integer from 0 to 2147483647")
INDEX = CellRule(0, _MAX_EXACT, True, "must be an integer that is not negative")
FLAG = CellRule(0, 1, True, "must be 0 or 1")
FINITE = CellRule(-_MAX_FLOAT, _MAX_FLOAT, False, "must be finite")
NOT_NEGATIVE = CellRule(0, _MAX_FLOAT, False, "must be finite and not negative")
POSITIVE = CellRule(float(np.nextafter(0.0, 1.0)), _MAX_FLOAT, False, "must be finite and positive")


def tick_rule(n_ticks: int) -> CellRule:
    """The rule of the index of a tick."""
    return CellRule(0, n_ticks - 1, True, f"must be an integer from 0 to {n_ticks - 1}")


def rule_table(rules: Mapping[str, CellRule]) -> Float:
    """The rules as the compiled parsers take them: (n_columns, 3)."""
    return np.array([(rule.low, rule.high, rule.is_whole) for rule in rules.values()])


class Block(NamedTuple):
    """Whole lines of a log, without its header."""

    source: Source
    header: tuple[str, ...]
    buffer: Buffer
    n_bytes: int
    is_first: bool  # of its file
    end: int  # offset in the file, decompressed, behind the block
    bytes_read: int  # of all the files as stored, up to the end of this block


class Outcome(NamedTuple):
    """What became of a block's lines."""

    n_rows: int  # sound
    n_lines: int  # sound or blank
    status: int  # the schema's own; 0 if all lines are sound
    field: int  # the one at fault


class Lines(Protocol):
    """A schema of lines."""

    n_columns: int  # of a parsed row
    min_line_bytes: int  # of a sound line

    def check_header(self, source: Source, line: bytes) -> tuple[str, ...]:
        """The names of the fields, or AuctionNetLogError."""

    def parse(self, block: Block) -> Outcome:
        """Parses and checks a block; its sound rows are left in its buffer."""

    def error(self, block: Block, first_line: int, outcome: Outcome) -> AuctionNetLogError | None:
        """What is wrong with the line after the sound ones; None if nothing is."""


@dataclass(frozen=True, slots=True)
class ParsedBlock:
    """The sound rows of a block.

    Attributes:
        block: Where the rows come from.
        first_line: Line of the file at which the block starts.
        rows: (n, n_columns) float64; valid until the next block is taken.
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

    file: int  # index of the source
    offset: int  # in the file, decompressed; 0: from the start
    line: int  # of the file, at the offset


START = Position(0, 0, 2)


class Buffer:
    """Memory of one block, used again and again: its text and its rows."""

    def __init__(self, n_bytes: int, lines: Lines) -> None:
        self._lines = lines
        self._allocate(n_bytes)

    def _allocate(self, n_bytes: int) -> None:
        self.text = bytearray(n_bytes + PADDING)
        self.data: Bytes = np.frombuffer(self.text, np.uint8)
        self.rows: Float = np.empty((n_bytes // self._lines.min_line_bytes + 1, self._lines.n_columns))

    def fill(self, stream: io.BufferedIOBase, carried: bytes) -> tuple[int, int, bool]:
        """Takes the bytes carried over, then reads the stream until a line ends or the stream does.

        Returns:
            The number of bytes that are whole lines, the number of bytes held, and whether the stream has
            ended (then a last line without a newline gets one).
        """
        if len(carried) > len(self.text) - PADDING:
            self._allocate(len(carried))
        self.text[: len(carried)] = carried
        n = len(carried)
        while True:
            room = memoryview(self.text)[n : len(self.text) - PADDING]
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


def parse_blocks(
    lines: Lines, sources: Sequence[Source], block_bytes: int = BLOCK_BYTES, start: Position = START
) -> Generator[ParsedBlock]:
    """Parses the logs in order from `start` on, some blocks ahead in worker threads.

    Raises:
        AuctionNetLogError: A header or a compressed file is wrong. Errors of lines are in the blocks.
    """
    n_workers = max(1, min(os.cpu_count() or 1, MAX_WORKERS))
    free = deque(Buffer(block_bytes, lines) for _ in range(n_workers + 2))
    ahead: deque[tuple[Block, Future[Outcome]]] = deque()
    blocks = _read_blocks(lines, sources, free, start)
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
                    ahead.append((block, executor.submit(lines.parse, block)))
            if ahead:
                block, future = ahead.popleft()
                outcome = future.result()
                line = 2 if block.is_first else line
                rows = block.buffer.rows[: outcome.n_rows]
                next_line = line + outcome.n_lines
                yield ParsedBlock(block, line, rows, lines.error(block, line, outcome), next_line)
                line = next_line
                free.append(block.buffer)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    if failure is not None:
        raise failure


def block_lines(block: Block) -> list[tuple[int, bytes]]:
    """The line of each row, with its index within the block, where blank lines count."""
    lines = bytes(block.buffer.text[: block.n_bytes]).replace(b"\r\n", b"\n").split(b"\n")
    return [(index, line) for index, line in enumerate(lines) if line]


def line_of(block: Block, row: int) -> tuple[int, list[str]]:
    """The index of a row's line within the block, and the line's cells."""
    index, line = block_lines(block)[row]
    text = line.decode(errors="replace")
    return index, next(csv.reader([text]), [""]) if '"(' in text else text.split(",")


def row_error(block: Block, first_line: int, row: int, column: str, rule: str) -> AuctionNetLogError:
    """The error of a cell, given its row within the block: finds the line and the cell's text."""
    index, cells = line_of(block, row)
    cell = cells[block.header.index(column)][:_MAX_QUOTED]
    return AuctionNetLogError(f"{rule}, found {cell!r}", path=block.source.path, line=first_line + index, column=column)


def count_error(block: Block, first_line: int, row: int) -> AuctionNetLogError | None:
    """The error of a line with too few or too many fields; None if it has as many as the header."""
    index, cells = line_of(block, row)
    n_fields = len(block.header)
    if len(cells) == n_fields:
        return None
    rule = f"a line must have {n_fields} fields, found {len(cells)}"
    if len(cells) < n_fields:
        rule += f"; the first missing is `{block.header[len(cells)]}`"
    return AuctionNetLogError(rule, path=block.source.path, line=first_line + index)


def read_header(source: Source, line: bytes, columns: Sequence[str], optional: Sequence[str] = ()) -> tuple[str, ...]:
    """The header's names: each of the columns once, in any order, and nothing else; `optional` may be absent."""
    ending = other_ending(source, line)
    if ending:
        what = "it is compressed" if ending == ".csv.gz" else "its first bytes say"
        raise AuctionNetLogError(f"must end in {ending}, as {what}", path=source.path, line=1)
    text = line.decode("utf-8-sig", errors="replace").strip()
    header = tuple(name.strip(' "') for name in text.split(","))
    faults = {
        "missing": [column for column in columns if column not in header and column not in optional],
        "twice": [column for column in columns if header.count(column) > 1],
        "unknown": [column[:_MAX_QUOTED] for column in header if column not in columns],
    }
    said = "; ".join(f"{what}: {', '.join(names)}" for what, names in faults.items() if names)
    if said:
        rule = f"the header must name each of the {len(columns)} columns of the schema once"
        rule += f" ({', '.join(optional)} may be absent)" if optional else ""
        raise AuctionNetLogError(f"{rule}; {said}, found {text[:_MAX_QUOTED]!r}", path=source.path, line=1)
    return header


def _read_blocks(lines: Lines, sources: Sequence[Source], free: deque[Buffer], start: Position) -> Iterator[Block]:
    """The blocks of the logs; each takes a buffer from `free`, which must hold one."""
    bytes_before = sum(source.n_bytes for source in sources[: start.file])
    for index, source in enumerate(sources[start.file :]):
        with open_source(source) as (stream, n_read):
            yield from _read_file(lines, source, stream, n_read, bytes_before, free, 0 if index else start.offset)
        bytes_before += source.n_bytes


def _read_file(
    lines: Lines, source: Source, stream: io.BufferedIOBase, n_read: Callable[[], int],
    bytes_before: int, free: deque[Buffer], offset: int,
) -> Iterator[Block]:  # fmt: skip
    """Blocks of one log from an offset: the header is checked and cut off, every block ends with its last line."""
    first = stream.readline(MAX_LINE_BYTES)
    if not first:
        raise AuctionNetLogError("a log must have a header and data, found an empty file", path=source.path)
    header = lines.check_header(source, first)
    carried, is_ended, is_first, has_data = b"", False, not offset, bool(offset)
    end = len(first)
    if offset:
        seek(stream, offset, end)
        end = offset
    while not is_ended:
        buffer = free.popleft()
        n_whole, n, is_ended = buffer.fill(stream, carried)
        carried = bytes(buffer.text[n_whole:n])
        has_data = has_data or bool(buffer.text[:n_whole].strip(b"\r\n"))
        if n_whole:
            end += n_whole
            yield Block(source, header, buffer, n_whole, is_first, end, bytes_before + n_read())
            is_first = False
        else:
            free.append(buffer)
        if len(carried) > MAX_LINE_BYTES:
            rule = f"a line must have at most {MAX_LINE_BYTES} bytes, found {len(carried)} or more"
            raise AuctionNetLogError(rule, path=source.path)
    if not has_data:
        raise AuctionNetLogError("a log must have data, found only a header", path=source.path)
