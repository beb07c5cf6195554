"""A sharing rule of a user's own: called once, before training, and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from auction_env.data import TrajectoryData
from auction_env.tasks import Task
from vamo import extensions
from vamo.alignment.sharing.shared_data import Sharing
from vamo.config import SharingConfig
from vamo.examples.episodes import Episodes


class Candidates(NamedTuple):
    """What a sharing rule chooses from: I sources for K targets."""

    sources: Mapping[str, TrajectoryData]  # training trajectories by name
    targets: Mapping[str, Task]  # tasks by name; a target's own trajectories are the source of its name, if any
    training: Sequence[Episodes]  # the sources again, as labelled episodes: `relative_scores(task)` scores each


SharingRule: TypeAlias = Callable[..., Sharing]
"""Gets `Candidates`, and options by name; returns `vamo.alignment.sharing.shared_data.Sharing`."""


def find_rule(sharing: SharingConfig) -> SharingRule:
    """The rule that `sharing.rule` names; ValueError if there is none."""
    return extensions.find(sharing.rule, extensions.SHARING_RULES, setting="sharing.rule")


def shared_by_rule(
    sources: Mapping[str, TrajectoryData],
    training: Sequence[Episodes],
    targets: Mapping[str, Task],
    sharing: SharingConfig,
    rule: SharingRule | None = None,
) -> Sharing:
    """What the rule shares.

    Args:
        sources, training, targets: As of `vamo.alignment.sharing.rules.choose`.
        sharing: `rule` and `options` are used.
        rule: The rule itself, where `sharing.rule` is only what to call it.

    Raises:
        ValueError: No such rule, options that it does not take, or a result that is no sharing: names what is wrong.
    """
    candidates = Candidates(sources, targets, training)
    found = extensions.call(rule or find_rule(sharing), sharing.rule, sharing.options, candidates)
    label = f"sharing rule {sharing.rule!r}"
    if not isinstance(found, Sharing):
        raise ValueError(f"{label} must return `shared_data.Sharing`, found {type(found).__name__}")
    shape, weights = (len(targets), len(sources)), found.weights
    if not isinstance(weights, Tensor) or weights.shape != shape:
        raise ValueError(f"`weights` of {label} must be a tensor of shape {shape}, found {weights}")
    weights = weights.to(torch.float32)
    if not ((weights >= 0).all() and torch.allclose(weights.sum(dim=1), torch.ones(len(weights)), atol=1e-4)):
        raise ValueError(f"`weights` of {label} must not be negative, with rows of sum 1, found {weights.tolist()}")
    for (k, i), chosen in found.chosen.items():
        if not (0 <= k < shape[0] and 0 <= i < shape[1]):
            raise ValueError(f"`chosen` of {label} must have pairs (target, source) below {shape}, found {(k, i)}")
        n, index = training[i].n_episodes, np.asarray(chosen)
        if not (index.ndim == 1 and len(index) and index.dtype.kind == "i" and index.min() >= 0 and index.max() < n):
            raise ValueError(f"`chosen` of {label} must hold episodes 0..{n - 1} of source {i}, found {chosen}")
    return Sharing(weights, dict(found.chosen))
