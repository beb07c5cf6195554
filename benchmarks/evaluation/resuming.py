"""What a stopped evaluation keeps: the rows of finished episodes, for the next call that plays the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from auction_env.control.bidder import Bidder
from auction_env.data.manifest import code_version
from auction_env.files import unfinished_work, write_atomically
from auction_env.replay.bat.market import BatMarket
from auction_env.replay.market import ReplayMarket
from auction_env.replay.simulation import LoggedMarket
from benchmarks.evaluation.episodes import EpisodeSet
from benchmarks.evaluation.named import NamedBidder
from benchmarks.evaluation.result import from_table, to_bytes
from benchmarks.suites.storage.rows import Rows


class Kept:
    """The rows of finished jobs.

    Args:
        folder: Where; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, name: str) -> Rows | None:
        """The rows of a job; None if it is not finished."""
        if self._folder is None or not (self._folder / name).is_file():
            return None
        try:
            return from_table(pq.read_table(self._folder / name))
        except (OSError, pa.ArrowException):  # damaged: it is played again
            return None

    def write(self, name: str, rows: Rows) -> None:
        """Keeps the rows of a job."""
        if self._folder is not None:
            write_atomically(self._folder / name, to_bytes(rows))


@contextmanager
def keeping(
    out: Path | None,
    bidders: Mapping[str, Bidder | NamedBidder],
    sets: Sequence[EpisodeSet],
    metrics: Sequence[str],
    *,
    force: bool,
) -> Iterator[Kept]:
    """What is kept for `out` while the block runs; nothing where it ends well.

    Args:
        out: Directory of the results.
        bidders, sets, metrics: What is played and measured. Of a bidder that is an object nothing tells whether a later
            one is the same, so that nothing is kept.
        force: Whether what another evaluation left is replaced.

    Raises:
        FileExistsError: Episodes of another evaluation are kept for `out`, or another process is at it.
    """
    plan = _plan(bidders, sets, metrics)
    if out is None or plan is None:
        yield Kept(None)
        return
    with unfinished_work(out, plan, force=force) as folder:
        yield Kept(folder)


def _plan(
    bidders: Mapping[str, Bidder | NamedBidder], sets: Sequence[EpisodeSet], metrics: Sequence[str]
) -> dict[str, Any] | None:
    """All that the rows depend on, as JSON values; None where that cannot be told."""
    who: dict[str, Any] = {}
    for name, bidder in bidders.items():
        if not isinstance(bidder, NamedBidder):
            return None
        who[name] = bidder.identity
    played = []
    for of_task in sets:
        given = of_task.competitors
        if given is not None and not isinstance(given, NamedBidder):
            return None
        market = of_task.market
        log = None
        if isinstance(market, LoggedMarket):
            log = _digest(market.market)
        elif isinstance(market, BatMarket):
            log = market.landscape.digest
        played.append(of_task.description | {"against": None if given is None else given.identity, "log": log})
    return {"bidders": who, "episodes": played, "metrics": list(metrics), "code": code_version()}


def _digest(log: ReplayMarket) -> str:
    found = hashlib.sha256(repr((log.rules, log.assumption)).encode())
    for array in (*log.log, log.periods, log.advertisers, log.budget, log.cpa_target, log.category):
        found.update(array.tobytes())
    return found.hexdigest()
