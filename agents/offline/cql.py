"""Conservative Q-learning (Kumar et al. 2020, arXiv 2006.04779): critics that are low where nothing was logged. CQL(H).

torchrl's, checked against the paper and the authors' code (`test_offline_losses`): `CQLLoss.q_loss`, the critics'
Bellman error (without entropy in the target; `loss_function="l2"`), `actor_loss` and `alpha_loss` of SAC, and
`actor_bc_loss`, which the code takes for the actor's first steps.

Ours: the penalty, equation 4 with log-sum-exp as in appendix F,

    log sum_a exp Q(s, a)  ~  log 1/(2N) (sum_i exp Q(s, u_i) / U(u_i) + sum_i exp Q(s, a_i) / pi(a_i | s))

with u_i uniform and a_i of the policy, N of each;
because torchrl 0.14's `cql_loss` is another quantity: it takes the log-sum-exp over three actions (one of each kind)
and then the mean over N such triples, which is lower than the log-sum-exp over all of them; and it evaluates the
actions that the policy takes in s' at s' instead of s. Its Lagrangian multiplier never multiplies the penalty, so there
is none here either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from tensordict import TensorDict  # type: ignore[import-untyped]
from torch import Tensor
from torchrl.modules import TanhNormal  # type: ignore[import-untyped]
from torchrl.objectives import CQLLoss  # type: ignore[import-untyped]

from agents.learning.settings import require_not_negative, require_positive, require_share
from agents.offline.algorithm import Algorithm, adam, prepared
from agents.offline.networks import SquashedGaussianActor, action_spec, q_pair, squashed
from agents.offline.settings import OfflineSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class CqlSettings(OfflineSettings):
    """Beside the common ones."""

    conservatism: float  # weight of the penalty, the paper's alpha
    n_actions: int  # N: sampled actions of each kind
    alpha_init: float  # entropy coefficient at the start
    target_entropy: float  # of the policy, nats
    tau: float  # share of the new weights in the target critics
    cloning_steps: int  # first steps in which the actor learns the logged actions

    def __post_init__(self) -> None:
        OfflineSettings.__post_init__(self)
        require_positive(self, "n_actions", "alpha_init")
        require_not_negative(self, "conservatism", "cloning_steps")
        require_share(self, "tau")


class Cql(Algorithm):
    """Twin critics with the penalty, actor and entropy coefficient of SAC."""

    def __init__(self, settings: CqlSettings) -> None:
        super().__init__()
        self._settings = settings
        self.actor = build_actor(settings)
        self.loss = CQLLoss(
            squashed(self.actor),
            q_pair(settings.hidden),
            loss_function="l2",
            alpha_init=settings.alpha_init,
            target_entropy=settings.target_entropy,
            action_spec=action_spec(),
        )
        self._targets = prepared(self.loss, settings.discount, settings.tau)
        self.optimizers = {
            "critic": adam(self.loss.qvalue_network_params, settings),
            "actor": adam(self.actor, settings),
            "alpha": adam([self.loss.log_alpha], settings),
        }

    def update(self, batch: TensorDict, step: int) -> dict[str, Tensor]:
        bellman = self.loss.q_loss(batch)[0]
        penalty = self.penalty(batch)
        critic = self.minimise("critic", bellman + self._settings.conservatism * penalty)
        actor, sampled = self.loss.actor_loss(batch)
        if step < self._settings.cloning_steps:
            actor = self.loss.actor_bc_loss(batch)[0]
        losses = {"critic": critic, "penalty": penalty.detach(), "actor": self.minimise("actor", actor)}
        losses["alpha"] = self.minimise("alpha", self.loss.alpha_loss(sampled, mask_tensordict=batch)[0])
        self._targets.step()
        return losses

    def penalty(self, batch: TensorDict) -> Tensor:
        """Sum over the critics of mean_s [log-sum-exp_a Q(s, a) - Q(s, logged a)], differentiable in the critics."""
        n, size = self._settings.n_actions, len(batch)
        uniform = torch.rand(n, size, 1) * 2 - 1
        with torch.no_grad():
            policy = TanhNormal(*self.actor(batch["observation"]))
            own = policy.sample((n,))  # (n, B, 1)
            log_density = torch.cat((torch.full((n, size), math.log(0.5)), policy.log_prob(own)))  # (2n, B)
        sampled = self._values(batch["observation"].expand(2 * n, -1, -1), torch.cat((uniform, own)))  # (2, 2n, B)
        soft_maximum = torch.logsumexp(sampled - log_density, dim=1) - math.log(2 * n)  # (2, B)
        logged = self._values(batch["observation"], batch["action"])  # (2, B)
        return (soft_maximum - logged).mean(dim=-1).sum()

    def _values(self, observation: Tensor, action: Tensor) -> Tensor:
        """(2, ...) of the critics."""
        network = self.loss.qvalue_network
        inputs = TensorDict({"observation": observation, "action": action}, batch_size=observation.shape[:-1])

        def value(parameters: TensorDict) -> Tensor:
            with parameters.to_module(network, preserve_module_state=False):
                found: Tensor = network(inputs.clone(recurse=False))["state_action_value"].squeeze(-1)
            return found

        return torch.stack([value(parameters) for parameters in self.loss.qvalue_network_params.unbind(0)])


def build_actor(settings: CqlSettings) -> SquashedGaussianActor:
    """The network that is stored."""
    return SquashedGaussianActor(settings.hidden)


SETTINGS, ALGORITHM = CqlSettings, Cql
