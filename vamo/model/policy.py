"""What all backbones share: the statistics of the training data, inputs in their units, and what is predicted."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vamo.config import ModelConfig
from vamo.examples.inputs import REQUIREMENT_GATES, REQUIREMENT_INPUTS
from vamo.examples.normalisation import Normalisation, identity_normalisation

INPUT_BOUND = 8.0  # standard deviations at which normalised inputs are cut off


class Prediction(NamedTuple):
    """What the model says of m ticks."""

    action: Tensor  # (n, m) log multipliers relative to the bid base
    plan: Tensor | None  # (n, m, horizon, N_FEATURES) normalised next states; None without a planner


class Policy(nn.Module):
    """A map from windows of inputs to log multipliers relative to the bid base; a subclass a backbone.

    Args:
        config: Sizes and variant.
        normalisation: Statistics of the training data, kept as buffers; the identity by default.
    """

    gates: Tensor
    is_gated: Tensor
    action_mean: Tensor
    action_std: Tensor

    def __init__(self, config: ModelConfig, normalisation: Normalisation | None = None) -> None:
        super().__init__()
        self.config = config
        gates = [0 if gate is None else REQUIREMENT_INPUTS.index(gate) for gate in REQUIREMENT_GATES]
        self.register_buffer("gates", torch.tensor(gates), persistent=False)
        is_gated = [gate is not None for gate in REQUIREMENT_GATES]
        self.register_buffer("is_gated", torch.tensor(is_gated), persistent=False)
        statistics = identity_normalisation() if normalisation is None else normalisation
        for name, value in statistics._asdict().items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))

    def forward(
        self,
        requirements: Tensor,
        state: Tensor,
        advertiser: Tensor,
        category: Tensor,
        tick: Tensor,
        has_next: Tensor | None = None,
    ) -> Prediction:
        """Log multipliers relative to the bid base, and the plan where there is a planner.

        Args:
            requirements: (n, W, len(REQUIREMENT_INPUTS)), W at most `config.window`.
            state: (n, W, N_FEATURES).
            advertiser: (n, len(ADVERTISER_INPUTS)).
            category: (n,) int64.
            tick: (n, W) int64; the time of day is its remainder by `config.n_ticks`.
            has_next: (n, W), for the loss of a planner only: `Planner.forward`.

        Returns:
            Predictions of all W ticks: without `has_next` the entry of a tick depends on no later tick.
        """
        raise NotImplementedError

    @property
    def has_planner(self) -> bool:
        """Whether the next states are planned beside the action."""
        return self.config.head == "planner"

    def known_category(self, category: Tensor) -> Tensor:
        """Rows of the category embedding: the last one is that of all categories out of range."""
        known = (category >= 0) & (category < self.config.n_categories)
        return torch.where(known, category, self.config.n_categories)

    def in_action_units(self, action: Tensor) -> Tensor:
        """Log multipliers from actions in standard deviations of the training data."""
        return self.action_mean + self.action_std * action

    def normalise_requirements(self, requirements: Tensor) -> Tensor:
        """Normalised requirements in which an absent constraint's inputs are 0."""
        gate = torch.where(self.is_gated, requirements[..., self.gates], 1.0)
        return self.normalise("requirements", requirements) * gate

    def normalise_state(self, state: Tensor) -> Tensor:
        """States in standard deviations of the training data, cut off at `INPUT_BOUND`."""
        return self.normalise("state", state)

    def normalise(self, name: str, x: Tensor) -> Tensor:
        """Inputs `x` in standard deviations of the training data's `name`, cut off at `INPUT_BOUND`."""
        mean, std = getattr(self, f"{name}_mean"), getattr(self, f"{name}_std")
        out: Tensor = ((x - mean) / std).clamp(-INPUT_BOUND, INPUT_BOUND)
        return out
