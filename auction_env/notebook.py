"""How objects look in a notebook: small HTML tables and data frames."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

MOST_ROWS = 12
"""Rows of a table in a notebook; of more, the first ones are shown and the others are counted."""


def html_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table for `_repr_html_`; all text is escaped.

    Args:
        caption: Stands above the table.
        header: Names of the columns; none where the first column names what the second one has.
        rows: Cells; numbers get four significant digits. Of more than `MOST_ROWS` rows the first ones are shown.
    """
    lines = [[_cell(cell) for cell in row] for row in rows]
    n_columns = max(len(header), max((len(line) for line in lines), default=1))
    left = "text-align: left"
    parts = [f'<table><caption style="{left}">{html.escape(caption)}</caption>']
    if header:
        names = "".join(f'<th style="{left}">{html.escape(name)}</th>' for name in header)
        parts.append(f"<thead><tr>{names}</tr></thead>")
    cells = ("".join(f'<td style="{left}">{cell}</td>' for cell in line) for line in lines[:MOST_ROWS])
    body = "".join(f"<tr>{line}</tr>" for line in cells)
    if len(lines) > MOST_ROWS:
        body += f'<tr><td colspan="{n_columns}" style="{left}">and {len(lines) - MOST_ROWS} more</td></tr>'
    return f"{''.join(parts)}<tbody>{body}</tbody></table>"


def data_frame(columns: Mapping[str, Any]) -> Any:
    """A pandas data frame of columns of equal length.

    Raises:
        ModuleNotFoundError: pandas is not installed.
    """
    return pa.table(dict(columns)).to_pandas()


def _cell(value: object) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        return f"{value:.4g}"
    return html.escape(str(value))
