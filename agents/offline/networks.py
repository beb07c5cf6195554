"""Networks that the learners share, the normalisation, and the policy that is stored."""

from __future__ import annotations

from typing import Protocol

import torch
from tensordict.nn import TensorDictModule  # type: ignore[import-untyped]
from torch import Tensor, nn
from torchrl.data import Bounded  # type: ignore[import-untyped]
from torchrl.modules import ProbabilisticActor, TanhNormal  # type: ignore[import-untyped]

from agents.learning.observation import OBSERVATION_NAMES

N_OBSERVATION = len(OBSERVATION_NAMES)
CLIP = 10.0  # standard deviations
LOG_STD_RANGE = (-5.0, 2.0)
LEAST_STD = 1e-3


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


class SquashedGaussianActor(nn.Module):
    """tanh of a Gaussian whose mean and deviation depend on the state, as in SAC (arXiv 1812.05905, appendix C)."""

    def __init__(self, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.body = mlp(N_OBSERVATION, hidden, 2)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation before the tanh, (B, 1) each."""
        loc, log_std = self.body(observation).chunk(2, dim=-1)
        return loc, log_std.clamp(*LOG_STD_RANGE).exp()

    def mode(self, observation: Tensor) -> Tensor:
        loc, _ = self(observation)
        return torch.tanh(loc)


class QNetwork(nn.Module):
    """Value of a state and an action."""

    def __init__(self, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.body = mlp(N_OBSERVATION + 1, hidden, 1)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        value: Tensor = self.body(torch.cat((observation, action), dim=-1))  # (..., 1)
        return value


def q_pair(hidden: tuple[int, ...]) -> list[TensorDictModule]:
    """Two value networks with weights of their own, as torchrl's losses take them."""
    return [
        TensorDictModule(QNetwork(hidden), in_keys=["observation", "action"], out_keys=["state_action_value"])
        for _ in range(2)
    ]


def action_spec() -> Bounded:
    """The range of actions: [-1, 1]."""
    return Bounded(-1.0, 1.0, shape=(1,), dtype=torch.float32)


def squashed(actor: SquashedGaussianActor) -> ProbabilisticActor:
    """The actor as torchrl's losses take it; its parameters are the same objects."""
    return ProbabilisticActor(
        TensorDictModule(actor, in_keys=["observation"], out_keys=["loc", "scale"]),
        in_keys=["loc", "scale"],
        distribution_class=TanhNormal,
        spec=action_spec(),
        return_log_prob=True,
    )


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
