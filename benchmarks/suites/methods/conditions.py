"""The choice of what a trained policy is conditioned on (`vamo.conditions`), on validation episodes."""

from __future__ import annotations

import time
from collections.abc import Mapping

from agents import Bidder
from benchmarks.suites.methods.fitting import Fitted, Setting
from benchmarks.suites.methods.tuning import choose


def choose_condition(setting: Setting, fitted: Fitted, candidates: Mapping[str, Mapping[str, Bidder]]) -> None:
    """Chooses every target's bidder among its candidates by description, on its validation episodes."""
    started = time.perf_counter()
    for name, of_target in candidates.items():
        episodes = setting.targets[name]
        choice = choose(list(of_target.values()), **episodes.arguments)
        fitted.bidders[name] = choice.bidder
        fitted.chosen[name] = {"condition": list(of_target)[choice.position], "stability": choice.stability}
    fitted.tune_seconds += time.perf_counter() - started
