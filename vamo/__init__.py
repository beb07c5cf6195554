"""VAMO: one generative bidder for many tasks, trained by validation-aligned optimisation.

Names are imported at their first use, so that importing the package needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auction_env.names import lazy_names

if TYPE_CHECKING:
    from agents.learning.checkpoint import CheckpointError
    from agents.learning.settings import override
    from agents.registry import load, save
    from vamo.agent import VamoBidder
    from vamo.config import Config
    from vamo.examples.sources import by_task, split
    from vamo.training.history import Record
    from vamo.training.train import TrainResult, train

__all__ = [
    "CheckpointError",
    "Config",
    "Record",
    "TrainResult",
    "VamoBidder",
    "by_task",
    "load",
    "override",
    "save",
    "split",
    "train",
]


if not TYPE_CHECKING:  # type checkers know the names above and no others
    __getattr__, __dir__ = lazy_names(__name__, __file__)
