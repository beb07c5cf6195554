"""Rules that choose, before training, what each target learns from: conservative and nearest-task sharing.

Both need a source of the target's own, which it always learns from. Naive sharing is `vamo.alignment.weighting.Uniform`
and `Proportional`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.families.distances import data_distance
from auction_env.data import TrajectoryData
from auction_env.tasks import Task
from vamo.config import Config
from vamo.examples.episodes import Episodes
from vamo.examples.sources import task_of

Float = NDArray[np.float64]


class Sharing(NamedTuple):
    """What the targets learn from."""

    weights: Tensor  # (K, I), rows of sum 1; pairs of weight 0 are not trained
    chosen: dict[tuple[int, int], NDArray[np.int64]]  # of some pairs the only episodes to draw from

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(target, source) pairs with a positive weight, sorted."""
        return [(int(k), int(i)) for k, i in self.weights.nonzero()]


def choose(
    sources: Mapping[str, TrajectoryData],
    training: Sequence[Episodes],
    targets: Mapping[str, Task],
    config: Config,
) -> Sharing | None:
    """What the method of `config.train` shares; None for a method that is no rule of this module.

    Args:
        sources: Training trajectories of the I sources.
        training: The same as episodes.
        targets: Tasks of the K targets by name.
        config: `train.method` and `sharing` are used.

    Raises:
        ValueError: A target without a source of its name, or of another task; fewer sources than asked for.
    """
    method = config.train.method
    if method not in ("cds", "nearest"):
        return None
    names = list(sources)
    missing = [name for name in targets if name not in names]
    if missing:
        raise ValueError(f"method {method!r} must find its targets in `sources`, found no {missing}")
    for name, task in targets.items():
        if task_of(name, sources[name]) != task:
            raise ValueError(f"source {name!r} must be of its target's task for method {method!r}, found another")
    own = [names.index(name) for name in targets]
    if method == "nearest":
        return nearest_tasks([sources[name] for name in names], own, config.sharing.n_nearest)
    scores = [[episodes.relative_scores(task) for episodes in training] for task in targets.values()]
    return conservative(scores, own, config.sharing.percentile)


def conservative(scores: Sequence[Sequence[Float]], own: Sequence[int], percentile: float) -> Sharing:
    """Conservative data sharing (CDS): of other sources only the trajectories that are good for the target.

    A trajectory is shared with a target if its value is at least the `percentile` of the target's own. The paper
    compares a conservative Q function of single transitions; here the value is what the whole trajectory scored, once
    relabelled for the target (objective times penalties, over what the budget buys at the base price). It needs no
    learned critic and overestimates nothing, but it credits a policy with the luck of its day. All that is shared is
    pooled: a source's weight is its number of trajectories.

    Source: T. Yu et al., "Conservative data sharing for multi-task offline reinforcement learning" (NeurIPS 2021, arXiv
    2109.08128), equation 5 and the rule without its temperature.

    Args:
        scores: Of target k for the trajectories of source i, at [k][i].
        own: The source of each target's own trajectories, all of which are kept.
        percentile: In [0, 100].
    """
    counts = torch.zeros(len(scores), len(scores[0]))
    chosen = {}
    for k, of_target in enumerate(scores):
        least = np.percentile(of_target[own[k]], percentile)
        for i, score in enumerate(of_target):
            picked = np.arange(len(score)) if i == own[k] else np.flatnonzero(score >= least)
            counts[k, i] = len(picked)
            if 0 < len(picked) < len(score):
                chosen[k, i] = picked
    return Sharing(counts / counts.sum(dim=1, keepdim=True), chosen)


def nearest_tasks(sources: Sequence[TrajectoryData], own: Sequence[int], n_nearest: int) -> Sharing:
    """Equal weights for a target's own source and the `n_nearest` sources with the least `task_distance` to it.

    Raises:
        ValueError: There are not that many other sources.
    """
    if n_nearest > len(sources) - 1:
        raise ValueError(f"`n_nearest` must be at most the {len(sources) - 1} other sources, found {n_nearest}")
    weights = torch.zeros(len(own), len(sources))
    for k, i in enumerate(own):
        others = [j for j in range(len(sources)) if j != i]
        distance = [task_distance(sources[i], sources[j]) for j in others]
        nearest = np.argsort(distance, kind="stable")[:n_nearest]
        weights[k, [i, *(others[j] for j in nearest)]] = 1 / (n_nearest + 1)
    return Sharing(weights, {})


def task_distance(first: TrajectoryData, second: TrajectoryData) -> float:
    """Distance between two data sets of one task each: of the requirements and of what is in the logs.

    The sum of `agents.families.distances.data_distance`'s parts (logged multipliers counted in the units of their own
    objective) and of `requirement_distance`, all of the order of 1 for tasks that have little in common.
    """
    return requirement_distance(task_of("first", first), task_of("second", second)) + sum(data_distance(first, second))


def requirement_distance(first: Task, second: Task) -> float:
    """1 for another objective, 1 for each constraint that one has alone, and |log| of the ratio of shared scales."""
    a, b = ({constraint.kind: constraint for constraint in task.constraints} for task in (first, second))
    distance = float(first.objective != second.objective) + len(a.keys() ^ b.keys())
    for kind in a.keys() & b.keys():
        own, other = ((part.limit, part.scale) for part in (a[kind], b[kind]))
        if own[0] is not None and other[0] is not None:
            distance += abs(np.log(own[0] / other[0]))
        elif own[0] is None and other[0] is None:
            distance += abs(np.log(own[1] / other[1]))
        else:  # an absolute limit against a multiple of each advertiser's own: two different rules
            distance += 1.0
    return float(distance)
