"""The best constant multiplier in hindsight: an upper reference for steady bidding, not a bidder to deploy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.rollouts import rollout
from agents.rules.fixed import FixedBidder
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.control.controlled_market import episodes_market


class HindsightBidder(NamedBidder):
    """Tries constant multipliers on the very episode it is about to play, and plays the best.

    The market and the task are those of the episodes, live or logged. At `reset` it re-runs each episode, competitors
    included, on a coarse logarithmic grid and then on a
    finer one around the best point. Under live competition no cheap upper bound over all policies is known; a
    bidder that varies its multiplier well can beat this reference.

    Args:
        lowest, highest: Range of the multiplier over the worth of a unit of the objective.
        n_coarse, n_fine: Sizes of the two grids.
        expected: Maximise the score of expected amounts, not of sampled ones: a constant that is best for those is best
            at guessing noise.
        name: Label in tables.
    """

    def __init__(
        self,
        *,
        lowest: float = 0.2,
        highest: float = 5.0,
        n_coarse: int = 12,
        n_fine: int = 5,
        expected: bool = True,
        name: str = "hindsight",
    ) -> None:
        if not 0 < lowest < highest:
            raise ValueError(f"`lowest` must be positive and below `highest`, found {lowest} and {highest}")
        if n_coarse < 2 or n_fine < 1:
            raise ValueError(f"`n_coarse` must be at least 2 and `n_fine` at least 1, found {n_coarse}, {n_fine}")
        self.name = name
        self._coarse = np.geomspace(lowest, highest, n_coarse)
        step = self._coarse[1] / self._coarse[0]
        self._fine = step ** (2 * np.arange(1, n_fine + 1) / (n_fine + 1) - 1)  # inside one step either way
        self._expected = expected

    def reset(self, campaigns: Campaigns) -> None:
        """Searches; takes n_coarse + n_fine episodes for each campaign.

        Raises:
            ValueError: The campaigns do not say in which market they are played: of a competitor, say.
        """
        n = len(campaigns.budget)
        coarse = np.tile(self._coarse, (n, 1))
        coarse_score = self._scores(campaigns, coarse)
        best = coarse[np.arange(n), coarse_score.argmax(axis=1)]
        fine = best[:, None] * self._fine
        ratios = np.concatenate((coarse, fine), axis=1)
        scores = np.concatenate((coarse_score, self._scores(campaigns, fine)), axis=1)
        self.ratio = ratios[np.arange(n), scores.argmax(axis=1)]
        self._bidder = FixedBidder(self.ratio)
        self._bidder.reset(campaigns)

    def act(self, view: TickView) -> NDArray[np.float64]:
        """The constants found, shape (n,)."""
        return self._bidder.act(view)

    def _scores(self, campaigns: Campaigns, ratios: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of each campaign under each of its constants: (n, k) -> (n, k)."""
        market, task = episodes_market(self, campaigns)
        n, k = ratios.shape
        episodes = rollout(
            _Replica(ratios.reshape(-1)),
            seeds=np.repeat(campaigns.seed, k),
            advertisers=np.repeat(campaigns.advertiser, k),
            task=task,
            market=market.needed(task),
            days=None if campaigns.day is None else np.repeat(campaigns.day, k),
        )
        return episodes.score(expected=self._expected).reshape(n, k)


class _Replica:
    """A constant a campaign, dealt out in order as `rollout` goes through its batches."""

    name = "constant"

    def __init__(self, ratios: NDArray[np.float64]) -> None:
        self._ratios, self._next = ratios, 0

    def reset(self, campaigns: Campaigns) -> None:
        n = len(campaigns.budget)
        self._multiplier = self._ratios[self._next : self._next + n] * campaigns.base
        self._next += n

    def act(self, view: TickView) -> NDArray[np.float64]:
        return self._multiplier
