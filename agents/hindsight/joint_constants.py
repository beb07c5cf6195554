"""Near-best constant multipliers in hindsight, for all campaigns of a market at once: a good logging policy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.rollouts import run_episode
from agents.rules.fixed import FixedBidder
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.control.controlled_market import episodes_market


class JointHindsightBidder(NamedBidder):
    """Replays the markets that it is about to play, and plays the constant that did best for each campaign.

    `HindsightBidder` replays a market for every campaign and every constant. Here all campaigns of a market try
    constants in the same replay, each another one, and move on to the next in the next replay: as many replays as
    there are constants serve them all. What a campaign is tried against is then a mix of all constants, not what its
    rivals will play, so the result is near the best, not the best. The score of expected amounts is maximised.

    Args:
        lowest, highest: Range of the multiplier over the worth of a unit of the objective.
        n_constants: Size of the grid, and number of replays.
        name: Label in tables.
    """

    def __init__(
        self,
        *,
        lowest: float = 0.5,
        highest: float = 2.0,
        n_constants: int = 7,
        name: str = "near-optimal",
    ) -> None:
        if not 0 < lowest < highest:
            raise ValueError(f"`lowest` must be positive and below `highest`, found {lowest} and {highest}")
        if n_constants < 2:
            raise ValueError(f"`n_constants` must be at least 2, found {n_constants}")
        self.name = name
        self._grid = np.geomspace(lowest, highest, n_constants)

    def reset(self, campaigns: Campaigns) -> None:
        """Searches: replays each market once a constant.

        Raises:
            ValueError: The campaigns do not say in which market they are played: of a competitor, say.
        """
        market, task = episodes_market(self, campaigns)
        again = market.needed(task).again(task, campaigns)
        n_constants = len(self._grid)
        scores = np.empty((len(campaigns.seed), n_constants))
        for turn in range(n_constants):
            chosen = (campaigns.advertiser + turn) % n_constants
            played = run_episode(again.view, again.seeds, FixedBidder(self._grid[chosen]), again.days)
            scores[np.arange(len(scores)), chosen] = played.score(expected=True)
        self._bidder = FixedBidder(self._grid[scores.argmax(axis=1)])
        self._bidder.reset(campaigns)

    def act(self, view: TickView) -> NDArray[np.float64]:
        """The constants found, shape (n,)."""
        return self._bidder.act(view)
