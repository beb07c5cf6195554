"""The protocols of a market that is played, and of how those advertisers see it that somebody controls.

Environments and rollouts play whatever implements it: live markets (`auction_env.control.simulation`) and logged ones
(`auction_env.replay.simulation`).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.control.advertisers import ControlledTick
from auction_env.control.bidder import Bidder, Campaigns, ImpressionBids, TickView
from auction_env.tasks import Task

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class ControlledMarket(Protocol):
    """Episodes of n controlled advertisers, all at the same tick; arrays of shape (n,) unless said otherwise."""

    @property
    def n_ticks(self) -> int:
        """Ticks of an episode."""

    @property
    def played(self) -> PlayableMarket:
        """What the episodes are played in."""

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

    def step(self, bids: ArrayLike | ImpressionBids) -> ControlledTick:
        """Runs the current tick with the multipliers (n,) of the controlled advertisers, or their bids."""


class SameEpisodes(NamedTuple):
    """Episodes that can be played again.

    Attributes:
        view: Of their controlled advertisers, before `reset`.
        seeds, days: What `reset` takes.
    """

    view: ControlledMarket
    seeds: Int
    days: Int | None


@runtime_checkable
class PlayableMarket(Protocol):
    """What episodes are played in: a live market or a log, with its rules and its competitors."""

    @property
    def n_ticks(self) -> int:
        """Ticks of an episode."""

    @property
    def mean_impressions(self) -> float:
        """Impressions of an episode, on average."""

    def needed(self, task: Task) -> PlayableMarket:
        """The same market without what nobody in it counts: sooner, and up to rounding the same for this task."""

    def one_each(self, task: Task, advertisers: Int) -> ControlledMarket:
        """n episodes side by side; in episode i the advertiser `advertisers[i]` is controlled and nobody else."""

    def again(self, task: Task, campaigns: Campaigns) -> SameEpisodes:
        """The episodes of these campaigns once more: who was controlled together in a market is it again."""

    def days_of(self, seeds: Int) -> Int | None:
        """Which day each episode is where nobody says so, (n,) by the seeds; None: `reset` draws it."""

    def alike(self, task: Task, seeds: Int, advertisers: Int, days: Int | None) -> Int:
        """(n,) numbers of episodes: those with equal ones share their impressions in memory when side by side."""

    def difference(self, other: PlayableMarket) -> str:
        """In what the other market differs, in a few words; empty if it is the same market."""


def episodes_market(bidder: Bidder, campaigns: Campaigns) -> tuple[PlayableMarket, Task]:
    """The market and the task of the episodes that are about to be played, for a reference in hindsight.

    Raises:
        ValueError: Nobody knows them beforehand: the bidder is a competitor, or its campaigns are not of a rollout.
    """
    if not isinstance(campaigns.market, PlayableMarket) or campaigns.task is None:
        raise ValueError(
            f"bidder {bidder.name!r} is a reference that knows the episode beforehand: it must be the bidder of a"
            " rollout or a collection, not a competitor or deployed, found campaigns without `market` and `task`"
        )
    return campaigns.market, campaigns.task
