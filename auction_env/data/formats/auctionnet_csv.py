"""AuctionNet's logs of impressions: the 18 columns, their rules, and the parsing of blocks of lines."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from auction_env.data.formats.csv_blocks import (
    FINITE,
    FLAG,
    ID,
    INDEX,
    NOT_NEGATIVE,
    POSITIVE,
    START,
    Block,
    CellRule,
    Outcome,
    ParsedBlock,
    Position,
    block_lines,
    count_error,
    parse_blocks,
    read_header,
    row_error,
    rule_table,
    tick_rule,
)
from auction_env.data.formats.sources import AuctionNetLogError, Source
from auction_env.kernels.logs import csv_parser
from auction_env.kernels.logs.cells import N_TICKS

LOG_RULES: dict[str, CellRule] = {
    "deliveryPeriodIndex": INDEX,
    "advertiserNumber": ID,
    "advertiserCategoryIndex": ID,
    "budget": POSITIVE,
    "CPAConstraint": POSITIVE,
    "timeStepIndex": tick_rule(N_TICKS),
    "remainingBudget": FINITE,
    "pvIndex": INDEX,
    "pValue": NOT_NEGATIVE,
    "pValueSigma": NOT_NEGATIVE,
    "bid": NOT_NEGATIVE,
    "xi": FLAG,
    "adSlot": ID,
    "cost": NOT_NEGATIVE,
    "isExposed": FLAG,
    "conversionAction": FLAG,
    "leastWinningCost": NOT_NEGATIVE,
    "isEnd": FLAG,
}
"""The columns of a log, in the schema's order (a file may have them in any), and their rules."""

LOG_COLUMNS = tuple(LOG_RULES)
_RULES = rule_table(LOG_RULES)


def parse_logs(sources: Sequence[Source], block_bytes: int, start: Position = START) -> Generator[ParsedBlock]:
    """Parses logs of impressions (`csv_blocks.parse_blocks`): rows (n, 18) in the order of `LOG_COLUMNS`."""
    return parse_blocks(_ImpressionLines(), sources, block_bytes, start)


class _ImpressionLines:
    """The schema of a line: 18 plain numbers."""

    n_columns = len(LOG_COLUMNS)
    min_line_bytes = 2 * len(LOG_COLUMNS)  # a byte and a separator a field

    def check_header(self, source: Source, line: bytes) -> tuple[str, ...]:
        """See `csv_blocks.Lines`."""
        return read_header(source, line, LOG_COLUMNS)

    def parse(self, block: Block) -> Outcome:
        """See `csv_blocks.Lines`."""
        order = np.array([LOG_COLUMNS.index(name) for name in block.header])
        rows = block.buffer.rows
        n_rows, n_lines, n_slow, status, field = csv_parser.parse_lines(
            block.buffer.data, block.n_bytes, order, _RULES, rows
        )
        if n_slow:
            lines = block_lines(block)
            for row, field_of_row in np.argwhere(np.isnan(rows[:n_rows][:, order])):
                column = order[field_of_row]
                value = float(lines[row][1].split(b",")[field_of_row])
                if not LOG_RULES[LOG_COLUMNS[column]].holds(value):
                    return Outcome(int(row), n_lines, csv_parser.BREAKS_RULE, int(field_of_row))
                rows[row, column] = value
        return Outcome(n_rows, n_lines, status, field)

    def error(self, block: Block, first_line: int, outcome: Outcome) -> AuctionNetLogError | None:
        """See `csv_blocks.Lines`."""
        if outcome.status == csv_parser.LINES_OK:
            return None
        if outcome.status in (csv_parser.TOO_FEW_FIELDS, csv_parser.TOO_MANY_FIELDS):
            return count_error(block, first_line, outcome.n_rows)
        column = block.header[outcome.field]
        is_number = outcome.status == csv_parser.BREAKS_RULE
        rule = LOG_RULES[column].text if is_number else "must be a finite number"
        return row_error(block, first_line, outcome.n_rows, column, rule)
