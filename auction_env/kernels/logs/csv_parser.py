"""Compiled CSV parsing: lines of plain numbers to float64, correctly rounded, with a check of every cell.

Numbers are rounded as Lemire describes (Number Parsing at a Gigabyte per Second, arXiv 2101.11408): exact
division or multiplication by a power of ten for short numbers, else the product of the digits and a
128-bit power of five. What neither covers is left as NaN for the caller to parse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bytes = NDArray[np.uint8]

Word = Any  # np.uint64: numba keeps unsigned words apart from signed integers, type checkers need not

PADDING = 16  # bytes that the text's memory must go on after its end: words of 8 bytes are read

# what ends `parse_lines`
LINES_OK, NOT_A_NUMBER, BREAKS_RULE, TOO_FEW_FIELDS, TOO_MANY_FIELDS = range(5)

COMMA, NEWLINE, RETURN, _POINT, _MINUS, _PLUS, _ZERO, _NINE = (np.uint8(ord(c)) for c in ",\n\r.-+09")
_SMALL_E, _LARGE_E = np.uint8(ord("e")), np.uint8(ord("E"))

_MAX_DIGITS = 19  # always fit in 64 bits
_MAX_EXPONENT = 60  # of ten, in the table
_EXACT_EXPONENT = 22  # powers of ten up to it are exact in float64
_EXACT_INTEGER = np.uint64(2**53)
_INTEGER_POWERS = np.array([10**k for k in range(9)], np.uint64)
_POWERS_OF_TEN = np.array([10.0**k for k in range(_EXACT_EXPONENT + 1)])


def _power_table() -> tuple[NDArray[np.uint64], NDArray[np.uint64], Int]:
    """Top and bottom 64 bits of 5**q scaled to [2**127, 2**128), and floor(log2(10**q)), for all q."""
    tops, bottoms, log2s = [], [], []
    for q in range(-_MAX_EXPONENT, _MAX_EXPONENT + 1):
        power = 5 ** abs(q)
        n_bits = power.bit_length()
        if q >= 0:
            scaled = power << 128 - n_bits if n_bits <= 128 else power >> n_bits - 128
            log2 = n_bits - 1 + q
        else:
            scaled = (1 << n_bits + 127) // power + 1
            log2 = q - n_bits
        tops.append(scaled >> 64)
        bottoms.append(scaled & (2**64 - 1))
        log2s.append(log2)
    return np.array(tops, np.uint64), np.array(bottoms, np.uint64), np.array(log2s, np.int64)


_TOPS, _BOTTOMS, _LOG2S = _power_table()
_0, _1, _8, _10, _32 = (np.uint64(n) for n in (0, 1, 8, 10, 32))
_LOW_32 = np.uint64(2**32 - 1)
_ONES = np.uint64(0x0101010101010101)  # times a byte: that byte eight times
_HIGH_BITS = _ONES * np.uint64(0x80)


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compile(function: _Function, inline: str) -> _Function:
    # No function here allocates, so reference counts are left out: they cost a third of the speed.
    result: _Function = njit(  # type: ignore[call-overload]  # numba's stubs lack `_nrt`
        cache=True, nogil=True, error_model="numpy", inline=inline, _nrt=False
    )(function)
    return result


def compiled(function: _Function) -> _Function:
    """Compiles a function that allocates nothing; it stands once in the machine code."""
    return _compile(function, "never")


def inlined(function: _Function) -> _Function:
    """The same for a function that stands wherever it is called."""
    return _compile(function, "always")


@inlined
def _multiply(a: Word, b: Word) -> tuple[Word, Word]:
    """The 128-bit product of two 64-bit numbers: top, bottom."""
    a_top, a_low, b_top, b_low = a >> _32, a & _LOW_32, b >> _32, b & _LOW_32
    low = a_low * b_low
    middle = a_top * b_low + (low >> _32)
    cross = a_low * b_top + (middle & _LOW_32)
    return a_top * b_top + (middle >> _32) + (cross >> _32), (cross << _32) | (low & _LOW_32)


@inlined
def _leading_zeros(x: Word) -> Word:
    """Leading zero bits of a number that is not 0; without branches, which would be mispredicted."""
    n = _0
    for log2 in (5, 4, 3, 2, 1, 0):
        step = np.uint64(1 << log2)
        shift = np.uint64(x >> (np.uint64(64) - step) == _0) << np.uint64(log2)
        x = x << shift
        n += shift
    return n


@inlined
def _round_product(digits: Word, exponent: int) -> float:
    """digits x 10**exponent, correctly rounded; NaN if that cannot be told.

    `digits` is not 0 and |exponent| is at most `_MAX_EXPONENT`: the result is a normal number.
    """
    zeros = _leading_zeros(digits)
    index = exponent + _MAX_EXPONENT
    scaled = digits << zeros
    top, low = _multiply(scaled, _TOPS[index])
    if top & np.uint64(0x1FF) == np.uint64(0x1FF):  # a carry from below could change the rounding
        carry, _ = _multiply(scaled, _BOTTOMS[index])
        low += carry
        if low < carry:
            top += _1
        if low == np.uint64(0xFFFFFFFFFFFFFFFF):
            return np.nan
    upper = top >> np.uint64(63)
    shift = upper + np.uint64(9)
    mantissa = top >> shift  # 54 bits: the last one decides the rounding
    if low <= _1 and mantissa & np.uint64(3) == _1 and mantissa << shift == top:
        if exponent < -4 or exponent > 23:
            return np.nan
        mantissa -= _1  # halfway: to even
    mantissa = (mantissa + (mantissa & _1)) >> _1
    power = np.uint64(_LOG2S[index] + 63 + 1023) + upper - zeros
    # a mantissa of 2**53 carries into the exponent by itself
    bits = (power << np.uint64(52)) + (mantissa - np.uint64(2**52))
    return np.uint64(bits).view(np.float64)


@inlined
def word_at(data: Bytes, at: Word) -> Word:
    """The eight bytes from `at` on as one number, the first byte lowest: one load of the processor."""
    word = np.uint64(data[at])
    for k in (1, 2, 3, 4, 5, 6, 7):
        word |= np.uint64(data[at + np.uint64(k)]) << np.uint64(8 * k)
    return word


@inlined
def _scan_digits(data: Bytes, at: Word, digits: Word) -> tuple[Word, Word]:
    """Appends the decimal digits from `at` on to `digits` (modulo 2**64); also the position after them.

    Eight bytes a step: the run of digits is found and summed with arithmetic on the whole word.
    """
    while True:
        word = word_at(data, at) ^ _ONES * np.uint64(ord("0"))  # a digit becomes 0..9, every other byte is larger
        other = ((word & ~_HIGH_BITS) + _ONES * np.uint64(0x76) | word) & _HIGH_BITS
        n = _8
        if other != _0:  # a branch, for the processor to guess: what follows does not wait for it
            below = ((other & (~other + _1)) >> np.uint64(7)) - _1  # all bits of the digits before the first
            n = ((below & _ONES) * _ONES) >> np.uint64(56)
            if n == _0:
                break
            word = word << (_8 * (_8 - n))  # leading zeros take the place of the rest
        word = word * _10 + (word >> _8)
        word = (
            (word & np.uint64(0x000000FF000000FF)) * np.uint64(0x000F424000000064)
            + ((word >> np.uint64(16)) & np.uint64(0x000000FF000000FF)) * np.uint64(0x0000271000000001)
        ) >> _32
        digits = digits * _INTEGER_POWERS[n] + (word & _LOW_32)
        if other != _0:
            at += n
            break
        at += _8
    return at, digits


@compiled
def _scan_exponent(data: Bytes, at: Word) -> tuple[Word, int, bool]:
    """The exponent of ten after an "e": the position after it, its value, whether it has digits."""
    is_down = data[at] == _MINUS
    if is_down or data[at] == _PLUS:
        at += _1
    start = at
    power: Any = 0
    while _ZERO <= data[at] <= _NINE:
        power = min(power * 10 + np.int64(data[at] - _ZERO), 1_000_000)
        at += _1
    return at, -power if is_down else power, bool(at > start)


@inlined
def scan_number(data: Bytes, at: Word) -> tuple[float, Word, bool]:
    """The number that starts at `at`: its value (NaN if slow), the position after it, whether it is one."""
    is_negative = data[at] == _MINUS
    if is_negative:
        at += _1
    start, digits = at, _0
    while _ZERO <= data[at] <= _NINE:
        digits = digits * _10 + np.uint64(data[at] - _ZERO)
        at += _1
    n_digits: Any = np.int64(at - start)
    exponent: Any = 0
    if data[at] == _POINT:
        fraction = at + _1
        at, digits = _scan_digits(data, fraction, digits)
        exponent = -np.int64(at - fraction)
        n_digits -= exponent
    is_sound = bool(n_digits > 0)
    if n_digits > _MAX_DIGITS:
        while data[start] == _ZERO or data[start] == _POINT:
            n_digits -= np.int64(data[start] == _ZERO)
            start += _1
    if data[at] == _SMALL_E or data[at] == _LARGE_E:
        at, power, has_digits = _scan_exponent(data, at + _1)
        exponent += power
        is_sound = is_sound and has_digits
    value = np.nan
    if n_digits <= _MAX_DIGITS:
        if digits <= _EXACT_INTEGER and -_EXACT_EXPONENT <= exponent <= _EXACT_EXPONENT:
            value = np.float64(np.int64(digits))
            value = value / _POWERS_OF_TEN[-exponent] if exponent < 0 else value * _POWERS_OF_TEN[exponent]
        elif digits == _0:
            value = 0.0
        elif -_MAX_EXPONENT <= exponent <= _MAX_EXPONENT:
            value = _round_product(digits, exponent)
    return -value if is_negative else value, at, is_sound


@compiled
def parse_lines(data: Bytes, n_bytes: int, order: Int, rules: Float, rows: Float) -> tuple[int, int, int, int, int]:
    """Parses lines of numbers and checks every cell; stops at the first bad line. Blank lines are skipped.

    Args:
        data: At least `n_bytes + PADDING` bytes; the last of the text is a newline.
        n_bytes: Bytes to parse.
        order: (n_fields,) column of `rows` and row of `rules` of each field.
        rules: (n_columns, 3) smallest value, largest value, whether the value must be whole (1 or 0).
        rows: (n, n_columns) output, with room for every line.

    Returns:
        (n_rows, n_lines, n_slow, status, field): sound rows; lines passed, blank ones included; cells left
        NaN because the caller has to parse them; `LINES_OK` or what is wrong with the line after the sound
        rows; and the index of the field at fault.
    """
    n_fields = len(order)
    n_rows = n_lines = n_slow = 0
    at, stop = _0, np.uint64(n_bytes)
    while at < stop:
        if data[at] == NEWLINE or (data[at] == RETURN and data[at + _1] == NEWLINE):
            at += _1 if data[at] == NEWLINE else np.uint64(2)
            n_lines += 1
            continue
        n_slow_in_line = 0
        status, bad_field = LINES_OK, 0
        for field in range(n_fields):
            value, at, is_number = scan_number(data, at)
            column = order[field]
            end: Any = data[at]
            if end == RETURN and data[at + _1] == NEWLINE:
                at += _1
                end = NEWLINE
            if status == LINES_OK:  # the number of fields comes first, so read on after a bad cell
                if not is_number or (end != COMMA and end != NEWLINE):
                    status, bad_field = NOT_A_NUMBER, field
                elif np.isnan(value):
                    n_slow_in_line += 1
                elif not (rules[column, 0] <= value <= rules[column, 1]) or (
                    rules[column, 2] != 0.0 and value != np.floor(value)
                ):
                    status, bad_field = BREAKS_RULE, field
            while end != COMMA and end != NEWLINE:
                at += _1
                end = data[at]
            rows[n_rows, column] = value
            at += _1
            if end == NEWLINE and field + 1 < n_fields:
                return n_rows, n_lines, n_slow, TOO_FEW_FIELDS, field + 1
            if end == COMMA and field + 1 == n_fields:
                return n_rows, n_lines, n_slow, TOO_MANY_FIELDS, field
        if status != LINES_OK:
            return n_rows, n_lines, n_slow, status, bad_field
        n_slow += n_slow_in_line
        n_rows += 1
        n_lines += 1
    return n_rows, n_lines, n_slow, LINES_OK, 0
