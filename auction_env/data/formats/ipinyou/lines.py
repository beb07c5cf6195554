"""Reads a log block by block in bounded memory; finds the line and the column of what is wrong with it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from auction_env.data.formats.ipinyou.logs import MAX_LINE_BYTES, IpinyouLog, damaged, not_utf8, unpacked
from auction_env.data.formats.table.bids import DIGITS, wrong_digits
from auction_env.data.formats.table.problems import MOST_SHOWN, TableError, TableProblem

BLOCK_BYTES = 8 << 20
MISSING = ("", "null", "NULL", "Na", "NA", "-1")
"""Cells that say that there is no value."""

_TEXTS = ("bidid", "creative", "advertiser")
_AMOUNT = "must be a number that is not negative"


class LogBlock(NamedTuple):
    """Lines of a log.

    Attributes:
        columns: The columns that are used, `USED` of them; null where a cell is `MISSING`.
        n_bytes: Bytes of the file as stored, up to the end of the block.
    """

    columns: pa.Table
    n_bytes: int


def read_blocks(log: IpinyouLog, block_bytes: int = BLOCK_BYTES) -> Iterator[LogBlock]:
    """The lines of a log in blocks, checked.

    Raises:
        TableError: The file is truncated or damaged, or a line breaks a rule; with the line.
    """
    first, held = 1, b""
    with log.path.open("rb") as raw, unpacked(log.path, raw) as stream:
        try:
            if log.has_header:
                stream.readline()
                first = 2
            while read := stream.read(block_bytes):
                whole, newline, rest = read.rpartition(b"\n")
                text, held = (held + whole + newline, rest) if newline else (b"", held + rest)
                if len(held) > MAX_LINE_BYTES:
                    rule = f"a line must have at most {MAX_LINE_BYTES} bytes, found {len(held)} or more"
                    raise TableError([TableProblem(str(log.path), first, "", rule)])
                if text:
                    yield LogBlock(_parsed(log, text, first), raw.tell())
                    first += text.count(b"\n")
        except (EOFError, OSError, zlib.error) as error:
            raise damaged(log.path, error) from error
        if held:
            yield LogBlock(_parsed(log, held, first), raw.tell())


def _parsed(log: IpinyouLog, text: bytes, first: int) -> pa.Table:
    """The columns of whole lines, of which the first has this number."""
    used = log.layout.used
    owned = pa.BufferOutputStream()  # by Arrow, as of `auction_env.data.manifest.read_buffer`
    owned.write(text)
    types = {name: pa.string() if name in _TEXTS else pa.float64() for name in used} | {"timestamp": pa.int64()}
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(owned.getvalue()),
            read_options=pyarrow.csv.ReadOptions(column_names=log.layout.fields, block_size=max(len(text), 1)),
            parse_options=pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=list(used), column_types=types, null_values=list(MISSING), strings_can_be_null=True
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise _error(log, text, first, str(error)) from error
    for name in used:
        if name in _TEXTS:
            continue
        wrong = _wrong(name, table.column(name))
        if len(wrong):
            raise TableError([_problem(log, text, first, int(row), name) for row in wrong[:MOST_SHOWN]], len(wrong))
    return table


def _wrong(name: str, column: pa.ChunkedArray) -> NDArray[np.int64]:
    """The rows of cells that are no times, or no amounts."""
    if name == "timestamp":
        is_there = column.is_valid().to_numpy()
        times = pc.fill_null(column, 0).to_numpy()
        return np.array([row for row in wrong_digits(times) if is_there[row]], np.int64)
    values = pc.fill_null(column, 0.0).to_numpy()
    return np.flatnonzero(~((values >= 0) & (values < np.inf)))


def _lines(text: bytes, first: int) -> Iterator[tuple[int, list[bytes]]]:
    """The lines that are not blank, with their numbers, as cells."""
    for number, line in enumerate(text.split(b"\n"), first):
        cells = line.rstrip(b"\r")
        if cells:
            yield number, cells.split(b"\t")


def _problem(log: IpinyouLog, text: bytes, first: int, row: int, name: str) -> TableProblem:
    """The problem of a cell, given its row among the lines that are not blank."""
    number, cells = list(_lines(text, first))[row]
    found = cells[log.layout.used[name]].decode(errors="replace")
    rule = f"must be a time as {DIGITS}" if name == "timestamp" else _AMOUNT
    return TableProblem(str(log.path), number, name, f"{rule}, found {found!r}")


def _error(log: IpinyouLog, text: bytes, first: int, reason: str) -> TableError:
    """Finds the first line that pyarrow could not read."""
    n_fields, path = len(log.layout.fields), str(log.path)
    for number, cells in _lines(text, first):
        if len(cells) != n_fields:
            rule = f"must have {n_fields} fields, as the first line has ({log.layout.what}), found {len(cells)}"
            return TableError(
                [TableProblem(path, number, "", f"{rule}: import other seasons' files as they are, unmixed")]
            )
        for name, place in log.layout.used.items():
            try:
                cell = cells[place].decode("utf-8").strip()
            except UnicodeDecodeError as error:
                return not_utf8(log.path, error)
            if name in _TEXTS or cell in MISSING:
                continue
            try:
                int(cell) if name == "timestamp" else float(cell)
            except ValueError:
                rule = f"must be a time as {DIGITS}" if name == "timestamp" else _AMOUNT
                return TableError([TableProblem(path, number, name, f"{rule}, found {cell[:80]!r}")])
    return TableError([TableProblem(path, first, "", f"must be lines of {log.layout.what}: {reason}")])
