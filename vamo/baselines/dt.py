"""Decision transformer (arXiv 2106.01345) for one task: the action given the return to go, the past and the state."""

from __future__ import annotations

from torch import Tensor, nn

from vamo.baselines.backbone import Baseline, Trunk
from vamo.baselines.settings import GenerativeSettings
from vamo.baselines.windows import RETURN, Statistics, Windows
from vamo.model.losses import group_means


class DecisionTransformer(Baseline):
    """Tokens return to go, state, action; the state token's output predicts the action."""

    def __init__(self, settings: GenerativeSettings, statistics: Statistics) -> None:
        super().__init__(settings, statistics)
        self.trunk = Trunk(settings.backbone, self.n_observed, 1)
        self.action_head = nn.Linear(settings.backbone.d_model, 1)

    def forward(self, batch: Windows) -> Tensor:
        """Squared error of the action in standard deviations, the paper's loss for continuous actions."""
        error = self.predicted(batch) - self.labels(batch)
        return group_means(error.square(), batch.mask, 1)

    def predicted(self, batch: Windows) -> Tensor:
        """(n, W) normalised actions."""
        conditions = self.conditions(batch.to_go, [RETURN])
        h = self.trunk(conditions, self.observed(batch), batch.category, batch.tick, self.actions(batch))
        out: Tensor = self.action_head(h[:, :, 0])[..., 0]
        return out

    def decide(self, batch: Windows) -> Tensor:
        """The predicted action of the last tick."""
        return self.predicted(batch)[:, -1]
