"""Import of logs with a progress bar; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from auction_env import data
from benchmarks.console import progress_bar


def import_logs(paths: Sequence[Path], out: Path, *, force: bool) -> data.ImportSummary:
    """Imports AuctionNet logs (`auction_env.data.import_auctionnet`) with a progress bar in megabytes."""
    with progress_bar("importing AuctionNet logs", None, "MB") as bar:
        return data.import_auctionnet(
            paths, out, force=force, progress=lambda done, total: bar.update(done / 1e6, total / 1e6)
        )
