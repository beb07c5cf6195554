"""The state of a Stable-Baselines3 training as tensors and JSON values, from which it goes on to the same numbers.

Weights, optimisers, counters and the replay buffer. What a stretch of training draws depends on its number alone
(`agents.sb3.training`), so that there is no state of a random generator and none of an environment.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from torch import Tensor
from torch.optim import Optimizer

from agents.learning.run_state import below, load_optimizer, optimizer_tensors

_BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
_COUNTERS = ("num_timesteps", "_n_updates", "_episode_num")


def state_of(model: BaseAlgorithm) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON values of a model between two calls of `learn`."""
    tensors = {f"policy/{name}": tensor for name, tensor in model.policy.state_dict().items()}
    for label, optimizer in _optimizers(model).items():
        tensors |= optimizer_tensors(label, optimizer)
    tensors |= {f"variable/{name}": getattr(model, name).detach() for name in _variables(model)}
    record: dict[str, Any] = {name: getattr(model, name) for name in _COUNTERS}
    buffer = _replay_buffer(model)
    if buffer is not None:
        rows = buffer.size()
        tensors |= {f"buffer/{name}": torch.from_numpy(getattr(buffer, name)[:rows]) for name in _BUFFER}
        record |= {"position": int(buffer.pos), "is_full": bool(buffer.full)}
    return tensors, record


@torch.no_grad()
def restore(model: BaseAlgorithm, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    """Continues from the `state_of` a model with equal arguments."""
    model.policy.load_state_dict(below("policy", tensors))
    for label, optimizer in _optimizers(model).items():
        load_optimizer(label, optimizer, tensors)
    for name in _variables(model):
        getattr(model, name).copy_(tensors[f"variable/{name}"])
    for name in _COUNTERS:
        setattr(model, name, record[name])
    buffer = _replay_buffer(model)
    if buffer is not None:
        for name in _BUFFER:
            stored = tensors[f"buffer/{name}"].numpy()
            np.copyto(getattr(buffer, name)[: len(stored)], stored)
        buffer.pos, buffer.full = record["position"], record["is_full"]


def _optimizers(model: BaseAlgorithm) -> dict[str, Optimizer]:
    """By name: of the policy, or of actor, critic and entropy coefficient."""
    labels, _ = model._get_torch_save_params()
    found: dict[str, Optimizer] = {}
    for label in labels:
        owner: Any = model
        for part in label.split("."):
            owner = getattr(owner, part)
        if isinstance(owner, Optimizer):
            found[f"optimizer/{label}"] = owner
    return found


def _variables(model: BaseAlgorithm) -> list[str]:
    return model._get_torch_save_params()[1]


def _replay_buffer(model: BaseAlgorithm) -> ReplayBuffer | None:
    return model.replay_buffer if isinstance(model, OffPolicyAlgorithm) else None
