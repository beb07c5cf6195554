"""GAVE (arXiv 2504.14587): a score to go, and actions beyond the logged ones where a value function favours them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from vamo.baselines.backbone import Learner, Trunk, expectile_loss, head
from vamo.baselines.reader import FIRST_SCORE, Statistics, Windows
from vamo.baselines.settings import GaveSettings, Settings
from vamo.model import group_means


class Gave(Learner):
    """A decision transformer on the score to go with the paper's four losses.

    The coefficient beta in (0.5, 1.5) scales the logged action. Our actions are logarithms of multipliers, so that
    log(beta) is added. The return of an explored action is read by a head on the state token's output and the action,
    not by a second pass with the action's token replaced.

    What an action is valued by is `evaluated`. The paper's (`after`) is the score to go after the tick, r_{t+1}, which
    is the higher the less the tick earns: it favours bids that buy nothing. `rest` is the score from the tick on, read
    by a transformer of its own that is not told it.
    """

    def __init__(self, settings: Settings, statistics: Statistics) -> None:
        super().__init__(settings, statistics)
        own, d_model = settings.algorithm, settings.backbone.d_model
        assert isinstance(own, GaveSettings)
        self.own = own
        self.trunk = Trunk(settings.backbone, self.n_observed, 1)
        self.evaluator = Trunk(settings.backbone, self.n_observed, 0) if own.evaluated == "rest" else None
        self.action_head = nn.Linear(d_model, 1)
        self.beta_head = nn.Linear(d_model, 1)
        self.value_head = head(d_model, d_model)
        self.return_head = head(d_model + 1, d_model)

    def _stream(self, batch: Windows) -> Tensor:
        """(n, W, D) what the policy knows before the tick's action."""
        conditions = self.to_go(batch.to_go, [FIRST_SCORE])
        out: Tensor = self.trunk(conditions, self.observed(batch), batch.category, batch.tick, self.actions(batch))
        return out[:, :, 0]

    def _evaluated(self, batch: Windows, h: Tensor) -> tuple[Tensor, Tensor]:
        """What the heads of return and value read, (n, W, D), and predict, (n, W); h is the policy's stream."""
        if self.evaluator is None:
            return h, self.to_go(batch.next_to_go, [FIRST_SCORE])[..., 0]  # r_{t+1}
        action = self.actions(batch)
        stream = self.evaluator(action[..., None][..., :0], self.observed(batch), batch.category, batch.tick, action)
        return stream[:, :, 0], self.to_go(batch.to_go, [FIRST_SCORE])[..., 0]

    def forward(self, batch: Windows) -> Tensor:
        """The weighted sum of the losses of return, action, value and exploration."""
        own = self.own
        h, action = self._stream(batch), self.actions(batch)
        stream, target = self._evaluated(batch, h)
        explored = action + self.beta(h).log() / self.action_std
        logged_return = self.return_head(torch.cat([stream, action[..., None]], dim=-1))[..., 0]
        explored_return = self._frozen_return(stream.detach(), explored)
        value = self.value_head(stream)[..., 0]
        # w: how much more the explored action is expected to bring than the logged one; no gradient passes it
        weight = torch.sigmoid(own.sharpness * (explored_return - logged_return)).detach()
        predicted = self.action_head(h)[..., 0]
        to_logged = (1 - weight) * (predicted - action).square()
        to_explored = weight * (predicted - explored.detach()).square()
        total = (
            own.return_weight * (logged_return - target).square()
            + own.action_weight * (to_logged + to_explored)
            + own.value_weight * expectile_loss(target - value, own.expectile)
            + own.explore_weight * (value.detach() - explored_return).square()
        )
        return group_means(total, batch.mask, 1)

    def beta(self, h: Tensor) -> Tensor:
        """(n, W) the coefficients: sigmoid + 0.5."""
        out: Tensor = torch.sigmoid(self.beta_head(h)[..., 0]) + 0.5
        return out

    def _frozen_return(self, h: Tensor, action: Tensor) -> Tensor:
        """The return head with its parameters held: only the explored action learns from the value function."""
        first, _, last = self.return_head
        assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
        x = torch.cat([h, action[..., None]], dim=-1)
        hidden = gelu(linear(x, first.weight.detach(), first.bias.detach()))
        return linear(hidden, last.weight.detach(), last.bias.detach())[..., 0]

    def decide(self, batch: Windows) -> Tensor:
        """The predicted action of the last tick."""
        out: Tensor = self.action_head(self._stream(batch))[:, -1, 0]
        return out
