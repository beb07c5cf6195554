"""Several policies of the same kind that decide by the mean of their actions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vamo.config import ModelConfig
from vamo.examples.normalisation import Normalisation
from vamo.model.policy import Policy, Prediction


class Ensemble(Policy):
    """The mean of the members' log multipliers; their errors differ by their random starts and batches.

    Args:
        config: Of each member.
        members: At least one.
        normalisation: Statistics of the training data; the identity by default.
    """

    def __init__(
        self, config: ModelConfig, members: Sequence[Policy], normalisation: Normalisation | None = None
    ) -> None:
        super().__init__(config, normalisation)
        self.members: Sequence[Policy] = nn.ModuleList(members)  # type: ignore[assignment]  # a list of modules

    def forward(
        self,
        requirements: Tensor,
        state: Tensor,
        advertiser: Tensor,
        category: Tensor,
        tick: Tensor,
        has_next: Tensor | None = None,
    ) -> Prediction:
        """See `Policy.forward`; a plan is the mean of the members' plans."""
        inputs = requirements, state, advertiser, category, tick, has_next
        said: list[Prediction] = [member(*inputs) for member in self.members]
        plans = [prediction.plan for prediction in said if prediction.plan is not None]
        action = torch.stack([prediction.action for prediction in said]).mean(dim=0)
        return Prediction(action, torch.stack(plans).mean(dim=0) if plans else None)
