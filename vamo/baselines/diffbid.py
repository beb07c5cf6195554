"""DiffBid (arXiv 2405.16141): the states of the episode by guided diffusion, the action by inverse dynamics.

The noise schedules and the sampler are those of the package diffusers. The network predicts the clean states, not the
noise: with few sampling steps the first one starts from almost pure noise, where a clean state computed from a
predicted noise is that noise's error many times over (arXiv 2305.08891 on schedules that end in pure noise).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from auction_env.control.observation import N_FEATURES
from vamo.baselines.backbone import Baseline
from vamo.baselines.settings import Backbone, DiffbidSettings, GenerativeSettings
from vamo.baselines.windows import COST, RETURN, Statistics, Windows
from vamo.model.blocks import Block, encoder
from vamo.model.losses import group_means
from vamo.model.policy import INPUT_BOUND


class Denoiser(nn.Module):
    """The clean day of a noisy one: one token a tick, attention in both directions over the campaign's ticks."""

    def __init__(self, config: Backbone, n_static: int, n_noise_steps: int) -> None:
        super().__init__()
        d_model = config.d_model
        self.embed_state = encoder(N_FEATURES, d_model)
        self.embed_tick = nn.Embedding(config.n_ticks, d_model)
        self.embed_noise = nn.Embedding(n_noise_steps, d_model)
        self.embed_known = nn.Embedding(2, d_model)
        self.embed_condition = encoder(2, d_model)
        self.embed_static = nn.Linear(n_static, d_model)
        self.no_condition = nn.Parameter(torch.zeros(d_model))
        self.blocks = nn.ModuleList([Block(d_model, config.n_heads) for _ in range(config.n_blocks)])
        self.norm = nn.LayerNorm(d_model)
        self.out = nn.Linear(d_model, N_FEATURES)

    def forward(
        self,
        states: Tensor,
        known: Tensor,
        noise_step: Tensor,
        condition: Tensor,
        has_condition: Tensor,
        static: Tensor,
        tick: Tensor,
        mask: Tensor,
    ) -> Tensor:
        """(n, W, N_FEATURES) the clean states.

        Args:
            states: (n, W, N_FEATURES), clean where they are known.
            known: (n, W) bool, whether a state has been seen.
            noise_step: (n,) int64.
            condition: (n, 2) return and cost of the whole episode.
            has_condition: (n,) bool; where False the model is unconditional.
            static: (n, n_static) what is known of the campaign.
            tick: (n, W) int64.
            mask: (n, W) 1 at the campaign's ticks: nobody attends to the others.
        """
        wanted = torch.where(has_condition[:, None], self.embed_condition(condition), self.no_condition)
        context = wanted + self.embed_noise(noise_step) + self.embed_static(static)
        h = self.embed_state(states) + self.embed_tick(tick) + self.embed_known(known.long()) + context[:, None]
        bias = torch.where(mask > 0, 0.0, -torch.inf)[:, None, None]  # (n, 1, 1, W)
        for block in self.blocks:
            h, _ = block(h, bias)
        out: Tensor = self.out(self.norm(h))
        return out


class DiffBid(Baseline):
    """Denoiser, and inverse dynamics from the last states and the next one to the action between them."""

    def __init__(self, settings: GenerativeSettings, statistics: Statistics) -> None:
        import diffusers  # slow to import, and for this baseline only

        super().__init__(settings, statistics)
        own, config = settings.algorithm, settings.backbone
        assert isinstance(own, DiffbidSettings)
        self.own, n_static = own, self.n_observed - N_FEATURES
        schedule: dict[str, Any] = {"num_train_timesteps": own.n_noise_steps, "beta_schedule": "squaredcos_cap_v2"}
        schedule["prediction_type"] = "sample"
        library: Any = diffusers  # its schedulers have no annotations
        self.noising = library.DDPMScheduler(**schedule)
        self.sampler = library.DDIMScheduler(
            **schedule, clip_sample=True, clip_sample_range=INPUT_BOUND, timestep_spacing="trailing"
        )
        self.sampler.set_timesteps(own.n_sample_steps)
        self.denoiser = Denoiser(config, n_static, own.n_noise_steps)
        n_inputs = (own.inverse_history + 1) * N_FEATURES + 1 + n_static
        self.inverse = nn.Sequential(encoder(n_inputs, config.d_model), nn.GELU(), nn.Linear(config.d_model, 1))

    def forward(self, batch: Windows) -> Tensor:
        """Squared errors of the clean states and of the inverse dynamics' action, in standard deviations.

        The states before a random tick are kept clean, as they are in use, where the past is known.
        """
        x, static = self._split(batch)
        n, window = batch.mask.shape
        generator = torch.Generator().manual_seed(batch.seed)
        row = torch.arange(window)
        is_ours = (row < (batch.mask * (row + 1)).amax(dim=1, keepdim=True)).float()  # up to the last action
        noise_step = torch.randint(self.own.n_noise_steps, (n,), generator=generator)
        noise = torch.randn(x.shape, generator=generator)
        first = 1 + (torch.rand(n, 1, generator=generator) * is_ours.sum(dim=1, keepdim=True)).long()
        has_condition = torch.rand(n, generator=generator) >= self.own.unconditional_share
        known = row < first
        noisy = torch.where(known[..., None], x, self.noising.add_noise(x, noise, noise_step))
        condition = self.to_go(batch.to_go, [RETURN, COST])[:, 0]
        predicted = self.denoiser(noisy, known, noise_step, condition, has_condition, static, batch.tick, is_ours)
        denoising = group_means((predicted - x).square().mean(dim=2), is_ours * ~known, 1)
        has_next = torch.cat([is_ours[:, 1:], torch.zeros(n, 1)], dim=1)
        action = self._action(self._recent(x), torch.roll(x, -1, dims=1), has_next, static)
        inverse = group_means((action - self.actions(batch)).square(), batch.mask, 1)
        return denoising + self.own.inverse_weight * inverse

    def _split(self, batch: Windows) -> tuple[Tensor, Tensor]:
        """Normalised states (n, W, N_FEATURES), and what of the first tick's observation stays all day."""
        x = self.observed(batch)
        return x[..., :N_FEATURES], x[:, 0, N_FEATURES:]

    def _recent(self, states: Tensor) -> Tensor:
        """(n, W, L N_FEATURES) of states (n, W, N_FEATURES): each tick's and the L - 1 before it, 0 before."""
        ages = range(self.own.inverse_history)
        shifted = [nn.functional.pad(states, (0, 0, age, 0))[:, : states.shape[1]] for age in ages]
        return torch.cat(shifted, dim=-1)

    def _action(self, recent: Tensor, following: Tensor, has_next: Tensor, static: Tensor) -> Tensor:
        """(n, W) normalised actions that lead from recent states to the following one; the last tick has none."""
        has = has_next[..., None]
        static = static[:, None].expand(-1, recent.shape[1], -1)
        out: Tensor = self.inverse(torch.cat([recent, following * has, has, static], dim=-1))[..., 0]
        return out

    def decide(self, batch: Windows) -> Tensor:
        """The action toward the next state of a sampled day that begins with the states seen."""
        x, static = self._split(batch)
        now, recent = x.shape[1] - 1, self._recent(x)[:, -1:]
        if now + 1 == self.settings.backbone.n_ticks:
            return self._action(recent, torch.zeros_like(x[:, :1]), torch.zeros(len(x), 1), static)[:, 0]
        plan = self.plan(x, static, self.to_go(batch.to_go, [RETURN, COST])[:, 0], batch.seed)
        return self._action(recent, plan[:, now + 1 : now + 2], torch.ones(len(x), 1), static)[:, 0]

    def plan(self, seen: Tensor, static: Tensor, condition: Tensor, seed: int) -> Tensor:
        """(n, n_ticks, N_FEATURES) states of the episode: those seen, and sampled ones after them.

        Classifier-free guidance: free + omega (guided - free), which for clean states is the same as for noises, since
        at a given noisy state the one is a linear function of the other.
        """
        n, n_seen = seen.shape[:2]
        length = self.settings.backbone.n_ticks
        generator = torch.Generator().manual_seed(seed)
        # one noise for all campaigns: a decision does not depend on what else is in the batch
        x = torch.randn(1, length, N_FEATURES, generator=generator).expand(n, -1, -1).clone()
        x[:, :n_seen] = seen
        known = (torch.arange(length) < n_seen).expand(2 * n, -1)
        tick = torch.arange(length).expand(2 * n, -1)
        has_condition = torch.arange(2 * n) < n
        twice = [torch.cat([part, part]) for part in (condition, static)]
        for step in self.sampler.timesteps:
            both = self.denoiser(
                torch.cat([x, x]), known, step.expand(2 * n), twice[0], has_condition, twice[1], tick,
                torch.ones(2 * n, length),
            )  # fmt: skip
            guided, free = both.chunk(2)
            x = self.sampler.step(free + self.own.guidance * (guided - free), step, x).prev_sample
            x[:, :n_seen] = seen
        return x
