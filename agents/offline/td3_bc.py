"""TD3+BC (Fujimoto and Gu 2021, arXiv 2106.06860): TD3 with a term that keeps the policy near the logged actions.

torchrl's: `TD3BCLoss`, targets included. Checked against the paper and its code (`test_offline_losses`):

- the actor minimises -lambda Q1(s, pi(s)) + (pi(s) - a)^2 with lambda = alpha / mean |Q1(s, pi(s))|, not differentiated
  (equation 5; the paper averages over logged actions, its code over those of the policy, as torchrl does);
- the critics regress r + discount min_i Q'_i(s', clip(pi'(s') + clip(noise))) (TD3, arXiv 1802.09477, algorithm 1),
  with `loss_function="l2"`: torchrl's default is the Huber loss.

Ours: actor and targets every `policy_delay` steps, and the normalised states that the paper asks for
(`networks.Policy`).
"""

from __future__ import annotations

from dataclasses import dataclass

from tensordict import TensorDict  # type: ignore[import-untyped]
from tensordict.nn import TensorDictModule  # type: ignore[import-untyped]
from torch import Tensor
from torchrl.objectives import TD3BCLoss  # type: ignore[import-untyped]

from agents.learning.policy import DeterministicActor
from agents.learning.settings import require_not_negative, require_positive, require_share
from agents.offline.algorithm import Algorithm, adam, prepared
from agents.offline.networks import action_spec, q_pair
from agents.offline.settings import OfflineSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Td3BcSettings(OfflineSettings):
    """Beside the common ones."""

    alpha: float  # weight of the value against the logged actions; 0 is behaviour cloning
    tau: float  # share of the new weights in the target networks
    policy_noise: float  # standard deviation of the noise on target actions
    noise_clip: float  # its largest size
    policy_delay: int  # critic steps for each step of the actor

    def __post_init__(self) -> None:
        OfflineSettings.__post_init__(self)
        require_positive(self, "policy_delay")
        require_share(self, "tau")
        require_not_negative(self, "alpha", "policy_noise", "noise_clip")


class Td3Bc(Algorithm):
    """Twin critics and a deterministic actor."""

    def __init__(self, settings: Td3BcSettings) -> None:
        super().__init__()
        self._delay = settings.policy_delay
        self.actor = build_actor(settings)
        self.loss = TD3BCLoss(
            TensorDictModule(self.actor, in_keys=["observation"], out_keys=["action"]),
            q_pair(settings.hidden),
            action_spec=action_spec(),
            alpha=settings.alpha,
            policy_noise=settings.policy_noise,
            noise_clip=settings.noise_clip,
            loss_function="l2",
        )
        self._targets = prepared(self.loss, settings.discount, settings.tau)
        self.optimizers = {
            "actor": adam(self.actor, settings),
            "critic": adam(self.loss.qvalue_network_params, settings),
        }

    def update(self, batch: TensorDict, step: int) -> dict[str, Tensor]:
        losses = {"critic": self.minimise("critic", self.loss.qvalue_loss(batch)[0])}
        if (step + 1) % self._delay == 0:
            losses["actor"] = self.minimise("actor", self.loss.actor_loss(batch)[0])
            self._targets.step()
        return losses


def build_actor(settings: Td3BcSettings) -> DeterministicActor:
    """The network that is stored."""
    return DeterministicActor(settings.hidden)


SETTINGS, ALGORITHM = Td3BcSettings, Td3Bc
