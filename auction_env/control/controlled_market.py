"""The protocol of a market as those advertisers see it that somebody controls.

Environments and rollouts play whatever implements it: live markets (`auction_env.control.simulation`) and logged ones
(`auction_env.replay.simulation`).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.control.advertisers import ControlledTick
from auction_env.control.bidder import Campaigns, TickView
from auction_env.tasks import Task

Float = NDArray[np.float64]


class ControlledMarket(Protocol):
    """Episodes of n controlled advertisers, all at the same tick; arrays of shape (n,) unless said otherwise."""

    @property
    def n_ticks(self) -> int:
        """Ticks of an episode."""

    @property
    def n_controlled(self) -> int:
        """n."""

    @property
    def task(self) -> Task:
        """The task of all controlled advertisers."""

    @property
    def active(self) -> NDArray[np.bool_]:
        """(n,) False once the advertiser could not pay an impression."""

    def control(self, advertiser: ArrayLike) -> None:
        """Chooses who is controlled, (n,), from the next `reset` on."""

    def reset(self, seeds: ArrayLike, days: ArrayLike | None = None) -> None:
        """Starts the episodes with one seed and one day a market; None leaves the days to the market."""

    def campaigns(self) -> Campaigns:
        """What is known before the first tick."""

    def view(self) -> TickView:
        """What a bidder sees at the start of the current tick."""

    def observe(self) -> Float:
        """(n, 16) features at the start of the current tick, or after the last one: `observation.FEATURE_NAMES`."""

    def step(self, multipliers: ArrayLike) -> ControlledTick:
        """Runs the current tick with the multipliers (n,) of the controlled advertisers."""
