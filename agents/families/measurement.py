"""Measured harm: how near a harmed log is in its marginals, and what it costs a target to believe it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.families.family import Member, TaskFamily
from agents.logging.harm import Harm
from agents.rollout import Progress, rollout_each, to_trajectories
from agents.rules.fixed import FixedBidder
from auction_env.data import TrajectoryData
from auction_env.tasks import Task

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
    from scipy.stats import ks_2samp  # here: importing scipy.stats takes longer than all else

    samples = [
        (data.cost, data.least_winning_cost, (data.action / data.base)[data.action > 0]) for data in (first, second)
    ]
    return Marginals(*(float(ks_2samp(a, b, method="asymp").statistic) for a, b in zip(*samples, strict=True)))


class MeasuredHarm(NamedTuple):
    """What a target loses by a source's harm, (K, K) each: target k is a row, source i a column.

    Attributes:
        loss: Share of the target's score that is lost where the best constants of the source's harmed trajectories
            are played in place of those of the same trajectories without the harm; 0 for sound sources. Negative
            where the harm happens to lead to better ones.
        share: Share of the source's trajectories to train on that are harmed.
    """

    loss: Float
    share: Float

    @property
    def mean(self) -> Float:
        """(K, K) loss by a trajectory of the source: the sound ones lose nothing."""
        return self.loss * self.share


def measure_harm(
    family: TaskFamily, *, n_episodes: int = 16, n_constants: int = 13, progress: Progress | None = None
) -> MeasuredHarm:
    """Plays the market to measure what the harm of each source costs each target.

    A learner takes over what a log shows to be best. Here that is the constant multiplier that is best in hindsight
    for the target's task, by what the log of an episode of the source would record. It is found twice on the same
    seeds and advertisers, in the harmed market and record and in the sound ones. Then both are played in the
    target's own market; the score that the harmed ones lose is the harm. All scores are of expected amounts.

    Args:
        family: The tasks.
        n_episodes: Market episodes of each source, and of each target.
        n_constants: Constant multipliers tried, log-spaced from 0.2 to 5 times a unit's worth.
        progress: Told the number of episodes as they are played.

    Raises:
        ValueError: Fewer than 1 episode or 3 constants.
    """
    if n_episodes < 1 or n_constants < 3:
        raise ValueError(
            f"`n_episodes` must be at least 1 and `n_constants` at least 3, found {n_episodes}, {n_constants}"
        )
    grid = np.geomspace(_LOWEST, _HIGHEST, n_constants)
    shape = (len(family), len(family))
    loss, share = np.zeros(shape), np.zeros(shape)
    truth: dict[int, Float] = {}
    for i, source in enumerate(family.members):
        if not source.harm:
            continue
        share[:, i] = 1.0 - family.sound_episodes(source.name).mean()
        for k, target in enumerate(family.members):
            if not source.harm.affects(target.task):
                continue
            if k not in truth:
                truth[k] = _curves(target, target.task, None, grid, n_episodes, progress)[1].mean(axis=0)
            found = [
                _best(*_curves(source, target.task, harm, grid, n_episodes, progress)) for harm in (None, source.harm)
            ]
            sound, harmed = (np.interp(ratio, np.log(grid), truth[k]).mean() for ratio in found)
            loss[k, i] = 1.0 - harmed / sound
    return MeasuredHarm(loss, share)


def _curves(
    member: Member, task: Task, harm: Harm | None, grid: Float, n_episodes: int, progress: Progress | None
) -> tuple[Float, Float]:
    """Logs of the recorded multipliers over a unit's worth, and the recorded scores, (n_episodes, n_constants) each.

    The advertisers take turns, of a harmed log those that the harm is about.
    """
    params, population, who = member.params, member.population, np.asarray(member.advertisers)
    if harm is not None:
        params, population = harm.market(params, population, member.advertisers)
        who = who[harm.advertiser_mask(who, member.advertisers, population)]
    elif member.harm:  # the same advertisers without the harm
        who = who[member.harm.advertiser_mask(who, member.advertisers, population)]
    played = rollout_each(
        [FixedBidder(ratio) for ratio in grid],
        seeds=FIRST_SEED + np.arange(n_episodes),
        advertisers=who[np.arange(n_episodes) % len(who)],
        task=task,
        params=params,
        population=population,
        progress=progress,
    )
    ratios, scores = [], []
    for ratio, episodes in zip(grid, played, strict=True):
        submitted = to_trajectories(episodes, period=np.arange(n_episodes))
        log = submitted if harm is None else harm.record(submitted, member.advertisers, population)
        first = log.episode_starts[:-1]
        recorded = np.add.reduceat(log.action, first) / np.add.reduceat(submitted.action, first)
        ratios.append(np.log(ratio * recorded))
        scores.append(task.score(log.totals(), log.targets.at(first), expected=True))
    return np.stack(ratios, axis=1), np.stack(scores, axis=1)


def _best(ratio: Float, score: Float) -> Float:
    """(n_episodes,) the ratio with the best score."""
    return np.asarray(ratio[np.arange(len(score)), score.argmax(axis=1)])
