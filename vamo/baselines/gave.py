"""GAVE (arXiv 2504.14587): a score to go, and actions beyond the logged ones where a value function favours them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vamo.baselines.backbone import Baseline, Critic, Trunk, expectile_loss
from vamo.baselines.settings import GaveSettings, GenerativeSettings
from vamo.baselines.windows import FIRST_SCORE, Statistics, Windows
from vamo.model.losses import group_means


class Gave(Baseline):
    """A decision transformer on the score to go with the paper's four losses.

    The coefficient beta in (0.5, 1.5) scales the logged action. Our actions are logarithms of multipliers, so that
    log(beta) is added. As in the authors' code, explored actions are valued by a second pass with their tokens in place
    of the logged ones; ours passes through a critic apart from the policy, whose parameters that pass does not train.

    What an action is valued by is `evaluated`. The paper's (`after`) is the score to go after the tick, r_{t+1}, which
    is the higher the less the tick earns: it favours bids that buy nothing. `rest` is the score from the tick on, read
    by a critic that is not told it.

    With `data.action_label=hindsight` the policy learns the hindsight-optimal action, or one that it explored around
    it, whichever the critic values more. The critic itself learns from the logged action, whose score it is.
    """

    def __init__(self, settings: GenerativeSettings, statistics: Statistics) -> None:
        super().__init__(settings, statistics)
        own, d_model = settings.algorithm, settings.backbone.d_model
        assert isinstance(own, GaveSettings)
        self.own = own
        self.trunk = Trunk(settings.backbone, self.n_observed, 1)
        self.critic = Critic(settings.backbone, self.n_observed, 1 if own.evaluated == "after" else 0)
        self.action_head = nn.Linear(d_model, 1)
        self.beta_head = nn.Linear(d_model, 1)

    def _stream(self, batch: Windows) -> Tensor:
        """(n, W, D) what the policy knows before the tick's action."""
        conditions = self.conditions(batch.to_go, [FIRST_SCORE])
        out: Tensor = self.trunk(conditions, self.observed(batch), batch.category, batch.tick, self.actions(batch))
        return out[:, :, 0]

    def forward(self, batch: Windows) -> Tensor:
        """The weighted sum of the losses of return, action, value and exploration."""
        own, h, action, label = self.own, self._stream(batch), self.actions(batch), self.labels(batch)
        conditions = self.to_go(batch.to_go, [FIRST_SCORE])
        target = (conditions if own.evaluated == "rest" else self.to_go(batch.next_to_go, [FIRST_SCORE]))[..., 0]
        known = (conditions, self.observed(batch), batch.category, batch.tick)
        explored = label + self.beta(h).log() / self.action_std
        value, logged_return = self.critic(*known, action)
        # held parameters: only the explored actions learn from the critic
        held = {name: parameter.detach() for name, parameter in self.critic.named_parameters()}
        explored_return = functional_call(self.critic, held, (*known, explored))[1]
        is_logged = self.settings.data.action_label == "logged"
        label_return = logged_return if is_logged else functional_call(self.critic, held, (*known, label))[1]
        # w: how much more the explored action is expected to bring than the label; no gradient passes it
        weight = torch.sigmoid(own.sharpness * (explored_return - label_return)).detach()
        predicted = self.action_head(h)[..., 0]
        to_label = (1 - weight) * (predicted - label).square()
        to_explored = weight * (predicted - explored.detach()).square()
        total = (
            own.return_weight * (logged_return - target).square()
            + own.action_weight * (to_label + to_explored)
            + own.value_weight * expectile_loss(target - value, own.expectile)
            + own.explore_weight * (value.detach() - explored_return).square()
        )
        return group_means(total, batch.mask, 1)

    def beta(self, h: Tensor) -> Tensor:
        """(n, W) the coefficients: sigmoid + 0.5."""
        out: Tensor = torch.sigmoid(self.beta_head(h)[..., 0]) + 0.5
        return out

    def decide(self, batch: Windows) -> Tensor:
        """The predicted action of the last tick."""
        out: Tensor = self.action_head(self._stream(batch))[:, -1, 0]
        return out
