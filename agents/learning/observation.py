"""What learners of `Bidding-v0`'s decision problem see: the same 31 numbers from a view, a rollout or a log."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auction_env.control.observation import FEATURE_NAMES
from auction_env.tasks import REQUIREMENT_NAMES, Task, same_requirements

Float = NDArray[np.float64]

OBSERVATION_NAMES = (*FEATURE_NAMES, *REQUIREMENT_NAMES)
"""The observation of `Bidding-v0`: the state features, then the requirement vector."""


def observe(features: Float, requirements: Float) -> NDArray[np.float32]:
    """(..., 31) the observation, from features (..., 16) and requirements (..., N_REQUIREMENTS)."""
    return np.concatenate((features, requirements), axis=-1).astype(np.float32)


def scale_of(observed: NDArray[np.floating]) -> tuple[Float, Float]:
    """Mean and standard deviation (d,) of observations (n, d), for normalisation; 1 for what is constant."""
    values = observed.astype(np.float64)
    mean, std = values.mean(axis=0), values.std(axis=0)
    return mean, np.where(std > 1e-6 * np.abs(mean), std, 1.0)


def check_campaigns(name: str, task: Task, requirements: Float) -> None:
    """ValueError if campaigns (n, N_REQUIREMENTS) have another objective or other constraints than a trained agent's.

    Args:
        name: Of the agent.
        task: What it was trained for.
        requirements: Of the campaigns.
    """
    is_same = same_requirements(task, requirements)
    if not is_same.all():
        found = requirements[~is_same][0]
        named = [n for n, v in zip(REQUIREMENT_NAMES, found, strict=True) if v > 0 and n.startswith(("wants_", "has_"))]
        raise ValueError(
            f"agent {name!r} was trained for task {task.name!r} and must play its objective and"
            f" constraints, found the requirements {named}"
        )
