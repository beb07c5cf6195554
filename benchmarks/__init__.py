"""Benchmarks: evaluation, suites, statistics, pages, speed figures, and the `vamo` command."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.evaluation.episodes import EpisodeSet, in_log, in_market, of_data
    from benchmarks.evaluation.evaluate import evaluate
    from benchmarks.evaluation.result import Evaluation

__all__ = ["EpisodeSet", "Evaluation", "evaluate", "in_log", "in_market", "of_data"]

_PLACES = {
    "EpisodeSet": "episodes",
    "Evaluation": "result",
    "evaluate": "evaluate",
    "in_log": "episodes",
    "in_market": "episodes",
    "of_data": "episodes",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are used: the command starts without the market."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"benchmarks.evaluation.{_PLACES[name]}"), name)
