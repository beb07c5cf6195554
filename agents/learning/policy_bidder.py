"""A learned policy as a bidder, and what its file holds."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.learning.checkpoint import AgentFile, CheckpointError
from agents.learning.observation import OBSERVATION_NAMES, check_campaigns, observe
from agents.learning.policy import N_OBSERVATION, Policy
from agents.learning.settings import Settings
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.tasks import Task

ACTION = "log multiplier over the worth of a unit"


class PolicyBidder(NamedBidder):
    """Plays the policy's action from the observation of `Bidding-v0`, for n campaigns in one forward pass.

    Args:
        policy: Raw observations (n, 31) to log multipliers over the worth of a unit (n,).
        kind: The name in the registry of what it was trained with.
        settings: Of the training.
        task: What it was trained for.
        name: Label in tables; None is the kind.
        data_hash: Of what it learned from.
    """

    def __init__(
        self,
        policy: Policy,
        kind: str,
        settings: Settings,
        task: Task,
        *,
        name: str | None = None,
        data_hash: str = "",
    ) -> None:
        self.name = kind if name is None else name
        self.policy, self.kind, self.settings, self.task = policy, kind, settings, task
        self.data_hash = data_hash

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes; ValueError for campaigns of a task with another objective or other constraints."""
        check_campaigns(self.name, self.task, campaigns.requirements)
        self._base, self._requirements = campaigns.base, campaigns.requirements

    def observe(self, view: TickView) -> NDArray[np.float32]:
        """(n, 31) what the policy sees: the same numbers that `transitions` reads of a log."""
        return observe(view.features, self._requirements)

    @torch.no_grad()
    def act(self, view: TickView) -> NDArray[np.float64]:
        """Multipliers, shape (n,)."""
        log_multiplier: NDArray[np.float64] = self.policy(torch.from_numpy(self.observe(view))).numpy()
        return self._base * np.exp(log_multiplier)

    def to_file(self) -> AgentFile:
        """Weights, normalisation, range of actions, settings and task."""
        return AgentFile(
            kind=self.kind,
            name=self.name,
            settings=self.settings.to_dict(),
            tasks=[self.task.to_json()],
            data_hash=self.data_hash,
            tensors=self.policy.state_dict(),
            own={"observation": list(OBSERVATION_NAMES), "action": ACTION},
        )

    @classmethod
    def from_file(cls, file: AgentFile, settings: Settings, actor: nn.Module) -> PolicyBidder:
        """The bidder that `to_file` described; CheckpointError for one of another observation or action.

        Args:
            file: What was read.
            settings: Those that it describes.
            actor: The network of these settings, whose weights are replaced.
        """
        for what, wanted in (("observation", list(OBSERVATION_NAMES)), ("action", ACTION)):
            if file.own[what] != wanted:
                raise CheckpointError(f"must be for the {what} {wanted!r}, found {file.own[what]!r}")
        policy = Policy(actor, torch.zeros(N_OBSERVATION), torch.ones(N_OBSERVATION), -1.0, 1.0)
        policy.load_state_dict(dict(file.tensors))
        (task,) = (Task.from_json(text) for text in file.tasks)
        return cls(policy.eval(), file.kind, settings, task, name=file.name, data_hash=file.data_hash)
