"""Measured harm: how near a harmed log is in its marginals, and what it costs a target to believe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.families.family import Member, TaskFamily
from agents.learning.bars import Count
from agents.logging.harm import Harm
from agents.rollouts import rollout_each, to_trajectories
from agents.rules.fixed import FixedBidder
from auction_env.control.bidder import TickView
from auction_env.data import TrajectoryData, require

Float = NDArray[np.float64]

FIRST_SEED = 2**39
"""Market seed of the first episode that is played to measure harm: apart from all logs and suites."""
_LOWEST, _HIGHEST = 0.2, 5.0  # of the constant multipliers, over the worth of a unit: as `HindsightBidder`


class Marginals(NamedTuple):
    """Kolmogorov-Smirnov distances between the ticks of two logs, 0 to 1, of what a check would look at first."""

    cost: float  # of the tick, currency
    price: float  # least winning cost
    action: float  # multiplier over the worth of a unit of the own objective, where somebody bids


def marginal_distance(first: TrajectoryData, second: TrajectoryData) -> Marginals:
    """How far two logs lie apart in each of their marginals.

    Raises:
        ValueError: A data set is empty.
    """
    for name, data in (("first", first), ("second", second)):
        if not len(data):
            raise ValueError(f"`{name}` must hold trajectories, found none")
        require(data, ("action", "cost", "least_winning_cost"), "distances between logs")
    from scipy.stats import ks_2samp  # here: importing scipy.stats takes longer than all else

    samples = [
        (data.cost, data.least_winning_cost, (data.action / data.base)[data.action > 0]) for data in (first, second)
    ]
    return Marginals(*(float(ks_2samp(a, b, method="asymp").statistic) for a, b in zip(*samples, strict=True)))


class MeasuredHarm(NamedTuple):
    """What a target loses by a source's harm, (K, K) each: target k is a row, source i a column.

    Attributes:
        loss: Share of the target's score that is lost where the constants that are best by a harmed record are played
            in place of the best ones, in [0, 1]; 0 for sound sources.
        share: Share of the source's trajectories to train on that are harmed.
    """

    loss: Float
    share: Float

    @property
    def mean(self) -> Float:
        """(K, K) loss by a trajectory of the source: the sound ones lose nothing."""
        return self.loss * self.share


def measure_harm(
    family: TaskFamily, *, n_episodes: int = 16, n_constants: int = 13, progress: Count | None = None
) -> MeasuredHarm:
    """Plays the market to measure what the harm of each source costs each target.

    A learner takes over what a log shows to be best. Here that is the constant multiplier that is best in hindsight
    by what the log of an episode would record. It is found twice for each target, on the same seeds and advertisers:
    in the target's own market and record, and with the source's harm in them. The score that the second one loses in
    the target's own market is the harm. So the harm is separated from what else differs between source and target
    (advertisers, budgets, season). All scores are of expected amounts.

    Args:
        family: The tasks.
        n_episodes: Market episodes of each target.
        n_constants: Constant multipliers tried, log-spaced from 0.2 to 5 times a unit's worth.
        progress: Told the number of episodes as they are played.

    Raises:
        ValueError: Fewer than 1 episode or 3 constants.
    """
    shape = (len(family), len(family))
    loss, share = np.zeros(shape), np.zeros(shape)
    harms = {i: member.harm for i, member in enumerate(family.members) if member.harm}
    for i in harms:
        share[:, i] = 1.0 - family.sound_episodes(family.names[i]).mean()
    for k, target in enumerate(family.members):
        losses = harm_losses(
            target, tuple(harms.values()), n_episodes=n_episodes, n_constants=n_constants, progress=progress
        )
        loss[k, list(harms)] = losses
    return MeasuredHarm(loss, share)


def harm_losses(
    target: Member,
    harms: Sequence[Harm],
    *,
    n_episodes: int = 16,
    n_constants: int = 13,
    progress: Count | None = None,
) -> Float:
    """(n_harms,) what each harm costs one target: the `loss` of `measure_harm`, with the same arguments."""
    if n_episodes < 1 or n_constants < 3:
        raise ValueError(
            f"`n_episodes` must be at least 1 and `n_constants` at least 3, found {n_episodes}, {n_constants}"
        )
    trial = _Trial(target, np.geomspace(_LOWEST, _HIGHEST, n_constants), n_episodes, progress)
    return np.array([trial.loss(harm) for harm in harms])


class _Trial:
    """Best constants of a target with and without harm, each curve played once."""

    def __init__(self, target: Member, grid: Float, n_episodes: int, progress: Count | None) -> None:
        self._target, self._grid, self._n_episodes, self._progress = target, grid, n_episodes, progress
        self._truths: dict[tuple[int, ...], Float] = {}
        self._losses: dict[Harm, float] = {}

    def loss(self, harm: Harm) -> float:
        """Share of the score that is lost."""
        target = self._target
        if not harm.affects(target.task):
            return 0.0
        harm = replace(harm, share=1.0)  # the loss is that of a harmed trajectory
        if harm not in self._losses:
            everyone = np.asarray(target.advertisers)
            who = everyone[harm.advertiser_mask(everyone, target.advertisers, target.population)]
            if tuple(who) not in self._truths:
                self._truths[tuple(who)] = self._curves(who, None)[1]
            truth = self._truths[tuple(who)]
            ratio, recorded = self._curves(who, harm)
            chosen = ratio[np.arange(len(ratio)), recorded.argmax(axis=1)]
            adjustment = harm.bid_adjustment(target.params.n_ticks)
            played = truth if np.all(adjustment == 1.0) else self._curves(who, None, 1.0 / adjustment)[1]
            score = [np.interp(at, np.log(self._grid), curve) for at, curve in zip(chosen, played, strict=True)]
            self._losses[harm] = float(1.0 - np.sum(score) / truth.max(axis=1).sum())
        return self._losses[harm]

    def _curves(self, who: NDArray[np.int64], harm: Harm | None, profile: Float | None = None) -> tuple[Float, Float]:
        """Logs of the recorded multipliers over a unit's worth (geometric mean of the ticks), and the recorded scores.

        (n_episodes, n_constants) each; the advertisers `who` take turns. The constants are played times `profile`,
        (n_ticks,), if given.
        """
        target, n = self._target, self._n_episodes
        params, population = target.params, target.population
        if harm is not None:
            params, population = harm.market(params, population, target.advertisers)
        played = rollout_each(
            [FixedBidder(ratio) if profile is None else _Profile(ratio, profile) for ratio in self._grid],
            seeds=FIRST_SEED + np.arange(n),
            advertisers=who[np.arange(n) % len(who)],
            task=target.task,
            params=params,
            population=population,
            progress=self._progress,
        )
        ratios, scores = [], []
        for ratio, episodes in zip(self._grid, played, strict=True):
            submitted = to_trajectories(episodes, period=np.arange(n))
            log = submitted if harm is None else harm.record(submitted, target.advertisers, population)
            first = log.episode_starts[:-1]
            n_recorded = np.diff(log.episode_starts)
            over = np.divide(log.action, submitted.action, out=np.ones(len(log)), where=submitted.action > 0)
            recorded = np.add.reduceat(np.log(over), first) / n_recorded
            ratios.append(np.log(ratio) + recorded)
            scores.append(target.task.score(log.totals(), log.targets.at(first), expected=True))
        return np.stack(ratios, axis=1), np.stack(scores, axis=1)


class _Profile(FixedBidder):
    """A constant multiplier times a profile over the ticks."""

    def __init__(self, ratio: float, profile: Float) -> None:
        super().__init__(ratio)
        self._profile = profile

    def act(self, view: TickView) -> Float:
        """The multipliers of the tick, shape (n,)."""
        return np.asarray(self._multiplier * self._profile[view.tick])
