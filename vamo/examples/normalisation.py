"""Means and standard deviations of the training data, by which the model normalises its inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.labels.relabel import Float
from auction_env.control.observation import N_FEATURES
from auction_env.tasks import Task
from vamo.examples.episodes import Episodes
from vamo.examples.inputs import ADVERTISER_INPUTS, REQUIREMENT_FLAGS, REQUIREMENT_GATES, REQUIREMENT_INPUTS

_STD_FLOOR = 1e-6  # below it an input is constant: it is centred, not scaled


class Normalisation(NamedTuple):
    """Statistics of the training data."""

    requirements_mean: Float  # (len(REQUIREMENT_INPUTS),)
    requirements_std: Float
    state_mean: Float  # (N_FEATURES,)
    state_std: Float
    advertiser_mean: Float  # (len(ADVERTISER_INPUTS),)
    advertiser_std: Float
    action_mean: Float  # () of the log multiplier, as all that follow
    action_std: Float
    action_low: Float  # smallest logged one: an agent does not bid below
    action_high: Float  # largest logged one: nor above


def identity_normalisation() -> Normalisation:
    """Statistics that leave inputs as they are and bound the multiplier to a thousand times its base."""
    sizes = (len(REQUIREMENT_INPUTS), N_FEATURES, len(ADVERTISER_INPUTS))
    moments = [f(n) for n in sizes for f in (np.zeros, np.ones)]
    bound = math.log(1e3)
    return Normalisation(*moments, *(np.asarray(x) for x in (0.0, 1.0, -bound, bound)))


def normalisation(
    sources: Sequence[Episodes], tasks: Sequence[Task], pairs: Sequence[tuple[int, int]]
) -> Normalisation:
    """Statistics over all ticks with an action: of every source once, of what is relabelled once a pair.

    Inputs of an absent constraint are left out of the statistics; flags (`has_*`) are not normalised.
    """
    views = [sources[i].view(tasks[k]) for k, i in pairs]
    order = [id(view) for view in views]
    distinct = {key: (i, view) for key, (_, i), view in zip(order, pairs, views, strict=True)}
    masks = {i: view.mask > 0 for i, view in distinct.values()}
    requirements = {key: _rows([view.requirements[masks[i]]]) for key, (i, view) in distinct.items()}
    actions = {key: _rows([view.action[masks[i]]]) for key, (i, view) in distinct.items()}
    action = np.concatenate([actions[key] for key in order])
    state = _rows([sources[i].state[mask] for i, mask in masks.items()])
    advertiser = _rows([sources[i].advertiser for i in masks])
    return Normalisation(
        *_requirement_moments(requirements, order),
        *_moments(state),
        *_moments(advertiser),
        *_moments(action),
        action_low=action.min(axis=0),
        action_high=action.max(axis=0),
    )


def _rows(tensors: Sequence[Tensor]) -> NDArray[np.float64]:
    return torch.cat(list(tensors)).cpu().numpy().astype(np.float64)


def _moments(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation over the first axis; the deviation of a constant is given as 1."""
    std = x.std(axis=0)
    return x.mean(axis=0), np.where(std > _STD_FLOOR, std, 1.0)


def _requirement_moments(
    parts: Mapping[int, NDArray[np.float64]], order: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Over the rows of the parts, (n, R) each, put together in an order that names many of them more than once.

    A column at a time: put together, the parts of 128 x 128 pairs are gigabytes.
    """
    mean, std = np.zeros(len(REQUIREMENT_INPUTS)), np.ones(len(REQUIREMENT_INPUTS))
    for column, (name, gate) in enumerate(zip(REQUIREMENT_INPUTS, REQUIREMENT_GATES, strict=True)):
        if name in REQUIREMENT_FLAGS:
            continue
        present = {
            key: part[:, column] if gate is None else part[part[:, REQUIREMENT_INPUTS.index(gate)] > 0, column]
            for key, part in parts.items()
        }
        values = np.concatenate([present[key] for key in order])
        if len(values):
            mean[column], std[column] = _moments(values)
    return mean, std
