"""The controller of GRM: the smallest of the multipliers that spend the budget and that reach each limit on a ratio.

A generative response model (arXiv 2605.27811) predicts the traffic to come, and the cost and the value that it brings
as monotone curves of one multiplier. Its controller is analytic: every active constraint has the multiplier at which it
binds at the episode's end, a root in one dimension, and the smallest of them is bid. It is solved again at every tick.
"""

from __future__ import annotations

import numpy as np

from agents.labels.hindsight import LOG_GRID
from agents.rules.scenarios import Float, ScenarioBidder, Scenarios
from auction_env.control.bidder import TickView
from auction_env.tasks import RATIO_BASES


class GrmBidder(ScenarioBidder):
    """Bids the smallest root of the budget's and the cost limits' equations.

    Ours differs in the curves. The paper's come from a sequence model; here they are the means over logged days that a
    response fitted to the logs plays again (`agents.rules.scenarios`), so that this bidder knows what the learners of
    hindsight-optimal actions know. They are made monotone by their running maximum. A limit that cannot be kept any
    more gives the lowest multiplier, as the equation has no root. A decision for n campaigns costs as much as
    n x scenarios x 46 multipliers: about 30 ms for 64 campaigns and 64 scenarios on one core.

    Args:
        history: Logs of the market as scenarios (`record_scenarios`).
        scale: Factor on the multiplier.
        prior_ticks: How many ticks the scenarios' own level of volume and price counts as.
        name: Label in tables.
    """

    def __init__(
        self, history: Scenarios, *, scale: float = 1.0, prior_ticks: float = 4.0, name: str = "GRM controller"
    ) -> None:
        super().__init__(history, scale, prior_ticks, name)

    def act(self, view: TickView) -> Float:
        """The multipliers for this tick, shape (n,)."""
        self._forecast.see(view)
        curves = {
            name: np.maximum.accumulate(part.mean(axis=1), axis=1) for name, part in self._forecast.to_go(view).items()
        }
        targets = self._forecast.targets_like(curves["cost"])
        ratios = self._task.ratios(self._forecast.totals(curves), targets, expected=True)
        roots = [largest_root(ratio) for kind, ratio in ratios.items() if kind == "budget" or kind in RATIO_BASES]
        return np.asarray(self._scale * self._base * np.exp(np.min(roots, axis=0)))


def largest_root(ratio: Float) -> Float:
    """(n,) the largest point of `LOG_GRID` up to which a ratio (n, m) of realised over limit is at most 1.

    Between two points of the grid the ratio is taken as a line. The lowest point where the ratio is never within the
    limit, the highest where it is still within at the grid's end.
    """
    row, last = np.arange(len(ratio)), ratio.shape[1] - 1
    is_within = ratio <= 1.0
    here = np.where(is_within.any(axis=1), last - np.argmax(is_within[:, ::-1], axis=1), 0)
    after = np.minimum(here + 1, last)
    below, above = ratio[row, here], ratio[row, after]
    crosses = (below <= 1.0) & (above > 1.0) & np.isfinite(above)
    part = np.divide(1.0 - below, above - below, out=np.zeros(len(ratio)), where=crosses)
    root: Float = LOG_GRID[here] + part * (LOG_GRID[after] - LOG_GRID[here])
    return root
