"""The 16 state features of the AuctionNet literature: one definition for env, logs, importer and agents.

Source: AuctionNet's training data (arXiv 2412.10798, appendix on the offline data set). Every mean is a
mean over ticks of the tick's mean over impressions, so that a quiet tick weighs as much as a busy one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.kernels import features as kernel
from auction_env.kernels.features import WINDOW

Float = NDArray[np.float64]

FEATURE_NAMES = (
    "time_left",  # share of the episode's ticks still to come, this one included: (T - t) / T
    "budget_left",  # share of the budget
    "bid_all",  # "all": mean over past ticks of the tick's mean; 0 where there is no past
    "bid_last_3",  # "last_3": the same over the last 3 past ticks
    "least_winning_cost_all",
    "value_all",
    "conversions_all",  # conversions per impression
    "win_rate_all",
    "least_winning_cost_last_3",
    "value_last_3",
    "conversions_last_3",
    "win_rate_last_3",
    "value_now",  # mean predicted value of the current tick's impressions
    "volume_now",  # impressions of the current tick
    "volume_last_3",
    "volume_all",
)
"""The features of the state in the order of an observation."""

N_FEATURES = len(FEATURE_NAMES)


class StateFeatures:
    """Rolling state of the features for n advertisers that live through the same ticks.

    `observe` gives the features at the start of a tick; `update` adds the tick's outcome. An advertiser
    whose log lacks a tick is passed over by `update`'s mask: the "last 3" are the last 3 ticks it has.
    """

    def __init__(self, n: int, n_ticks: int) -> None:
        self.n_ticks = n_ticks
        self._running = np.zeros((n, 1 + WINDOW, kernel.N_STATISTICS))
        self._n_past = np.zeros(n, np.int64)

    @property
    def running(self) -> tuple[Float, NDArray[np.int64]]:
        """The running sums and past ticks as kernels take them, which update them in place: `kernels.features`."""
        return self._running, self._n_past

    def observe(self, tick: int, *, budget_left: ArrayLike, value_now: ArrayLike, volume_now: ArrayLike) -> Float:
        """The features at the start of `tick`.

        Args:
            tick: Index of the tick, 0-based.
            budget_left: Share of the budget that is left, shape (n,) or scalar.
            value_now: Mean predicted value of the tick's impressions, shape (n,) or scalar.
            volume_now: Number of impressions of the tick, shape (n,) or scalar.

        Returns:
            Array of shape (n, 16) in the order of `FEATURE_NAMES`.
        """
        n = len(self._running)
        now = np.empty((3, n))
        now[0], now[1], now[2] = budget_left, value_now, volume_now
        out = np.empty((n, N_FEATURES))
        kernel.write_all(self._running, self._n_past, (self.n_ticks - tick) / self.n_ticks, now[0], now[1], now[2], out)
        return out

    def update(
        self,
        *,
        bid: ArrayLike,
        least_winning_cost: ArrayLike,
        value: ArrayLike,
        conversions: ArrayLike,
        win_rate: ArrayLike,
        volume: ArrayLike,
        mask: NDArray[np.bool_] | None = None,
    ) -> None:
        """Adds one tick: means over its impressions, each of shape (n,) or scalar, and its volume.

        A tick without impressions counts as a tick of zero means. `mask` (n,) marks the advertisers that
        have the tick; all by default.
        """
        n = len(self._running)
        outcome = np.empty((n, kernel.N_STATISTICS))
        for column, given in enumerate((bid, least_winning_cost, value, conversions, win_rate, volume)):
            outcome[:, column] = given
        everyone = np.ones(n, np.bool_)
        kernel.add_ticks(self._running, self._n_past, everyone if mask is None else mask, outcome)
