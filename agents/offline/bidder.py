"""A policy learned from logs as a bidder, and its checkpoint."""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from agents.learning.checkpoint import CheckpointError, read, write
from agents.learning.observation import OBSERVATION_NAMES, check_campaigns, observe
from agents.offline.networks import N_OBSERVATION, Policy
from agents.offline.settings import Settings, check_algorithm, settings_class
from auction_env.control.bidder import Campaigns, TickView
from auction_env.tasks import Task

KIND = "offline-agent"
ACTION = "log multiplier over the worth of a unit"


class OfflineBidder:
    """Plays the policy's action from the observation of `Bidding-v0`, for n campaigns in one forward pass.

    Args:
        policy: Raw observations (n, 31) to log multipliers over the worth of a unit (n,).
        algo: The algorithm that it was trained with.
        settings: Of the training.
        task: What it was trained for.
        name: Label in tables; None is the algorithm's name.
    """

    def __init__(self, policy: Policy, algo: str, settings: Settings, task: Task, *, name: str | None = None) -> None:
        self.name = algo if name is None else name
        self.policy, self.algo, self.settings, self.task = policy, algo, settings, task

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


def save(path: str | Path, bidder: OfflineBidder) -> None:
    """Writes weights, normalisation, range of actions, settings and task atomically; no pickle."""
    record = {
        "algorithm": bidder.algo,
        "settings": bidder.settings.to_dict(),
        "task": bidder.task.to_json(),
        "observation": list(OBSERVATION_NAMES),
        "action": ACTION,
        "name": bidder.name,
    }
    write(path, KIND, bidder.policy.state_dict(), record)


def load(path: str | Path, *, algorithm: str | None = None, name: str | None = None) -> OfflineBidder:
    """The bidder that `save` wrote.

    Args:
        path: The checkpoint.
        algorithm: The one it must be of; None takes any.
        name: Another label than the stored one.

    Raises:
        FileNotFoundError: No such file.
        CheckpointError: A foreign or damaged file, one of another algorithm, observation or action, or weights that do
            not fit its own settings.
    """
    tensors, record = read(path, KIND)
    try:
        found = record["algorithm"]
        check_algorithm(found)
        if algorithm is not None and found != algorithm:
            raise CheckpointError(f"{str(path)!r} must be of algorithm {algorithm!r}, found {found!r}")
        for what, wanted in (("observation", list(OBSERVATION_NAMES)), ("action", ACTION)):
            if record[what] != wanted:
                raise CheckpointError(f"{str(path)!r} must be for the {what} {wanted!r}, found {record[what]!r}")
        settings = settings_class(found).from_dict(record["settings"])
        actor = importlib.import_module(f"agents.offline.{found}").build_actor(settings)
        policy = Policy(actor, torch.zeros(N_OBSERVATION), torch.ones(N_OBSERVATION), -1.0, 1.0)
        policy.load_state_dict(tensors)
        task, label = Task.from_json(record["task"]), record["name"]
    except CheckpointError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{str(path)!r} must hold a complete agent, found {error}") from error
    return OfflineBidder(policy.eval(), found, settings, task, name=label if name is None else name)


def _make(algorithm: str, /, path: str | Path, *, name: str | None = None) -> OfflineBidder:
    return load(path, algorithm=algorithm, name=name)


make_bc = partial(_make, "bc")
make_td3_bc = partial(_make, "td3_bc")
make_iql = partial(_make, "iql")
make_cql = partial(_make, "cql")
make_bcq = partial(_make, "bcq")
make_mopo = partial(_make, "mopo")
