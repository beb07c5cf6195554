"""The transformer of all baselines on the blocks of `vamo.model.blocks`, and what every learner has in common."""

from __future__ import annotations

import copy
from typing import Self

import torch
from torch import Tensor, nn

from vamo.baselines.settings import Backbone, GenerativeSettings
from vamo.baselines.windows import Statistics, Windows
from vamo.model.blocks import Block, encoder
from vamo.model.policy import INPUT_BOUND


class Trunk(nn.Module):
    """Causal transformer over the tokens of each tick: what is to go (one token each), state, action.

    The order is the decision transformer's (arXiv 2106.01345), so that the output at a tick's state token
    knows all but that tick's action and what follows.

    Args:
        config: Sizes.
        n_observed: Length of the observation.
        n_conditions: Tokens of what is to go; 0 for critics.
    """

    bias: Tensor

    def __init__(self, config: Backbone, n_observed: int, n_conditions: int) -> None:
        super().__init__()
        d_model = config.d_model
        self.n_ticks, self.n_categories, self.n_conditions = config.n_ticks, config.n_categories, n_conditions
        self.n_tokens = n_conditions + 2
        self.embed_condition = nn.ModuleList([nn.Linear(1, d_model) for _ in range(n_conditions)])
        self.embed_state = encoder(n_observed, d_model)
        self.embed_action = nn.Linear(1, d_model)
        self.embed_category = nn.Embedding(config.n_categories + 1, d_model)
        self.embed_tick = nn.Embedding(config.n_ticks, d_model)
        self.blocks = nn.ModuleList([Block(d_model, config.n_heads) for _ in range(config.n_blocks)])
        self.norm = nn.LayerNorm(d_model)
        length = self.n_tokens * config.context
        bias = torch.full((length, length), -torch.inf).triu(diagonal=1)
        self.register_buffer("bias", bias, persistent=False)

    def forward(
        self, conditions: Tensor, observation: Tensor, category: Tensor, tick: Tensor, action: Tensor
    ) -> Tensor:
        """The stream at state and action tokens.

        Args:
            conditions: (n, W, n_conditions), as all that follow normalised.
            observation: (n, W, O).
            category: (n,) int64.
            tick: (n, W) int64.
            action: (n, W).

        Returns:
            (n, W, 2, D): at the state token, which does not know the tick's action, and at the action token.
        """
        n, window = action.shape
        known = (category >= 0) & (category < self.n_categories)
        of_category = self.embed_category(torch.where(known, category, self.n_categories))
        state = self.embed_state(observation) + of_category[:, None]
        wanted = [embed(conditions[..., c, None]) for c, embed in enumerate(self.embed_condition)]
        tokens = torch.stack([*wanted, state, self.embed_action(action[..., None])], dim=2)
        h = (tokens + self.embed_tick(tick % self.n_ticks)[:, :, None]).flatten(1, 2)  # -> (n, W tokens, D)
        length = h.shape[1]
        for block in self.blocks:
            h, _ = block(h, self.bias[:length, :length])
        out: Tensor = self.norm(h).view(n, window, self.n_tokens, -1)[:, :, -2:]
        return out


class Baseline(nn.Module):
    """A baseline: `forward` gives training losses, `decide` an action; both read `Windows`.

    Args:
        settings: Of the algorithm.
        statistics: Of the training data, kept as buffers.
    """

    observation_mean: Tensor
    observation_std: Tensor
    to_go_mean: Tensor
    to_go_std: Tensor
    action_mean: Tensor
    action_std: Tensor
    action_low: Tensor
    action_high: Tensor

    def __init__(self, settings: GenerativeSettings, statistics: Statistics) -> None:
        super().__init__()
        self.settings = settings
        for name, value in statistics._asdict().items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))
        self.n_observed = len(self.observation_mean)

    def forward(self, batch: Windows) -> Tensor:
        """(1, n) losses of the windows; their mean is that of the masked means over ticks."""
        raise NotImplementedError

    def decide(self, batch: Windows) -> Tensor:
        """(n,) normalised actions of the windows' last tick."""
        raise NotImplementedError

    def with_settings(self, settings: GenerativeSettings) -> Self:
        """The same parameters, which are shared, under settings that differ in what the policy is conditioned on."""
        other = copy.copy(self)
        other.settings = settings
        return other

    def observed(self, batch: Windows) -> Tensor:
        """Normalised observations, (n, W, O)."""
        x = (batch.observation - self.observation_mean) / self.observation_std
        return x.clamp(-INPUT_BOUND, INPUT_BOUND)

    def to_go(self, values: Tensor, columns: list[int]) -> Tensor:
        """Columns of what is to go, normalised, (n, W, len(columns))."""
        x = (values - self.to_go_mean) / self.to_go_std
        return x[..., columns].clamp(-INPUT_BOUND, INPUT_BOUND)

    def conditions(self, values: Tensor, columns: list[int]) -> Tensor:
        """What the policy is conditioned on, (n, W, len(columns)): `to_go`.

        Zeros for one that learns hindsight-optimal actions. They do not depend on what the logged ones brought, but
        this tells of the traffic to come, which an acting policy does not know.
        """
        to_go = self.to_go(values, columns)
        return to_go if self.settings.data.action_label == "logged" else torch.zeros_like(to_go)

    def actions(self, batch: Windows) -> Tensor:
        """Normalised actions that were played, (n, W)."""
        return self._normalised(batch.action)

    def labels(self, batch: Windows) -> Tensor:
        """Normalised actions that the policy learns, (n, W)."""
        return self._normalised(batch.label)

    def _normalised(self, action: Tensor) -> Tensor:
        return ((action - self.action_mean) / self.action_std).clamp(-INPUT_BOUND, INPUT_BOUND)

    def multiplier(self, normalised: Tensor) -> Tensor:
        """Log multipliers of normalised actions, within the range of those that the policy learned."""
        log = self.action_mean + self.action_std * normalised
        return torch.minimum(torch.maximum(log, self.action_low), self.action_high)


class Critic(nn.Module):
    """A Q-transformer: V(s) from the output at the tick's state token, Q(s, a) from that at its action token.

    Args:
        config: Sizes.
        n_observed: Length of the observation.
        n_conditions: Tokens of what is to go.
    """

    def __init__(self, config: Backbone, n_observed: int, n_conditions: int = 0) -> None:
        super().__init__()
        self.n_conditions = n_conditions
        self.trunk = Trunk(config, n_observed, n_conditions)
        self.value_head = head(config.d_model, config.d_model)
        self.action_value_head = head(config.d_model, config.d_model)

    def forward(
        self, conditions: Tensor, observation: Tensor, category: Tensor, tick: Tensor, action: Tensor
    ) -> tuple[Tensor, Tensor]:
        """V and Q of every tick, (n, W) each; arguments as of `Trunk.forward`, conditions beyond its own unread."""
        h = self.trunk(conditions[..., : self.n_conditions], observation, category, tick, action)
        return self.value_head(h[:, :, 0])[..., 0], self.action_value_head(h[:, :, 1])[..., 0]


def repeated(batch: Windows, n: int) -> Windows:
    """Windows with what critics read of each n times in a row: for n actions to compare."""
    names = ("observation", "category", "tick")
    return batch._replace(**{name: getattr(batch, name).repeat_interleave(n, dim=0) for name in names})


def expectile_loss(error: Tensor, tau: float) -> Tensor:
    """|tau - 1(u < 0)| u^2 of u = target - value (implicit Q-learning, arXiv 2110.06169)."""
    return torch.where(error < 0, 1 - tau, tau) * error.square()


def head(d_in: int, d_model: int) -> nn.Sequential:
    """A number from a stream of width `d_in`."""
    return nn.Sequential(nn.Linear(d_in, d_model), nn.GELU(), nn.Linear(d_model, 1))
