"""An observation and a reward of a user's own, for every kind of environment, checked at every tick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from auction_env.control.advertisers import ControlledTick
from auction_env.control.bidder import Campaigns, TickView
from auction_env.tasks import Totals

Float = NDArray[np.float64]

Reward: TypeAlias = Callable[[Campaigns, ControlledTick, Totals | None], Float]
"""The reward of a tick, (n,), from the campaigns, the tick's outcome, and the episode's totals after its last tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the controlled advertisers see instead of the 31 numbers of `BiddingEnv`.

    A bidder gets the same campaigns and views, so that it can call `function` where a trained policy decides.

    Attributes:
        names: Of the d numbers.
        function: From the campaigns and the view of a tick, as bidders get them, to numbers (n, d). After the last tick
            it gets a view of tick `n_ticks`, in which no time is left and nothing is predicted.
        low, high: Bounds of all numbers.
    """

    names: tuple[str, ...]
    function: Callable[[Campaigns, TickView], Float]
    low: float = -np.inf
    high: float = np.inf

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"`names` of an observation must be different, at least one, found {self.names}")
        if not callable(self.function):
            raise ValueError(f"`function` of an observation must be callable, found {self.function!r}")
        if not self.low < self.high:
            raise ValueError(f"`low` of an observation must be below `high`, found {self.low} and {self.high}")

    @property
    def space(self) -> gym.spaces.Box[np.float32]:
        """Of one advertiser."""
        return gym.spaces.Box(self.low, self.high, (len(self.names),), np.float32)

    def observe(self, campaigns: Campaigns, view: TickView) -> NDArray[np.float32]:
        """(n, d) what `function` says; ValueError for another shape, or numbers not finite or out of bounds."""
        shape = (len(campaigns.base), len(self.names))
        found = np.asarray(self.function(campaigns, view))
        if found.shape != shape:
            raise ValueError(f"`function` of the observation must return the shape {shape}, found {found.shape}")
        observed = found.astype(np.float32)
        if not np.isfinite(observed).all():
            raise ValueError(f"`function` of the observation must return finite numbers, found {_first_bad(observed)}")
        outside = (observed < np.float32(self.low)) | (observed > np.float32(self.high))
        if outside.any():
            name = self.names[int(np.argwhere(outside)[0][1])]
            raise ValueError(
                f"{name!r} of the observation must lie in [{self.low}, {self.high}], found {observed[outside][0]}"
            )
        return observed


def reward_of(reward: Reward, campaigns: Campaigns, tick: ControlledTick, totals: Totals | None) -> Float:
    """(n,) what a reward of a user's own says; ValueError for another shape, or numbers that are not finite."""
    shape = campaigns.base.shape
    found = np.asarray(reward(campaigns, tick, totals), np.float64)
    if found.shape != shape:
        raise ValueError(f"`reward` must return the shape {shape}, found {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"`reward` must return finite numbers, found {_first_bad(found)}")
    return found


def _first_bad(values: NDArray[np.floating]) -> float:
    return float(values[~np.isfinite(values)][0])
