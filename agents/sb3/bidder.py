"""A trained Stable-Baselines3 policy as a bidder, and what its file holds.

Needs the extra `sb3`; `agents` does not import this module.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy

from agents.learning.checkpoint import AgentFile, CheckpointError
from agents.learning.observation import OBSERVATION_NAMES, check_campaigns, observe
from agents.sb3.policy import build_policy
from agents.sb3.settings import Sb3Settings
from auction_env.control.actions import ActionKind, LogMultiplier, RelativeAdjustment, TwoCoefficient
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.tasks import Task

_ACTION_KINDS: dict[str, type[LogMultiplier] | type[RelativeAdjustment] | type[TwoCoefficient]] = {
    "log_multiplier": LogMultiplier,
    "relative": RelativeAdjustment,
    "two_coefficient": TwoCoefficient,
}


class Sb3Bidder(NamedBidder):
    """Plays a policy's mean action from the observation of `Bidding-v0`, for n campaigns in one forward pass.

    Args:
        policy: Takes the raw observation (n, 31); its normalisation is inside (`policy.Standardise`).
        settings: Of the training; they name the algorithm.
        task: What it was trained for.
        action_kind: How its actions become multipliers.
        name: Label in tables; None is the algorithm's name.
        data_hash: Of the market that it learned in.
    """

    def __init__(
        self,
        policy: BasePolicy,
        settings: Sb3Settings,
        task: Task,
        action_kind: ActionKind,
        *,
        name: str | None = None,
        data_hash: str = "",
    ) -> None:
        self.name = settings.name if name is None else name
        self.data_hash = data_hash
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

    def to_file(self) -> AgentFile:
        """Weights, normalisation, settings, task and action kind."""
        kinds = {cls: name for name, cls in _ACTION_KINDS.items()}
        action_kind: Any = self.action_kind
        if type(action_kind) not in kinds:
            raise ValueError(f"`action_kind` must be one of {list(_ACTION_KINDS)} to be stored, found {action_kind!r}")
        return AgentFile(
            kind=self.settings.name,
            name=self.name,
            settings=self.settings.to_dict(),
            tasks=[self.task.to_json()],
            data_hash=self.data_hash,
            tensors=self.policy.state_dict(),
            own={
                "observation": list(OBSERVATION_NAMES),
                "action": {"kind": kinds[type(action_kind)], **asdict(action_kind)},
            },
        )

    @classmethod
    def from_file(cls, file: AgentFile) -> Sb3Bidder:
        """The bidder that `to_file` described; CheckpointError for one of another observation."""
        if tuple(file.own["observation"]) != OBSERVATION_NAMES:
            found = file.own["observation"]
            raise CheckpointError(f"must be for the observation {list(OBSERVATION_NAMES)}, found {found}")
        action = dict(file.own["action"])
        action_kind = _ACTION_KINDS[action.pop("kind")](**action)
        settings = Sb3Settings.from_dict(file.settings)
        policy = build_policy(file.kind, settings.policy, len(OBSERVATION_NAMES), action_kind.n_actions)
        policy.load_state_dict(dict(file.tensors))
        (task,) = (Task.from_json(text) for text in file.tasks)
        return cls(policy, settings, task, action_kind, name=file.name, data_hash=file.data_hash)
