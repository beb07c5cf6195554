"""Compiled parsing of AuctionNet's trajectory CSV: lines with two states, each a text of 16 numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from auction_env.kernels.logs.csv_parser import (
    BREAKS_RULE,
    COMMA,
    LINES_OK,
    NEWLINE,
    NOT_A_NUMBER,
    RETURN,
    Bytes,
    Float,
    Int,
    Word,
    compiled,
    scan_number,
    word_at,
)

N_STATE = 16  # numbers of a state
STATE, NEXT_STATE = -1, -2  # in `order`: the fields that hold states
WRONG_COUNT, NOT_A_STATE = 10, 11  # what ends `parse_trajectories`, beside the codes of `csv_parser`

# what a cell is
_OTHER, _NUMBER, _SLOW, _MISSING = range(4)

_QUOTE, _SPACE, _OPEN, _CLOSE, _POINT = (np.uint8(ord(c)) for c in '" ().')
_OPEN_LIST, _CLOSE_LIST = np.uint8(ord("[")), np.uint8(ord("]"))
_N, _A, _P, _LARGE_N = (np.uint8(ord(c)) for c in "napN")
_0, _1, _2, _3, _8 = (np.uint64(n) for n in (0, 1, 2, 3, 8))
_MAX_TYPE_NAME = 16  # bytes of "np.float64("


@compiled
def _scan_cell(data: Bytes, at: Word) -> tuple[float, Word, int, Word]:
    """The number at `at`, which may be spelled `np.float64(0.1)`, be missing or be `nan`.

    Returns:
        Its value (NaN unless it is a plain number), the position after it, what it is, and where its digits begin.
    """
    value, kind, start = np.nan, _OTHER, at
    is_wrapped = data[at] == _N and data[at + _1] == _P and data[at + _2] == _POINT
    if is_wrapped:
        n = 0
        while data[at] != _OPEN and n < _MAX_TYPE_NAME and data[at] != NEWLINE:
            at += _1
            n += 1
        if data[at] == _OPEN:
            at += _1
        start = at
    is_nan = (data[at] == _N or data[at] == _LARGE_N) and data[at + _1] == _A
    if is_nan and (data[at + _2] == _N or data[at + _2] == _LARGE_N):
        at += _3
        kind = _MISSING
    elif data[at] == COMMA or data[at] == NEWLINE or data[at] == RETURN:
        kind = _MISSING
    else:
        value, at, is_number = scan_number(data, at)
        if is_number:
            kind = _SLOW if np.isnan(value) else _NUMBER
    if is_wrapped:
        if data[at] == _CLOSE:
            at += _1
        else:
            kind = _OTHER
    return value, at, kind, start


@compiled
def _is_repeated(data: Bytes, at: Word, start: Word, end: Word) -> bool:
    """Whether the text from `at` on begins with that from `start` to `end`, which comes before it."""
    while start + _8 <= end:
        if word_at(data, at) != word_at(data, start):
            return False
        at += _8
        start += _8
    while start < end:
        if data[at] != data[start]:
            return False
        at += _1
        start += _1
    return True


@compiled
def _note_slow(slow: Int, n_slow: int, row: int, column: int, start: Word, end: Word) -> int:
    if n_slow < len(slow):
        slow[n_slow, 0], slow[n_slow, 1] = row, column
        slow[n_slow, 2], slow[n_slow, 3] = np.int64(start), np.int64(end)
    return n_slow + 1


@compiled
def _scan_state(
    data: Bytes, at: Word, rows: Float, row: int, first: int, slow: Int, n_slow: int
) -> tuple[Word, int, int]:
    """Writes the 16 numbers of a state from column `first` on: the position behind it, what it is, `n_slow`."""
    is_quoted = data[at] == _QUOTE
    if is_quoted:
        at += _1
        if data[at] == _QUOTE:  # an empty text
            return at + _1, _MISSING, n_slow
    if data[at] != _OPEN and data[at] != _OPEN_LIST:
        is_nan = data[at] == _N and data[at + _1] == _A and data[at + _2] == _N
        if is_nan and not is_quoted:
            return at + _3, _MISSING, n_slow
        is_empty = data[at] == COMMA or data[at] == NEWLINE or data[at] == RETURN
        return at, _MISSING if is_empty and not is_quoted else _OTHER, n_slow
    close = _CLOSE if data[at] == _OPEN else _CLOSE_LIST
    at += _1
    for k in range(N_STATE):
        while data[at] == _SPACE:
            at += _1
        value, at, kind, start = _scan_cell(data, at)
        if kind == _OTHER or (kind == _MISSING and data[at - _1] != _N and data[at - _1] != _CLOSE):
            return at, _OTHER, n_slow
        if kind == _SLOW:
            n_slow = _note_slow(slow, n_slow, row, first + k, start, at)
        rows[row, first + k] = value
        while data[at] == _SPACE:
            at += _1
        if k + 1 < N_STATE:
            if data[at] != COMMA:
                return at, _OTHER, n_slow
            at += _1
    if data[at] != close:
        return at, _OTHER, n_slow
    at += _1
    if is_quoted:
        if data[at] != _QUOTE:
            return at, _OTHER, n_slow
        at += _1
    return at, _NUMBER, n_slow


@compiled
def parse_trajectories(
    data: Bytes, n_bytes: int, order: Int, rules: Float, rows: Float, slow: Int
) -> tuple[int, int, int, int, int]:
    """Parses lines of trajectories and checks every plain cell; stops at the first bad line. Skips blank lines.

    The state of a line is mostly the text of the next state of the line before: then its numbers are copied.

    Args:
        data: At least `n_bytes + PADDING` bytes; the last of the text is a newline.
        n_bytes: Bytes to parse.
        order: (n_fields,) for each field its column of `rows` and row of `rules`, or `STATE` or `NEXT_STATE`.
        rules: (n_plain, 4) smallest value, largest value, whether it must be whole, whether it may be missing.
        rows: (n, n_plain + 1 + 2 x 16) output, with room for every line: the plain columns, whether there is a next
            state, the state, the next state. What is missing is NaN.
        slow: (k, 4) output: row, column, first and last offset of the numbers that the caller has to parse.

    Returns:
        (n_rows, n_lines, n_slow, status, field): sound rows; lines passed, blank ones included; numbers left to the
        caller, which may be more than `slow` holds; `LINES_OK` or what is wrong with the line after the sound rows;
        and the index of the field at fault.
    """
    n_fields, n_plain = len(order), len(rules)
    n_rows = n_lines = n_slow = 0
    at, stop = _0, np.uint64(n_bytes)
    next_start = next_end = _0  # the text of the last next state, if all its numbers were parsed here
    next_row = 0  # where these stand
    while at < stop:
        if data[at] == NEWLINE or (data[at] == RETURN and data[at + _1] == NEWLINE):
            at += _1 if data[at] == NEWLINE else _2
            n_lines += 1
            continue
        slow_before = n_slow
        for column in range(n_plain, rows.shape[1]):
            rows[n_rows, column] = np.nan
        for field in range(n_fields):
            column = order[field]
            kind: Any = _OTHER
            if column < 0:
                first, begin, n_noted = n_plain + 1 + (N_STATE if column == NEXT_STATE else 0), at, n_slow
                if column == STATE and next_start < next_end and _is_repeated(data, at, next_start, next_end):
                    kind = _NUMBER
                    at += next_end - next_start
                    for k in range(N_STATE):
                        rows[n_rows, first + k] = rows[next_row, first + N_STATE + k]
                else:
                    at, kind, n_slow = _scan_state(data, at, rows, n_rows, first, slow, n_slow)
                if column == NEXT_STATE:
                    rows[n_rows, n_plain] = 1.0 if kind == _NUMBER else 0.0
                    next_row, next_start, next_end = n_rows, begin, begin
                    if kind == _NUMBER and n_slow == n_noted:
                        next_end = at
                elif kind == _MISSING:
                    kind = _OTHER
                if kind == _OTHER:
                    return n_rows, n_lines, slow_before, NOT_A_STATE, field
            else:
                value, at, kind, start = _scan_cell(data, at)
                if kind == _SLOW:
                    n_slow = _note_slow(slow, n_slow, n_rows, column, start, at)
                elif kind == _OTHER or (kind == _MISSING and rules[column, 3] == 0.0):
                    return n_rows, n_lines, slow_before, NOT_A_NUMBER, field
                elif kind == _NUMBER and (
                    not (rules[column, 0] <= value <= rules[column, 1])
                    or (rules[column, 2] != 0.0 and value != np.floor(value))
                ):
                    return n_rows, n_lines, slow_before, BREAKS_RULE, field
                rows[n_rows, column] = value
            if data[at] == RETURN and data[at + _1] == NEWLINE:
                at += _1
            if data[at] != COMMA and data[at] != NEWLINE:
                return n_rows, n_lines, slow_before, NOT_A_STATE if column < 0 else NOT_A_NUMBER, field
            if (data[at] == COMMA) != (field + 1 < n_fields):
                return n_rows, n_lines, slow_before, WRONG_COUNT, field
            at += _1
        n_rows += 1
        n_lines += 1
    return n_rows, n_lines, n_slow, LINES_OK, 0
