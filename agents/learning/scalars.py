"""Event files for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def scalar_writer(log_dir: str | Path, first_step: int = 0) -> Iterator[Any]:
    """A `SummaryWriter` of torch, closed at the end.

    Args:
        log_dir: Directory of the event files; a resumed run adds another one.
        first_step: The step that the run goes on from; what an interrupted run wrote after it is hidden.

    Raises:
        ImportError: tensorboard is not installed; it comes with the extra `train`.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("`log_dir` needs tensorboard, found none: pip install 'vamo-bidding[train]'") from error
    writer = SummaryWriter(str(log_dir), purge_step=first_step + 1 if first_step else None)
    try:
        yield writer
    finally:
        writer.close()
