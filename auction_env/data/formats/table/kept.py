"""Tables that an import has made on its way, kept for the call that goes on where it was killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc

from auction_env.files import written_whole


def kept_table(path: Path | None, make: Callable[[], pa.Table]) -> pa.Table:
    """The table that an earlier call kept in this file, or else a new one, which is kept there.

    Args:
        path: The file, whose directory exists; None keeps nothing.
        make: Makes the table.
    """
    if path is None:
        return make()
    try:
        with pa.OSFile(str(path), "rb") as source, pa.ipc.open_file(source) as reader:
            return reader.read_all()
    except (OSError, pa.ArrowException):  # none yet, or a damaged one
        table = make()
    with written_whole(path) as temporary, pa.ipc.new_file(str(temporary), table.schema) as writer:
        writer.write_table(table)
    return table
