"""A trained Stable-Baselines3 policy as a bidder, and its checkpoint.

Needs the extra `sb3`; `agents` does not import this module.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy

from agents.learning.checkpoint import CheckpointError, read, write
from agents.learning.observation import OBSERVATION_NAMES, check_campaigns, observe
from agents.sb3.policy import build_policy
from agents.sb3.settings import Sb3Settings, check_algorithm
from auction_env.control.actions import ActionKind, LogMultiplier, RelativeAdjustment, TwoCoefficient
from auction_env.control.bidder import Campaigns, TickView
from auction_env.tasks import Task

KIND = "sb3-agent"
_ACTION_KINDS: dict[str, type[LogMultiplier] | type[RelativeAdjustment] | type[TwoCoefficient]] = {
    "log_multiplier": LogMultiplier,
    "relative": RelativeAdjustment,
    "two_coefficient": TwoCoefficient,
}


class Sb3Bidder:
    """Plays a policy's mean action from the observation of `Bidding-v0`, for n campaigns in one forward pass.

    Args:
        policy: Takes the raw observation (n, 31); its normalisation is inside (`sb3_policy.Standardise`).
        settings: Of the training; they name the algorithm.
        task: What it was trained for.
        action_kind: How its actions become multipliers.
        name: Label in tables; None is the algorithm's name.
    """

    def __init__(
        self, policy: BasePolicy, settings: Sb3Settings, task: Task, action_kind: ActionKind, *, name: str | None = None
    ) -> None:
        self.name = settings.name if name is None else name
        self.policy, self.settings, self.task, self.action_kind = policy, settings, task, action_kind

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes; ValueError for campaigns of a task with another objective or other constraints."""
        check_campaigns(self.name, self.task, campaigns.requirements)
        self._base = self._previous = campaigns.base
        self._requirements = campaigns.requirements
        self._state: tuple[NDArray[Any], ...] | None = None
        self._is_start = np.ones(len(campaigns.base), bool)

    def act(self, view: TickView) -> NDArray[np.float64]:
        """Multipliers, shape (n,)."""
        observation = observe(view.features, self._requirements)  # (n, 31)
        action, self._state = self.policy.predict(
            observation, state=self._state, episode_start=self._is_start, deterministic=True
        )
        self._is_start = np.zeros(len(observation), bool)
        bounded = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        self._previous = self.action_kind.multipliers(bounded, base=self._base, previous=self._previous)
        return self._previous


def save(path: str | Path, bidder: Sb3Bidder) -> None:
    """Writes weights, normalisation, settings, task and action kind atomically; no pickle."""
    kinds = {cls: name for name, cls in _ACTION_KINDS.items()}
    action_kind: Any = bidder.action_kind
    if type(action_kind) not in kinds:
        raise ValueError(f"`action_kind` must be one of {list(_ACTION_KINDS)} to be stored, found {action_kind!r}")
    record = {
        "algorithm": bidder.settings.name,
        "settings": bidder.settings.to_dict(),
        "task": bidder.task.to_json(),
        "action": {"kind": kinds[type(action_kind)], **asdict(action_kind)},
        "observation": list(OBSERVATION_NAMES),
        "name": bidder.name,
    }
    write(path, KIND, bidder.policy.state_dict(), record)


def load(path: str | Path, *, algorithm: str | None = None, name: str | None = None) -> Sb3Bidder:
    """The bidder that `save` wrote.

    Args:
        path: The checkpoint.
        algorithm: The one it must be of; None takes any.
        name: Another label than the stored one.

    Raises:
        FileNotFoundError: No such file.
        CheckpointError: A foreign or damaged file, one of another algorithm or of another observation, or weights
            that do not fit its own settings.
    """
    tensors, record = read(path, KIND)
    try:
        found = record["algorithm"]
        check_algorithm(found)
        if algorithm is not None and found != algorithm:
            raise CheckpointError(f"{str(path)!r} must be of algorithm {algorithm!r}, found {found!r}")
        if tuple(record["observation"]) != OBSERVATION_NAMES:
            raise CheckpointError(
                f"{str(path)!r} must be for the observation {list(OBSERVATION_NAMES)}, found {record['observation']}"
            )
        action = dict(record["action"])
        action_kind = _ACTION_KINDS[action.pop("kind")](**action)
        settings = Sb3Settings.from_dict(found, record["settings"])
        policy = build_policy(found, settings.policy, len(OBSERVATION_NAMES), action_kind.n_actions)
        policy.load_state_dict(tensors)
        task, label = Task.from_json(record["task"]), record["name"]
    except CheckpointError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{str(path)!r} must hold a complete agent, found {error}") from error
    return Sb3Bidder(policy, settings, task, action_kind, name=label if name is None else name)


def _make(algorithm: str, /, path: str | Path, *, name: str | None = None) -> Sb3Bidder:
    return load(path, algorithm=algorithm, name=name)


make_ppo = partial(_make, "ppo")
make_sac = partial(_make, "sac")
make_td3 = partial(_make, "td3")
make_recurrent_ppo = partial(_make, "recurrent_ppo")
make_tqc = partial(_make, "tqc")
