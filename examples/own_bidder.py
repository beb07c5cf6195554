"""Your own bidder, tuned on validation episodes and compared, paired, with an equally tuned PID on fresh ones."""

from __future__ import annotations

import numpy as np

from agents import Campaigns, HindsightBidder, PidBidder, TickView, rollout
from auction_env import TASKS, MarketParams
from benchmarks.statistics.summaries import compare
from benchmarks.suites.methods.tuning import choose
from benchmarks.suites.storage.rows import result_rows

PARAMS = MarketParams(n_impressions=5_000)
TASK = TASKS["TargetCPA"]


class LeftoverBidder:
    """Bids more while the budget left is ahead of the time left, less while it is behind.

    Args:
        strength: Power of (budget left) / (time left).
    """

    name = "leftover"

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def reset(self, campaigns: Campaigns) -> None:
        """Takes what is known before the day: the worth of a unit, currency, and the budgets, (n,) each."""
        self._worth, self._budget, self._n_ticks = campaigns.base, campaigns.budget, campaigns.n_ticks

    def act(self, view: TickView) -> np.ndarray:
        """Multipliers (n,), currency per unit of the objective."""
        time_left = 1 - view.tick / self._n_ticks
        return self._worth * np.clip(view.budget_left / self._budget / time_left, 0.2, 3.0) ** self.strength


def main(n_validation: int = 24, n_test: int = 96) -> None:
    validation = {"seeds": 100_000 + np.arange(n_validation), "advertisers": np.arange(n_validation) % 48}
    test = {"seeds": 400_000 + np.arange(n_test), "advertisers": np.arange(n_test) % 48, "task": TASK, "params": PARAMS}
    candidates = {
        "leftover": [LeftoverBidder(strength) for strength in (0.0, 0.5, 1.0, 2.0)],
        "PID": [PidBidder(start) for start in (0.5, 0.7, 1.0, 1.4)],  # as many: neither has an advantage
    }
    played = {}
    for name, bidders in candidates.items():
        choice = choose(bidders, **validation, task=TASK, params=PARAMS)
        print(f"{name}: candidate {choice.position}, chosen again in {choice.stability:.0%} of resamples")
        played[name] = rollout(choice.bidder, **test)
    reference = rollout(HindsightBidder(), **test)
    rows = result_rows(played, reference, suite="example")
    for c in compare(rows, ["PID"], "score_expected"):
        d = c.difference
        print(f"{c.method} - {c.baseline}: {d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}], p = {c.p_value:.3f}")


if __name__ == "__main__":
    main()
