"""AuctionNet's trajectories: the columns, their rules, and the parsing of blocks of lines.

A row is a (period, advertiser, tick) with the state before it, as a text of 16 numbers, and the state after it
(arXiv 2412.10798). Files differ: numbers in states may be spelled `np.float64(0.1)`, integers may be floats, the
columns `realAllCost` and `realAllConversion` may be absent.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from auction_env.control.observation import FEATURE_NAMES
from auction_env.data.formats.csv_blocks import (
    BLOCK_BYTES,
    FLAG,
    ID,
    NOT_NEGATIVE,
    POSITIVE,
    START,
    Block,
    CellRule,
    Outcome,
    ParsedBlock,
    Position,
    count_error,
    parse_blocks,
    read_header,
    row_error,
    rule_table,
    tick_rule,
)
from auction_env.data.formats.sources import AuctionNetLogError, Source
from auction_env.kernels.logs.cells import N_TICKS
from auction_env.kernels.logs.csv_parser import BREAKS_RULE, LINES_OK
from auction_env.kernels.logs.trajectory_parser import (
    N_STATE,
    NEXT_STATE,
    NOT_A_STATE,
    STATE,
    WRONG_COUNT,
    parse_trajectories,
)

Float = NDArray[np.float64]

TRAJECTORY_COLUMNS = (
    "deliveryPeriodIndex", "advertiserNumber", "advertiserCategoryIndex", "budget", "CPAConstraint", "realAllCost",
    "realAllConversion", "timeStepIndex", "state", "action", "reward", "reward_continuous", "done", "next_state",
)  # fmt: skip
"""The columns in the schema's order; a file may have them in any."""

OPTIONAL_COLUMNS = ("realAllCost", "realAllConversion")
"""Columns that some files do not have."""

PLAIN_RULES: dict[str, CellRule] = {
    "deliveryPeriodIndex": ID,
    "advertiserNumber": ID,
    "advertiserCategoryIndex": ID,
    "budget": POSITIVE,
    "CPAConstraint": POSITIVE,
    "realAllCost": NOT_NEGATIVE,
    "realAllConversion": NOT_NEGATIVE,
    "timeStepIndex": tick_rule(N_TICKS),
    "action": NOT_NEGATIVE,
    "reward": NOT_NEGATIVE,
    "reward_continuous": NOT_NEGATIVE,
    "done": FLAG,
}
"""The rules of the columns that are plain numbers, in the order of the columns of a parsed row."""

N_PLAIN = len(PLAIN_RULES)
HAS_NEXT = N_PLAIN
FIRST_STATE, FIRST_NEXT = N_PLAIN + 1, N_PLAIN + 1 + N_STATE
N_COLUMNS = FIRST_NEXT + N_STATE
_PLAIN = tuple(PLAIN_RULES)
_MAY_BE_MISSING = (*OPTIONAL_COLUMNS, "action")  # an action of no predicted value is 0 / 0 in some files
_RULES = np.column_stack([rule_table(PLAIN_RULES), [name in _MAY_BE_MISSING for name in _PLAIN]])
_VALUE_NOW, _VOLUME_NOW, _VOLUME_ALL = (
    FIRST_STATE + FEATURE_NAMES.index(name) for name in ("value_now", "volume_now", "volume_all")
)
_TIME_TOLERANCE = 1e-6
_MAX_EXACT = 2.0**53
_N_SLOW = 256
_STATE_RULE = f"must be {N_STATE} numbers in parentheses"

# what is wrong with a state, beside the codes of the parser
_WRONG_NUMBER, _WRONG_TIME, _WRONG_VOLUME, _WRONG_NAN, _NO_ACTION, _NOT_LATER = range(20, 26)


def parse_trajectory_logs(
    sources: Sequence[Source], block_bytes: int = BLOCK_BYTES, start: Position = START
) -> Generator[ParsedBlock]:
    """Parses trajectories (`csv_blocks.parse_blocks`).

    Rows are (n, N_COLUMNS): the plain columns, whether there is a next state, the state and the next state. A mean over
    a past that is empty is 0; NaN stands for what the file does not have.
    """
    return parse_blocks(_TrajectoryLines(), sources, block_bytes, start)


class _TrajectoryLines:
    """The schema of a line."""

    n_columns = N_COLUMNS
    min_line_bytes = 2 * N_PLAIN + 2 * N_STATE  # without realAll columns and next state there are fewer fields

    def check_header(self, source: Source, line: bytes) -> tuple[str, ...]:
        """See `csv_blocks.Lines`."""
        return read_header(source, line, TRAJECTORY_COLUMNS, OPTIONAL_COLUMNS)

    def parse(self, block: Block) -> Outcome:
        """See `csv_blocks.Lines`."""
        states = {"state": STATE, "next_state": NEXT_STATE}
        order = np.array([states[name] if name in states else _PLAIN.index(name) for name in block.header])
        rows, slow = block.buffer.rows, np.empty((_N_SLOW, 4), np.int64)
        arguments = (block.buffer.data, block.n_bytes, order, _RULES, rows)
        n_rows, n_lines, n_slow, status, field = parse_trajectories(*arguments, slow)
        if n_slow > len(slow):
            slow = np.empty((n_slow, 4), np.int64)
            n_rows, n_lines, n_slow, status, field = parse_trajectories(*arguments, slow)
        for name in OPTIONAL_COLUMNS:
            if name not in block.header:
                rows[:n_rows, _PLAIN.index(name)] = np.nan
        for row, column, start, end in slow[:n_slow]:
            value = rows[row, column] = float(block.buffer.text[start:end])
            if column < N_PLAIN and not PLAIN_RULES[_PLAIN[column]].holds(value):
                return Outcome(int(row), n_lines, BREAKS_RULE, block.header.index(_PLAIN[column]))
        found = _first_wrong(rows[:n_rows])
        if found is not None:
            row, status, column_name = found
            return Outcome(row, n_lines, status, block.header.index(column_name))
        return Outcome(n_rows, n_lines, status, field)

    def error(self, block: Block, first_line: int, outcome: Outcome) -> AuctionNetLogError | None:
        """See `csv_blocks.Lines`."""
        if outcome.status == LINES_OK:
            return None
        counted = count_error(block, first_line, outcome.n_rows)
        if counted is not None or outcome.status == WRONG_COUNT:
            return counted
        column = block.header[outcome.field]
        rules = {
            NOT_A_STATE: _STATE_RULE,
            _WRONG_NUMBER: f"{_STATE_RULE}, finite and (the budget left aside) not negative",
            _WRONG_TIME: f"must begin with the time left, ({N_TICKS} - timeStepIndex) / {N_TICKS}",
            _NOT_LATER: "must be the state of a later tick: its time left must be below that of `state`",
            _WRONG_VOLUME: f"must have whole numbers of impressions at {_VOLUME_NOW - FIRST_STATE} and the last place",
            _WRONG_NAN: "must have numbers where there were impressions before the tick",
            _NO_ACTION: "must be a number where the tick has predicted value",
        }
        is_number = outcome.status == BREAKS_RULE
        rule = rules.get(outcome.status, PLAIN_RULES[column].text if is_number else "must be a finite number")
        return row_error(block, first_line, outcome.n_rows, column, rule)


def _first_wrong(rows: Float) -> tuple[int, int, str] | None:
    """The first row whose numbers do not go together: its index, what is wrong, the column; tidies the others.

    A mean over an empty past is 0, and so is the action of a tick without predicted value.
    """
    n_state = np.nan_to_num(rows[:, _VOLUME_ALL])
    has_next = np.asarray(rows[:, HAS_NEXT] == 1.0)
    found: list[tuple[int, int, str]] = []

    def report(wrong: NDArray[np.bool_], status: int, column: str) -> None:
        if wrong.any():
            found.append((int(np.argmax(wrong)), status, column))

    action = rows[:, _PLAIN.index("action")]
    is_worthless = ~(rows[:, _VALUE_NOW] * rows[:, _VOLUME_NOW] > 0)
    report(np.isnan(action) & ~is_worthless, _NO_ACTION, "action")
    action[np.isnan(action)] = 0.0
    for first, column, is_there, volume in (
        (FIRST_STATE, "state", np.ones(len(rows), np.bool_), n_state),
        (FIRST_NEXT, "next_state", has_next, rows[:, FIRST_NEXT + N_STATE - 1]),
    ):
        state = rows[:, first : first + N_STATE]
        is_missing = np.isnan(state) & is_there[:, None]
        if is_missing.any():
            report(is_missing.any(axis=1) & ~(np.nan_to_num(volume) == 0), _WRONG_NAN, column)
            state[is_missing] = 0.0
        bad = np.isinf(state) | (state < 0)
        bad[:, 1] = np.isinf(state[:, 1])
        report(np.asarray(bad.any(axis=1)), _WRONG_NUMBER, column)
        tick = rows[:, _PLAIN.index("timeStepIndex")]
        expected = (N_TICKS - tick) / N_TICKS
        if column == "state":
            report(np.asarray(np.abs(state[:, 0] - expected) > _TIME_TOLERANCE), _WRONG_TIME, column)
        else:
            report(is_there & ~(state[:, 0] < expected), _NOT_LATER, column)
        counts = state[:, [_VOLUME_NOW - FIRST_STATE, N_STATE - 1]]
        report((is_there[:, None] & ((counts % 1 != 0) | (counts > _MAX_EXACT))).any(axis=1), _WRONG_VOLUME, column)
    return min(found) if found else None
