"""Behaviour cloning: the mean of the logged actions (Pomerleau 1991; the baseline of every offline paper).

With `action_label=hindsight` it learns the hindsight-optimal actions of the logged ticks instead: imitation of an
oracle that knows the episode, as in OIL (arXiv 2412.11434).

torchrl's: `BCLoss`. Checked: with `loss_function="l2"` it is mean (pi(s) - a)^2, the negative log-likelihood of a
Gaussian of fixed width up to constants; no hidden entropy or weight terms (`test_offline_losses`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tensordict import TensorDict  # type: ignore[import-untyped]
from tensordict.nn import TensorDictModule, TensorDictParams  # type: ignore[import-untyped]
from torch import Tensor
from torchrl.objectives import BCLoss  # type: ignore[import-untyped]

from agents.learning.policy import DeterministicActor
from agents.offline.algorithm import Algorithm, adam
from agents.offline.settings import OfflineSettings


class Cloning(BCLoss):  # type: ignore[misc]
    """torchrl's loss, with an annotation that it lacks and warns of."""

    target_actor_network_params: TensorDictParams


@dataclass(frozen=True, slots=True, kw_only=True)
class BcSettings(OfflineSettings):
    """Nothing of its own; `signal`, `reward_scale`, `discount` and `n_step` do not matter, as no reward does."""

    uses_rewards: ClassVar[bool] = False


class Bc(Algorithm):
    """Regression of the logged, or hindsight-optimal, actions."""

    def __init__(self, settings: BcSettings) -> None:
        super().__init__()
        self.actor = build_actor(settings)
        network = TensorDictModule(self.actor, in_keys=["observation"], out_keys=["action"])
        self.loss = Cloning(network, loss_function="l2")
        self.optimizers = {"actor": adam(self.actor, settings)}

    def update(self, batch: TensorDict, step: int) -> dict[str, Tensor]:
        return {"actor": self.minimise("actor", self.loss(batch)["loss_bc"])}


def build_actor(settings: BcSettings) -> DeterministicActor:
    """The network that is stored."""
    return DeterministicActor(settings.hidden)


SETTINGS, ALGORITHM = BcSettings, Bc
