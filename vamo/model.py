"""The causal transformer with feature-wise conditioning on the requirements (arXiv 2510.07760, v2).

Three tokens a tick, in causal order: requirements y, state s, advertiser c; the action of the tick is read
from the last one. Attention is written out in products and a softmax because the fused CPU kernel has no
forward-mode derivative, which the alignments need (`vamo.alignment`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from auction_env.observation import N_FEATURES
from vamo.config import ModelConfig
from vamo.inputs import ADVERTISER_INPUTS, REQUIREMENT_GATES, REQUIREMENT_INPUTS
from vamo.relabel import Float

N_TOKENS = 3  # of a tick
INPUT_BOUND = 8.0  # standard deviations at which normalised inputs are cut off


class Batch(NamedTuple):
    """n windows of W consecutive ticks, padded at the end; groups of equal size lie one after the other."""

    requirements: Tensor  # (n, W, len(REQUIREMENT_INPUTS))
    state: Tensor  # (n, W, N_FEATURES)
    advertiser: Tensor  # (n, len(ADVERTISER_INPUTS))
    category: Tensor  # (n,) int64
    tick: Tensor  # (n, W) int64, absolute
    action: Tensor  # (n, W) log multiplier relative to the bid base
    mask: Tensor  # (n, W) 1 where the action counts, 0 elsewhere
    n_groups: int  # n is a multiple of it


class Normalisation(NamedTuple):
    """Statistics of the training data."""

    requirements_mean: Float  # (len(REQUIREMENT_INPUTS),)
    requirements_std: Float
    state_mean: Float  # (N_FEATURES,)
    state_std: Float
    advertiser_mean: Float  # (len(ADVERTISER_INPUTS),)
    advertiser_std: Float
    action_mean: Float  # () of the log multiplier, as all that follow
    action_std: Float
    action_low: Float  # smallest logged one: an agent does not bid below
    action_high: Float  # largest logged one: nor above


def identity_normalisation() -> Normalisation:
    """Statistics that leave inputs as they are and bound the multiplier to a thousand times its base."""
    sizes = (len(REQUIREMENT_INPUTS), N_FEATURES, len(ADVERTISER_INPUTS))
    moments = [f(n) for n in sizes for f in (np.zeros, np.ones)]
    bound = math.log(1e3)
    return Normalisation(*moments, *(np.asarray(x) for x in (0.0, 1.0, -bound, bound)))


class Attention(nn.Module):
    """Multi-head self-attention under an additive mask."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        n, length, d_model = x.shape
        heads = self.qkv(x).view(n, length, 3, self.n_heads, d_model // self.n_heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # (n, L, 3, H, D/H) -> 3 x (n, H, L, D/H)
        scores = q @ k.transpose(-1, -2) / math.sqrt(d_model // self.n_heads) + bias  # (n, H, L, L)
        mixed = torch.softmax(scores, dim=-1) @ v
        joined = mixed.transpose(1, 2).reshape(n, length, d_model)  # (n, H, L, D/H) -> (n, L, D)
        out: Tensor = self.out(joined)
        return out


class Block(nn.Module):
    """Attention and a two-layer perceptron, each normalised before and added to the stream."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(d_model)
        self.attention = Attention(d_model, n_heads)
        self.norm_mlp = nn.LayerNorm(d_model)
        self.mlp = nn.Sequential(nn.Linear(d_model, 4 * d_model), nn.GELU(), nn.Linear(4 * d_model, d_model))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x), bias)
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out


class FiLM(nn.Module):
    """h <- gamma(y) * h + beta(y); the identity at initialisation: gamma = 1, beta = 0."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.shift_scale = nn.Linear(d_model, 2 * d_model)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        gamma, beta = self.shift_scale(y).chunk(2, dim=-1)
        out: Tensor = (1 + gamma) * h + beta
        return out


class Vamo(nn.Module):
    """The multi-task policy: windows of inputs to log multipliers relative to the bid base.

    Args:
        config: Sizes.
        normalisation: Statistics of the training data, kept as buffers; the identity by default.
        seed: Of the initial parameters; global random state is left alone.
    """

    def __init__(self, config: ModelConfig, normalisation: Normalisation | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        d_model = config.d_model
        with torch.random.fork_rng(devices=[]):  # constructors draw values that `_initialise` replaces
            self.embed_requirements = _encoder(len(REQUIREMENT_INPUTS), d_model)
            self.embed_state = _encoder(N_FEATURES, d_model)
            self.embed_advertiser = nn.Linear(len(ADVERTISER_INPUTS), d_model)
            self.embed_category = nn.Embedding(config.n_categories + 1, d_model)
            self.embed_tick = nn.Embedding(config.n_ticks, d_model)
            blocks = [Block(d_model, config.n_heads) for _ in range(config.n_blocks)]
            self.blocks = nn.ModuleList(blocks)
            self.films = nn.ModuleList([FiLM(d_model) for _ in blocks] if config.film else [])
            self.norm = nn.LayerNorm(d_model)
            self.head = nn.Linear(d_model, 1)
        length = N_TOKENS * config.context
        bias = torch.full((length, length), -torch.inf).triu(diagonal=1)
        self.register_buffer("bias", bias, persistent=False)
        gates = [-1 if gate is None else REQUIREMENT_INPUTS.index(gate) for gate in REQUIREMENT_GATES]
        self.register_buffer("gates", torch.tensor(gates), persistent=False)
        statistics = identity_normalisation() if normalisation is None else normalisation
        for name, value in statistics._asdict().items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))
        self._initialise(torch.Generator().manual_seed(seed))

    def _initialise(self, generator: torch.Generator) -> None:
        """Weights ~ N(0, 1 / fan-in); small ends of the residual branches and head; FiLM is the identity."""
        for name, parameter in self.named_parameters():
            if name.startswith("films.") or name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" in name:
                nn.init.ones_(parameter)
            elif name.startswith(("embed_category", "embed_tick")):
                nn.init.normal_(parameter, std=0.1, generator=generator)
            else:
                std = parameter.shape[1] ** -0.5
                if name.endswith(("attention.out.weight", "mlp.2.weight")):
                    std /= math.sqrt(2 * self.config.n_blocks)
                if name == "head.weight":
                    std *= 0.1
                nn.init.normal_(parameter, std=std, generator=generator)

    def forward(
        self, requirements: Tensor, state: Tensor, advertiser: Tensor, category: Tensor, tick: Tensor
    ) -> Tensor:
        """Log multipliers relative to the bid base.

        Args:
            requirements: (n, W, len(REQUIREMENT_INPUTS)), W at most `config.context`.
            state: (n, W, N_FEATURES).
            advertiser: (n, len(ADVERTISER_INPUTS)).
            category: (n,) int64.
            tick: (n, W) int64, absolute time of day.

        Returns:
            (n, W): the entry of a tick depends on no later tick.
        """
        n, n_ticks, _ = state.shape
        d_model = self.config.d_model
        y: Tensor = self.embed_requirements(self.normalise_requirements(requirements))
        s: Tensor = self.embed_state(self._normalise("state", state))
        known = (category >= 0) & (category < self.config.n_categories)
        c: Tensor = self.embed_advertiser(self._normalise("advertiser", advertiser))
        c = c + self.embed_category(torch.where(known, category, self.config.n_categories))
        h = torch.stack([y, s, c[:, None].expand_as(s)], dim=2)  # (n, W, 3, D)
        h = h + self.embed_tick(tick)[:, :, None]
        bias = self.get_buffer("bias")[: N_TOKENS * n_ticks, : N_TOKENS * n_ticks]
        for index, block in enumerate(self.blocks):
            if self.config.film:
                h = self.films[index](h, y[:, :, None])
            h = block(h.view(n, N_TOKENS * n_ticks, d_model), bias)  # (n, W, 3, D) -> (n, 3W, D)
            h = h.view(n, n_ticks, N_TOKENS, d_model)  # (n, 3W, D) -> (n, W, 3, D)
        out: Tensor = self.head(self.norm(h[:, :, -1]))[..., 0]  # (n, W, D) -> (n, W)
        return self.get_buffer("action_mean") + self.get_buffer("action_std") * out

    def normalise_requirements(self, requirements: Tensor) -> Tensor:
        """Normalised requirements in which an absent constraint's inputs are 0."""
        gates = self.get_buffer("gates")
        gate = torch.where(gates >= 0, requirements[..., gates.clamp_min(0)], 1.0)
        return self._normalise("requirements", requirements) * gate

    def _normalise(self, name: str, x: Tensor) -> Tensor:
        mean, std = self.get_buffer(f"{name}_mean"), self.get_buffer(f"{name}_std")
        return ((x - mean) / std).clamp(-INPUT_BOUND, INPUT_BOUND)


def _encoder(n_inputs: int, d_model: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_inputs, d_model), nn.GELU(), nn.Linear(d_model, d_model))


def action_losses(model: Vamo, parameters: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """Squared error of the log multiplier, in units of its standard deviation over the training data.

    Args:
        model: The architecture, and its buffers.
        parameters: Its parameters by name, which may differ from those it holds.
        batch: Windows.

    Returns:
        (n_groups, n / n_groups): one loss a window, scaled so that the mean over a group is the masked mean
        over all its ticks; padding and masked ticks never change it.
    """
    prediction: Tensor = functional_call(model, dict(parameters), tuple(batch[:5]))
    error = (prediction - batch.action) / model.get_buffer("action_std")
    mask = batch.mask.view(batch.n_groups, -1, batch.mask.shape[1])  # (n, W) -> (G, n/G, W)
    losses = error.square().view_as(mask) * mask
    count = mask.sum(dim=(1, 2)).clamp_min(1.0)  # a group without any action has loss 0
    return losses.sum(dim=2) * (mask.shape[1] / count)[:, None]
