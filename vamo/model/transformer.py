"""The causal transformer over requirements, states and advertisers (arXiv 2510.07760).

Three tokens a tick, in causal order: requirements y, state s, advertiser c; the action of the tick is read
from the last one. `ModelConfig` names the variants: how y conditions the blocks (`vamo.model.conditioning`), which
head reads the action (`vamo.model.planner`), whether periods of the history are fed in (`vamo.model.periodicity`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from auction_env.control.observation import N_FEATURES
from vamo.config import ModelConfig
from vamo.examples.inputs import ADVERTISER_INPUTS, REQUIREMENT_INPUTS
from vamo.examples.normalisation import Normalisation
from vamo.model.blocks import Block, encoder
from vamo.model.conditioning import N_PROMPTS, BlockUpdate, Concat, FiLM, Prompts
from vamo.model.periodicity import Periodicity
from vamo.model.planner import Planner
from vamo.model.policy import Policy, Prediction

N_TOKENS = 3  # of a tick


class Past(NamedTuple):
    """What `Transformer.extend` needs to know of a window's earlier ticks."""

    key_values: tuple[Tensor, ...]  # (n, tokens, 2 D) of each block
    state: Tensor  # (n, rows, N_FEATURES), normalised


class Transformer(Policy):
    """The causal transformer.

    Args:
        config: Sizes and variant.
        normalisation: Statistics of the training data, kept as buffers; the identity by default.
        seed: Of the initial parameters; global random state is left alone. What two variants have in common
            up to the head starts with the same values.
    """

    bias: Tensor

    def __init__(self, config: ModelConfig, normalisation: Normalisation | None = None, *, seed: int = 0) -> None:
        super().__init__(config, normalisation)
        with torch.random.fork_rng(devices=[]):  # constructors draw values that `_initialise` replaces
            self._make_layers()
        length = N_TOKENS * config.context + (N_PROMPTS if config.conditioning == "prompt" else 0)
        bias = torch.full((length, length), -torch.inf).triu(diagonal=1)
        self.register_buffer("bias", bias, persistent=False)
        self._initialise(torch.Generator().manual_seed(seed))

    def _make_layers(self) -> None:
        """The layers: those of every variant first, so that they draw the same initial values."""
        config, d_model = self.config, self.config.d_model
        self.embed_requirements = encoder(len(REQUIREMENT_INPUTS), d_model)
        self.embed_state = encoder(N_FEATURES, d_model)
        self.embed_advertiser = nn.Linear(len(ADVERTISER_INPUTS), d_model)
        self.embed_category = nn.Embedding(config.n_categories + 1, d_model)
        self.embed_tick = nn.Embedding(config.n_ticks, d_model)
        indices = range(config.n_blocks)
        self.blocks = nn.ModuleList([Block(d_model, config.n_heads) for _ in indices])
        self.norm = nn.LayerNorm(d_model)
        self.head = None if self.has_planner else nn.Linear(d_model, 1)
        self.planner = Planner(d_model, N_FEATURES, config.horizon) if self.has_planner else None
        kind = config.conditioning
        self.films = nn.ModuleList([FiLM(d_model) for _ in indices if kind == "film"])
        self.updates = nn.ModuleList([BlockUpdate(d_model) for _ in indices if kind == "hyper"])
        self.prompts = Prompts(d_model) if kind == "prompt" else None
        self.concat = Concat(d_model) if kind == "concat" else None
        self.periodicity = (
            Periodicity(N_FEATURES, d_model, config.n_periods, config.context) if config.n_periods else None
        )
        # over several days the time of day does not tell two ticks apart
        self.embed_row = nn.Embedding(config.context, d_model) if config.context > config.n_ticks else None

    def _initialise(self, generator: torch.Generator) -> None:
        """Weights ~ N(0, 1 / fan-in); small ends of the residual branches and head; FiLM, updates: identity."""
        for name, parameter in self.named_parameters():
            if name.startswith("films.") or ".core." in name or name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" in name:
                nn.init.ones_(parameter)
            elif name.startswith(("embed_category", "embed_tick", "embed_row")):
                nn.init.normal_(parameter, std=0.1, generator=generator)
            else:
                std = parameter.shape[1] ** -0.5
                if name.endswith(("attention_out.weight", "mlp_out.weight")):
                    std /= math.sqrt(2 * self.config.n_blocks)
                if name in ("head.weight", "planner.change.weight", "planner.inverse_out.weight"):
                    std *= 0.1
                nn.init.normal_(parameter, std=std, generator=generator)

    def forward(
        self,
        requirements: Tensor,
        state: Tensor,
        advertiser: Tensor,
        category: Tensor,
        tick: Tensor,
        has_next: Tensor | None = None,
    ) -> Prediction:
        """See `Policy.forward`."""
        return self.extend(requirements, state, self.embed(advertiser, category), tick, has_next=has_next)[0]

    def embed(self, advertiser: Tensor, category: Tensor) -> Tensor:
        """The advertiser token without its time, (n, D), from the arguments of `forward`."""
        c: Tensor = self.embed_advertiser(self.normalise("advertiser", advertiser))
        embedded: Tensor = self.embed_category(self.known_category(category))
        return c + embedded

    def extend(
        self,
        requirements: Tensor,
        state: Tensor,
        advertiser: Tensor,
        tick: Tensor,
        past: Past | None = None,
        *,
        n_read: int | None = None,
        has_next: Tensor | None = None,
    ) -> tuple[Prediction, Past]:
        """Predictions for m further ticks of a window: those of `forward` for the whole of it.

        Args:
            requirements: (n, m, len(REQUIREMENT_INPUTS)).
            state: (n, m, N_FEATURES).
            advertiser: (n, D), of `embed`.
            tick: (n, m) int64.
            past: What this method returned for the window's earlier ticks; None at its first.
            n_read: Predictions are made for the last `n_read` of the m ticks; for all by default.
            has_next: As in `forward`; all m ticks are read then.

        Returns:
            Predictions, and the past of the next call.
        """
        n_rows = state.shape[1]
        n_read = n_rows if n_read is None else n_read
        assert has_next is None or n_read == n_rows
        y: Tensor = self.embed_requirements(self.normalise_requirements(requirements))
        s = self.normalise_state(state)
        history = s if past is None else torch.cat([past.state, s], dim=1)
        h = self._embed_tokens(y, s, history, advertiser, tick)  # (n, m, 3, D)
        h, key_values = self._run_blocks(h, y, past, n_read)  # (n, n_read, D)
        return self._read(self.norm(h), s[:, -n_read:], y[:, -n_read:], has_next), Past(key_values, history)

    def _embed_tokens(self, y: Tensor, s: Tensor, history: Tensor, advertiser: Tensor, tick: Tensor) -> Tensor:
        """The tick's three tokens, (n, m, 3, D)."""
        n_rows = s.shape[1]
        embedded = self.embed_state(s)
        if self.periodicity is not None:
            embedded = embedded + self.periodicity(history, n_rows)
        time = self.embed_tick(tick % self.config.n_ticks)  # (n, m, D)
        if self.embed_row is not None:
            rows = torch.arange(history.shape[1] - n_rows, history.shape[1], device=tick.device)
            time = time + self.embed_row(rows.expand(len(y), -1))
        h: Tensor = torch.stack([y, embedded, advertiser[:, None].expand_as(y)], dim=2) + time[:, :, None]
        return h if self.concat is None else self.concat(h, y[:, :, None])

    def _run_blocks(self, h: Tensor, y: Tensor, past: Past | None, n_read: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The stream after the blocks at the last tokens of the last `n_read` ticks, (n, n_read, D)."""
        n_rows = y.shape[1]
        h = h.flatten(1, 2)  # (n, m, 3, D) -> (n, 3 m, D)
        if self.prompts is not None and past is None:
            h = torch.cat([self.prompts(y[:, 0]), h], dim=1)
        first = 0 if past is None else past.key_values[0].shape[1]
        last = first + h.shape[1]
        bias = self.bias[first:last, :last]
        y_tokens = y.repeat_interleave(N_TOKENS, dim=1) if self.config.conditioning == "hyper" else None
        # the blocks' last one computes nothing at tokens that are not read: they are its keys and values only
        read = slice(h.shape[1] - N_TOKENS * n_read + N_TOKENS - 1, None, N_TOKENS)
        key_values = []
        for index, block in enumerate(self.blocks):
            if self.config.conditioning == "film":
                by_tick = h.view(len(h), n_rows, N_TOKENS, -1)  # (n, 3 m, D) -> (n, m, 3, D)
                h = self.films[index](by_tick, y[:, :, None]).flatten(1, 2)
            asking = read if index == self.config.n_blocks - 1 else slice(None)
            h, new = block(
                h,
                bias[asking],
                None if past is None else past.key_values[index],
                asking=asking,
                y=y_tokens,
                update=self.updates[index] if self.config.conditioning == "hyper" else None,
            )
            key_values.append(new)
        return h, tuple(key_values)

    def _read(self, h: Tensor, s: Tensor, y: Tensor, has_next: Tensor | None) -> Prediction:
        """The head's predictions from the normalised stream (n, W, D)."""
        if self.planner is not None:
            action, plan = self.planner(h, s, y, has_next)
        else:
            assert self.head is not None
            action, plan = self.head(h)[..., 0], None  # (n, W, 1) -> (n, W)
        return Prediction(self.in_action_units(action), plan)
