"""Learners from logs: BC, TD3+BC, IQL, CQL, BCQ and MOPO, on the decision problem of `Bidding-v0`.

    from agents import offline
    bidder = offline.train("cql", data, task, seed=0)

All share the reader of logs (`transitions`), the normalisation and networks (`networks`), the training loop
(`training`) and the acting side (`bidder`); each has a file of its own. Needs the extra `offline`; `agents` does not
import this package, and this module imports torch only when something of it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agents.offline.settings import ALGORITHMS, read_settings
from agents.offline.transitions import Transitions, read_transitions

if TYPE_CHECKING:
    from agents.offline.bidder import OfflineBidder, load, save
    from agents.offline.training import train

__all__ = [
    "ALGORITHMS",
    "OfflineBidder",
    "Transitions",
    "load",
    "read_settings",
    "read_transitions",
    "save",
    "train",
]

_LAZY = {
    "OfflineBidder": "agents.offline.bidder",
    "load": "agents.offline.bidder",
    "save": "agents.offline.bidder",
    "train": "agents.offline.training",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
