"""Implicit Q-learning (Kostrikov, Nair and Levine 2022, arXiv 2110.06169): no value of an action that was not logged.

torchrl's: `IQLLoss`. Checked against the paper (`test_offline_losses`):

- value: expectile regression of min Q'(s, a) - V(s), weight |expectile - 1(u < 0)| (equations 4 and 5), with the target
  critics, as the authors' code does;
- critics: squared error to r + discount V(s') (equation 6), with `loss_function="l2"`: torchrl's default is the Huber
  loss, and its default `expectile` of 0.5 is no maximum at all, so that both are set here;
  it also drops `steps_to_next_obs`, so that targets of n ticks get their discount^n as its discount here;
- actor: -exp(beta (min Q' - V)) log pi(a | s), weights cut at 100 (equation 7, and the code); `temperature` is beta.

Ours: the policy, a Gaussian whose mean goes through a tanh and whose deviation does not depend on the state (appendix
B). Its mean is played.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tensordict import TensorDict  # type: ignore[import-untyped]
from tensordict.nn import TensorDictModule  # type: ignore[import-untyped]
from torch import Tensor, nn
from torchrl.modules import IndependentNormal, ProbabilisticActor  # type: ignore[import-untyped]
from torchrl.objectives import IQLLoss  # type: ignore[import-untyped]

from agents.learning.policy import N_OBSERVATION, mlp
from agents.learning.settings import require_not_negative, require_share
from agents.offline.algorithm import Algorithm, adam, prepared
from agents.offline.networks import LOG_STD_RANGE, q_pair
from agents.offline.settings import OfflineSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class IqlSettings(OfflineSettings):
    """Beside the common ones."""

    expectile: float  # of the value over the logged actions: 0.5 is their mean, 1 their maximum
    beta: float  # inverse temperature: 0 is behaviour cloning
    tau: float  # share of the new weights in the target critics

    def __post_init__(self) -> None:
        OfflineSettings.__post_init__(self)
        if not 0 < self.expectile < 1:
            raise ValueError(f"`expectile` must lie between 0 and 1, found {self.expectile}")
        require_not_negative(self, "beta")
        require_share(self, "tau")


class MeanActor(nn.Module):
    """A Gaussian with mean tanh(f(s)) and one deviation for all states."""

    def __init__(self, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.body = mlp(N_OBSERVATION, hidden, 1)
        self.log_std = nn.Parameter(torch.zeros(1))

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation, (B, 1) each."""
        loc = self.mode(observation)
        return loc, self.log_std.clamp(*LOG_STD_RANGE).exp().expand_as(loc)

    def mode(self, observation: Tensor) -> Tensor:
        return torch.tanh(self.body(observation))


class Iql(Algorithm):
    """Value, twin critics, actor."""

    def __init__(self, settings: IqlSettings) -> None:
        super().__init__()
        self.actor = build_actor(settings)
        actor = ProbabilisticActor(
            TensorDictModule(self.actor, in_keys=["observation"], out_keys=["loc", "scale"]),
            in_keys=["loc", "scale"],
            distribution_class=IndependentNormal,
            return_log_prob=True,
        )
        value = TensorDictModule(
            mlp(N_OBSERVATION, settings.hidden, 1), in_keys=["observation"], out_keys=["state_value"]
        )
        self.loss = IQLLoss(
            actor,
            q_pair(settings.hidden),
            value,
            loss_function="l2",
            temperature=settings.beta,
            expectile=settings.expectile,
        )
        # this loss drops `steps_to_next_obs`; where a target sums fewer ticks than `n_step`, it does not bootstrap
        self._targets = prepared(self.loss, settings.discount**settings.n_step, settings.tau)
        self.optimizers = {
            "value": adam(self.loss.value_network_params, settings),
            "critic": adam(self.loss.qvalue_network_params, settings),
            "actor": adam(self.actor, settings),
        }

    def update(self, batch: TensorDict, step: int) -> dict[str, Tensor]:
        losses = {
            "value": self.minimise("value", self.loss.value_loss(batch)[0]),
            "critic": self.minimise("critic", self.loss.qvalue_loss(batch)[0]),
            "actor": self.minimise("actor", self.loss.actor_loss(batch)[0]),
        }
        self._targets.step()
        return losses


def build_actor(settings: IqlSettings) -> MeanActor:
    """The network that is stored."""
    return MeanActor(settings.hidden)


SETTINGS, ALGORITHM = IqlSettings, Iql
