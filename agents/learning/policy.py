"""A policy from an observation to a log multiplier, as it is stored: normalisation, network, range of actions."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from agents.learning.observation import OBSERVATION_NAMES

N_OBSERVATION = len(OBSERVATION_NAMES)
CLIP = 10.0  # standard deviations


def mlp(n_in: int, hidden: tuple[int, ...], n_out: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    sizes = (n_in, *hidden)
    layers: list[nn.Module] = []
    for i, size in enumerate(hidden):
        layers += [nn.Linear(sizes[i], size), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], n_out))


class Actor(Protocol):
    """Decides; also an `nn.Module`."""

    def mode(self, observation: Tensor) -> Tensor:
        """Action (B, 1) in [-1, 1] that is played, for normalised observations (B, 31); draws nothing."""
        ...


class DeterministicActor(nn.Module):
    """tanh of a perceptron."""

    def __init__(self, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.body = mlp(N_OBSERVATION, hidden, 1)

    def forward(self, observation: Tensor) -> Tensor:
        return torch.tanh(self.body(observation))  # (B, 1)

    def mode(self, observation: Tensor) -> Tensor:
        action: Tensor = self(observation)
        return action


class Policy(nn.Module):
    """Raw observations to log multipliers: normalisation, actor, range of actions. All of it is in its weights.

    Args:
        actor: Takes normalised observations.
        mean, std: (31,) of the training data; `std` positive.
        low, high: Range of the log multiplier that the actions -1 and 1 stand for.
    """

    mean: Tensor
    std: Tensor
    bounds: Tensor

    def __init__(self, actor: nn.Module, mean: Tensor, std: Tensor, low: float, high: float) -> None:
        super().__init__()
        if not low < high:
            raise ValueError(f"`low` must be below `high`, found {low} and {high}")
        self.actor = actor
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())
        self.register_buffer("bounds", torch.tensor([low, high], dtype=torch.float64))

    def normalise(self, observation: Tensor) -> Tensor:
        """(x - mean) / std, clipped; the same in training and in use."""
        return ((observation - self.mean) / self.std).clamp(-CLIP, CLIP)

    def to_action(self, log_multiplier: Tensor) -> Tensor:
        """(m,) log multipliers as actions (m, 1), clipped to [-1, 1]."""
        low, high = self.bounds
        action: Tensor = (2.0 * (log_multiplier - low) / (high - low) - 1.0).clamp(-1.0, 1.0).float()[:, None]
        return action

    def forward(self, observation: Tensor) -> Tensor:
        """(n,) log multipliers, float64, from raw observations (n, 31)."""
        action = self.actor.mode(self.normalise(observation))  # type: ignore[operator]  # of `Actor`
        low, high = self.bounds
        log_multiplier: Tensor = low + (action[:, 0].double() + 1.0) / 2.0 * (high - low)
        return log_multiplier
