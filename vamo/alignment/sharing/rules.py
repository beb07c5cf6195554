"""What the sharing rule of a training method chooses.

All rules but the response check and a user's need a source of the target's own, which it always learns from. Naive
sharing is `vamo.alignment.weighting.Uniform` and `Proportional`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import get_args

import torch
from torch import Tensor

from agents.labels.response_check import CostCheck, check_sources
from auction_env.data import TrajectoryData
from auction_env.tasks import Task
from vamo.alignment.sharing.conservative import conservative
from vamo.alignment.sharing.dvdf import dynamics_and_value
from vamo.alignment.sharing.nearest import nearest_tasks
from vamo.alignment.sharing.own_sharing import SharingRule, shared_by_rule
from vamo.alignment.sharing.response_check import agreeing
from vamo.alignment.sharing.shared_data import Int, Sharing
from vamo.config import Config, SharingMethod
from vamo.examples.episodes import Episodes
from vamo.examples.sources import task_of

logger = logging.getLogger(__name__)


def choose(
    sources: Mapping[str, TrajectoryData],
    validation: Mapping[str, TrajectoryData],
    training: Sequence[Episodes],
    targets: Mapping[str, Task],
    config: Config,
    users: SharingRule | None = None,
) -> Sharing | None:
    """What the method of `config.train` shares; None for a method that is no rule of this folder.

    Args:
        sources: Training trajectories of the I sources.
        validation: Trajectories of the targets by name, to which responses are fitted; may hold others.
        training: The sources as episodes.
        targets: Tasks of the K targets by name.
        config: `train.method` and `sharing` are used.
        users: Of method `sharing_rule`: the user's rule itself, where `sharing.rule` is only what to call it.

    Raises:
        ValueError: A target without a source of its name, or of another task; fewer sources than asked for; a
            target without bids; a user's rule that is unknown or returns no sharing.
    """
    method, sharing = config.train.method, config.sharing
    if method not in get_args(SharingMethod):
        return None
    if method == "sharing_rule":
        return shared_by_rule(sources, training, targets, sharing, users)
    if method == "response_check":
        checks = _checks(sources, validation, training, targets)
        return agreeing(checks, sharing.response_factor, per_episode=sharing.per_episode)
    own = _own_sources(sources, targets, method)
    if method == "nearest":
        return nearest_tasks(list(sources.values()), own, sharing.n_nearest)
    scores = [[episodes.relative_scores(task) for episodes in training] for task in targets.values()]
    if method == "cds":
        return conservative(scores, own, sharing.percentile)
    checks = _checks(sources, validation, training, targets)
    discrepancy = [[check.episode_distance for check in row] for row in checks]
    return dynamics_and_value(discrepancy, scores, own, share=sharing.dvdf_share, dynamics_weight=sharing.dvdf_dynamics)


def candidates(
    sources: Mapping[str, TrajectoryData],
    validation: Mapping[str, TrajectoryData],
    training: Sequence[Episodes],
    targets: Mapping[str, Task],
    config: Config,
) -> Sharing | None:
    """What the weights of method `vao` choose among, by `weighting.candidates`; None for all sources.

    A target whose trajectories tell no response, as they have no bids, chooses among all sources. The arguments are
    those of `choose`.
    """
    if config.train.method != "vao" or config.weighting.candidates == "all":
        return None
    weights: list[Tensor] = []
    chosen: dict[tuple[int, int], Int] = {}
    for k, (name, task) in enumerate(targets.items()):
        try:
            checks = _checks(sources, validation, training, {name: task})
        except ValueError as error:
            logger.warning("%s: all sources are shared with it", error)
            weights.append(torch.full((1, len(training)), 1.0 / len(training)))
            continue
        own = agreeing(checks, config.sharing.response_factor, per_episode=config.sharing.per_episode)
        weights.append(own.weights)
        chosen |= {(k, i): picked for (_, i), picked in own.chosen.items()}
    return Sharing(torch.cat(weights), chosen)


def _checks(
    sources: Mapping[str, TrajectoryData],
    validation: Mapping[str, TrajectoryData],
    training: Sequence[Episodes],
    targets: Mapping[str, Task],
) -> list[list[CostCheck]]:
    """Cost checks of the episodes that are trained on, [k][i]."""
    rows = check_sources(sources, {name: validation[name] for name in targets})
    return [[check.at(episodes.kept) for check, episodes in zip(row, training, strict=True)] for row in rows]


def _own_sources(sources: Mapping[str, TrajectoryData], targets: Mapping[str, Task], method: str) -> list[int]:
    """Index of each target's own source."""
    names = list(sources)
    missing = [name for name in targets if name not in names]
    if missing:
        raise ValueError(f"method {method!r} must find its targets in `sources`, found no {missing}")
    for name, task in targets.items():
        if task_of(name, sources[name]) != task:
            raise ValueError(f"source {name!r} must be of its target's task for method {method!r}, found another")
    return [names.index(name) for name in targets]
