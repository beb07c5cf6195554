"""Networks that the learners from logs share beside `agents.learning.policy`, as torchrl takes them."""

from __future__ import annotations

import torch
from tensordict.nn import TensorDictModule  # type: ignore[import-untyped]
from torch import Tensor, nn
from torchrl.data import Bounded  # type: ignore[import-untyped]
from torchrl.modules import ProbabilisticActor, TanhNormal  # type: ignore[import-untyped]

from agents.learning.policy import N_OBSERVATION, mlp

LOG_STD_RANGE = (-5.0, 2.0)
LEAST_STD = 1e-3


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
