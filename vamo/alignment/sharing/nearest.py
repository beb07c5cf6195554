"""Nearest-task sharing: a target learns from its own source and from those of the tasks most like it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from agents.families.distances import data_distance
from auction_env.data import TrajectoryData
from auction_env.tasks import Task
from vamo.alignment.sharing.shared_data import Sharing
from vamo.examples.sources import task_of


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
