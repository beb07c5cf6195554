"""What a trained policy may be conditioned on, and the choice among it on validation episodes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agents import Bidder
from benchmarks.suites.methods.fitting import Fitted, Setting
from benchmarks.suites.methods.tuning import choose

if TYPE_CHECKING:  # torch only where a policy exists
    from vamo import VamoBidder

BUDGET_RATIOS = (0.9, 0.95, 1.0, 1.05, 1.1, 1.2)
"""Of a policy that learned hindsight-optimal actions: the budget that it is conditioned on, over the true one."""
RETURN_QUANTILES = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Of a policy that learned logged actions: the return that it is conditioned on, a quantile of the training returns."""


def conditioned(policy: VamoBidder) -> dict[str, Bidder]:
    """The policy under each of its conditions, by description."""
    if policy.config.data.action_label == "hindsight":
        return {f"budget_ratio={ratio:g}": policy.conditioned_on(budget_ratio=ratio) for ratio in BUDGET_RATIOS}
    return {f"quantile={quantile:g}": policy.conditioned_on(quantile=quantile) for quantile in RETURN_QUANTILES}


def choose_condition(setting: Setting, fitted: Fitted, candidates: Mapping[str, Mapping[str, Bidder]]) -> None:
    """Chooses every target's bidder among its candidates by description, on its validation episodes."""
    started = time.perf_counter()
    for name, of_target in candidates.items():
        episodes = setting.targets[name]
        choice = choose(list(of_target.values()), **episodes.arguments)
        fitted.bidders[name] = choice.bidder
        fitted.chosen[name] = {"condition": list(of_target)[choice.position], "stability": choice.stability}
    fitted.tune_seconds += time.perf_counter() - started
