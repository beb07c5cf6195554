"""Batch-constrained Q-learning (Fujimoto, Meger and Precup 2019, arXiv 1812.02900), continuous actions; all of it ours.

torchrl has no BCQ. As in algorithm 1 and the authors' code:

- a conditional variational autoencoder G(a | s) of the logged actions: reconstruction error plus half the KL divergence
  from a standard normal prior, latents of twice the action's size, cut to [-0.5, 0.5] in generation (appendix D.1);
- a perturbation xi(s, a) in [-phi, phi], which maximises Q1(s, a + xi(s, a)) over generated actions (equation 12);
- twin critics that regress r + discount max_i [lam min_j Q'_j(s', a_i) + (1 - lam) max_j Q'_j(s', a_i)] over
  `n_candidates` perturbed generated actions (equation 13);
- the policy: of `n_candidates` perturbed generated actions the one with the highest Q1 (equation 11).

One difference: in use the latents are `n_candidates` quantiles of the cut normal, the same in every state, so that the
same campaign always gets the same bids.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from tensordict import TensorDict  # type: ignore[import-untyped]
from torch import Tensor, nn

from agents.learning.policy import N_OBSERVATION, mlp
from agents.learning.settings import require_positive, require_share
from agents.offline.algorithm import Algorithm, adam
from agents.offline.networks import QNetwork
from agents.offline.settings import OfflineSettings

N_LATENT = 2
LATENT_CLIP = 0.5
LOG_STD_RANGE = (-4.0, 15.0)  # of the encoder, the authors' numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class BcqSettings(OfflineSettings):
    """Beside the common ones."""

    phi: float  # largest perturbation, of the action's range [-1, 1]
    lam: float  # weight of the lower of two critics in the targets
    n_candidates: int  # generated actions among which the policy chooses
    tau: float  # share of the new weights in the target networks

    def __post_init__(self) -> None:
        OfflineSettings.__post_init__(self)
        require_positive(self, "n_candidates")
        require_share(self, "phi", "lam", "tau")


class Autoencoder(nn.Module):
    """Generates actions like the logged ones."""

    def __init__(self, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = mlp(N_OBSERVATION + 1, hidden, 2 * N_LATENT)
        self.decoder = mlp(N_OBSERVATION + N_LATENT, hidden, 1)

    def decode(self, observation: Tensor, latent: Tensor) -> Tensor:
        """(..., 1) actions."""
        return torch.tanh(self.decoder(torch.cat((observation, latent), dim=-1)))

    def loss(self, observation: Tensor, action: Tensor) -> Tensor:
        """Reconstruction error plus half the mean KL divergence of the latents."""
        mean, log_std = self.encoder(torch.cat((observation, action), dim=-1)).chunk(2, dim=-1)
        std = log_std.clamp(*LOG_STD_RANGE).exp()
        decoded = self.decode(observation, mean + std * torch.randn_like(std))
        divergence = -0.5 * (1 + (std**2).log() - mean**2 - std**2).mean()
        loss: Tensor = nn.functional.mse_loss(decoded, action) + 0.5 * divergence
        return loss


class BcqActor(nn.Module):
    """Generator, perturbation and the critic that chooses."""

    latents: Tensor

    def __init__(self, settings: BcqSettings) -> None:
        super().__init__()
        self.phi = settings.phi
        self.autoencoder = Autoencoder(settings.hidden)
        self.perturbation = mlp(N_OBSERVATION + 1, settings.hidden, 1)
        self.critic = QNetwork(settings.hidden)
        self.register_buffer("latents", spread_latents(settings.n_candidates))

    def perturb(self, observation: Tensor, action: Tensor) -> Tensor:
        """(..., 1) actions, moved by at most `phi`."""
        moved = self.phi * torch.tanh(self.perturbation(torch.cat((observation, action), dim=-1)))
        return (action + moved).clamp(-1.0, 1.0)

    def mode(self, observation: Tensor) -> Tensor:
        repeated = observation.expand(len(self.latents), *observation.shape)  # (K, B, 31)
        latent = self.latents[:, None].expand(-1, len(observation), -1)
        action = self.perturb(repeated, self.autoencoder.decode(repeated, latent))  # (K, B, 1)
        best = self.critic(repeated, action).argmax(dim=0, keepdim=True)  # (1, B, 1)
        return action.gather(0, best)[0]


class Bcq(Algorithm):
    """Autoencoder, twin critics and perturbation."""

    actor: BcqActor

    def __init__(self, settings: BcqSettings) -> None:
        super().__init__()
        self._settings = settings
        self.actor = build_actor(settings)
        self.second = QNetwork(settings.hidden)
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.target_second = copy.deepcopy(self.second).requires_grad_(False)
        critics = [*self.actor.critic.parameters(), *self.second.parameters()]
        self.optimizers = {
            "autoencoder": adam(self.actor.autoencoder, settings),
            "critic": adam(critics, settings),
            "perturbation": adam(self.actor.perturbation, settings),
        }

    def update(self, batch: TensorDict, step: int) -> dict[str, Tensor]:
        observation, action = batch["observation"], batch["action"]
        autoencoder = self.actor.autoencoder
        losses = {"autoencoder": self.minimise("autoencoder", autoencoder.loss(observation, action))}
        target = self.target(batch)
        values = torch.stack((self.actor.critic(observation, action), self.second(observation, action)))
        losses["critic"] = self.minimise("critic", ((values - target) ** 2).mean(dim=(1, 2)).sum())
        with torch.no_grad():
            generated = autoencoder.decode(observation, draw_latents(len(observation)))
        gain = self.actor.critic(observation, self.actor.perturb(observation, generated))
        losses["perturbation"] = self.minimise("perturbation", -gain.mean())
        with torch.no_grad():
            for target_net, net in ((self.target_actor, self.actor), (self.target_second, self.second)):
                for old, new in zip(target_net.parameters(), net.parameters(), strict=True):
                    old.lerp_(new, self._settings.tau)
        return losses

    @torch.no_grad()
    def target(self, batch: TensorDict) -> Tensor:
        """(B, 1) what the critics regress: equation 13, with rewards of `steps_to_next_obs` ticks."""
        s, after = self._settings, batch["next"]
        repeated = after["observation"].expand(s.n_candidates, -1, -1)  # (K, B, 31)
        latent = draw_latents(s.n_candidates * len(batch)).reshape(s.n_candidates, len(batch), N_LATENT)
        action = self.target_actor.perturb(repeated, self.actor.autoencoder.decode(repeated, latent))
        first, second = self.target_actor.critic(repeated, action), self.target_second(repeated, action)
        value = s.lam * torch.minimum(first, second) + (1 - s.lam) * torch.maximum(first, second)
        discount = s.discount ** batch["steps_to_next_obs"].float()
        kept: Tensor = after["reward"] + discount * ~after["terminated"] * value.amax(dim=0)
        return kept


def draw_latents(n: int) -> Tensor:
    """(n, N_LATENT) standard normal latents, cut as in generation."""
    return torch.randn(n, N_LATENT).clamp(-LATENT_CLIP, LATENT_CLIP)


def spread_latents(n: int) -> Tensor:
    """(n, N_LATENT) quantiles of the cut normal, spread over the plane by a rank-1 lattice: the same every time."""
    i = torch.arange(n, dtype=torch.float64)
    shares = torch.stack(((i + 0.5) / n, (i * 0.6180339887498949 + 0.5) % 1.0), dim=1)
    quantiles: Tensor = torch.special.ndtri(shares)
    return quantiles.clamp(-LATENT_CLIP, LATENT_CLIP).float()


def build_actor(settings: BcqSettings) -> BcqActor:
    """The networks that are stored."""
    return BcqActor(settings)


SETTINGS, ALGORITHM = BcqSettings, Bcq
