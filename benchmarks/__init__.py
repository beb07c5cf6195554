"""Benchmarks: evaluation, suites, statistics, pages, speed figures, and the `vamo` command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.evaluation.episodes import EpisodeSet, in_log, in_market, of_data
    from benchmarks.evaluation.evaluate import evaluate
    from benchmarks.evaluation.result import Evaluation
    from benchmarks.evaluation.watching.episode import WatchedEpisode
    from benchmarks.evaluation.watching.playing import unfold, watch

__all__ = [
    "EpisodeSet",
    "Evaluation",
    "WatchedEpisode",
    "evaluate",
    "in_log",
    "in_market",
    "of_data",
    "unfold",
    "watch",
]

if not TYPE_CHECKING:  # type checkers know the names above and no others

    def __getattr__(name: str) -> Any:
        return _lazy()[0](name)

    def __dir__() -> list[str]:
        return _lazy()[1]()

    def _lazy() -> tuple[Any, Any]:
        from auction_env.names import lazy_names  # not above: the market takes longer to import than a signal may wait

        return lazy_names(__name__, __file__)
