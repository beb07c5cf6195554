"""VAMO: one generative bidder for many tasks, trained by validation-aligned optimisation.

Names are imported at their first use, so that importing the package needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import auction_env.kernels  # noqa: F401 - before torch is loaded: sets how OpenMP's idle threads wait

if TYPE_CHECKING:
    from agents.learning.checkpoint import CheckpointError
    from agents.learning.settings import override
    from agents.registry import load, save
    from vamo.agent import VamoBidder
    from vamo.config import Config
    from vamo.examples.sources import by_task, split
    from vamo.training.history import Record
    from vamo.training.train import TrainResult, train

_MODULE_OF = {
    "CheckpointError": "agents.learning.checkpoint",
    "Config": "vamo.config",
    "Record": "vamo.training.history",
    "TrainResult": "vamo.training.train",
    "VamoBidder": "vamo.agent",
    "by_task": "vamo.examples.sources",
    "load": "agents.registry",
    "override": "agents.learning.settings",
    "save": "agents.registry",
    "split": "vamo.examples.sources",
    "train": "vamo.training.train",
}

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


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return [*__all__, *globals()]
