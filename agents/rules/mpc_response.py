"""Model-predictive control on a response fitted to logs: the multiplier with the best mean score over logged days.

It is what hindsight-optimal actions (`agents.labels.hindsight`) are to one logged day that is over, for a day that is
still to come: many logged days stand for what nobody knows, and the multiplier must be the same for all.
"""

from __future__ import annotations

import numpy as np

from agents.labels.hindsight import peak
from agents.rules.scenarios import Float, ScenarioBidder, Scenarios
from auction_env.control.bidder import TickView


class ResponseMpcBidder(ScenarioBidder):
    """Bids the constant multiplier whose score, averaged over the scenarios of the rest of the episode, is highest.

    In each scenario (`agents.rules.scenarios`) a multiplier brings what the response says until the money is spent:
    of a day that would cost more than is left, the share that can be paid. The score is that of the task with what
    there was so far, all its limits and their soft penalties included. Receding horizon: it is solved again at
    every tick. A decision for n campaigns costs as much as n x scenarios x 46 multipliers: about 50 ms for 64 campaigns
    and 64 scenarios.

    Source: sample average approximation in a receding horizon (J. Rawlings, D. Mayne, M. Diehl, "Model predictive
    control", 2017). `agents.rules.mpc` learns a response within the episode instead, and knows no other day.

    Args:
        history: Logs of the market as scenarios (`record_scenarios`).
        scale: Factor on the multiplier.
        prior_ticks: How many ticks the scenarios' own level of volume and price counts as.
        name: Label in tables.
    """

    def __init__(
        self, history: Scenarios, *, scale: float = 1.0, prior_ticks: float = 4.0, name: str = "MPC on the response"
    ) -> None:
        super().__init__(history, scale, prior_ticks, name)

    def act(self, view: TickView) -> Float:
        """The multipliers for this tick, shape (n,)."""
        self._forecast.see(view)
        to_come = self._forecast.to_go(view)
        cost, left = to_come["cost"], view.budget_left[:, None, None]
        share = np.divide(left, cost, out=np.ones_like(cost), where=cost > left)
        to_come = {name: part * share for name, part in to_come.items()}
        totals, targets = self._forecast.totals(to_come), self._forecast.targets_like(cost)
        score = self._task.score(totals, targets, expected=True).mean(axis=1)
        return np.asarray(self._scale * self._base * np.exp(peak(score)))
