"""QGA (arXiv 2601.02754): a decision transformer whose loss and whose decisions two action-value functions guide."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vamo.baselines.backbone import Baseline, Trunk, head, repeated
from vamo.baselines.dt import DecisionTransformer
from vamo.baselines.settings import Backbone, GenerativeSettings, QgaSettings
from vamo.baselines.windows import FIRST_SCORE, Statistics, Windows
from vamo.model.losses import group_means

_LEAST_VALUE = 1e-3  # of the mean |Q| that the regularisation is divided by


class ActionValue(nn.Module):
    """Q of the action of every tick of a window, from the output at its token.

    Args:
        config: Sizes.
        n_observed: Length of the observation.
    """

    def __init__(self, config: Backbone, n_observed: int) -> None:
        super().__init__()
        self.trunk = Trunk(config, n_observed, 0)
        self.head = head(config.d_model, config.d_model)

    def forward(self, observation: Tensor, category: Tensor, tick: Tensor, action: Tensor) -> Tensor:
        """(n, W); arguments as of `Trunk.forward`."""
        h = self.trunk(action[..., :0, None], observation, category, tick, action)
        out: Tensor = self.head(h[:, :, 1])[..., 0]
        return out


class Qga(Baseline):
    """A decision transformer that imitates, and is drawn to actions of higher value.

    Its loss is the decision transformer's minus `q_weight` x min(Q1, Q2) of its own actions over their mean size, as
    in the Q-value regularised transformer (arXiv 2405.17098). The two learn by double Q-learning: the reward of the
    tick, plus the lower of their values of the policy's action at the next one. Where a window ends the realised score
    to go stands for the next value. So values are bootstrapped over a window at most, and need no second, slower copy
    of the networks, as the paper has.

    A decision explores twice, as the paper does: the policy is conditioned on several returns, and each of the actions
    is perturbed. The lower of the two values chooses among all.

    With `data.action_label=hindsight` the policy learns hindsight-optimal actions and is conditioned on no return, so
    that only perturbed actions are explored. The values learn from the logged actions, whose rewards they are.
    """

    def __init__(self, settings: GenerativeSettings, statistics: Statistics) -> None:
        super().__init__(settings, statistics)
        self.policy = DecisionTransformer(settings, statistics)
        self.first, self.second = (ActionValue(settings.backbone, self.n_observed) for _ in range(2))

    @property
    def own(self) -> QgaSettings:
        """The algorithm's settings."""
        assert isinstance(self.settings.algorithm, QgaSettings)
        return self.settings.algorithm

    def forward(self, batch: Windows) -> Tensor:
        """The losses of imitation, of the regularisation and of both values."""
        predicted = self.policy.predicted(batch)
        known = (self.observed(batch), batch.category, batch.tick)
        value = torch.minimum(*(_held(network, *known, predicted) for network in (self.first, self.second)))
        std = self.to_go_std[FIRST_SCORE]
        now, then = batch.to_go[..., FIRST_SCORE] / std, batch.next_to_go[..., FIRST_SCORE] / std
        is_inside = torch.cat([batch.mask[:, 1:] > 0, torch.zeros_like(batch.mask[:, :1]) > 0], dim=1)
        next_value = torch.where(is_inside, torch.roll(value.detach(), -1, dims=1), then)
        target, action = now - then + next_value, self.actions(batch)
        size = (value.detach().abs() * batch.mask).sum() / batch.mask.sum().clamp_min(1.0)
        total = (
            (predicted - self.labels(batch)).square()
            - self.own.q_weight * value / size.clamp_min(_LEAST_VALUE)
            + (target - self.first(*known, action)).square()
            + (target - self.second(*known, action)).square()
        )
        return group_means(total, batch.mask, 1)

    def decide(self, batch: Windows) -> Tensor:
        """The action of the highest value among those that several returns and perturbations give."""
        own = self.own
        factors = own.return_factors if self.settings.data.action_label == "logged" else (1.0,)
        wanted = [self.policy.decide(batch._replace(to_go=factor * batch.to_go)) for factor in factors]
        # the same perturbations for every campaign: a decision does not depend on what else is in the batch
        noise = torch.randn(own.n_candidates, generator=torch.Generator().manual_seed(own.seed * 1000 + batch.seed))
        noise[0] = 0.0
        candidates = (torch.stack(wanted, dim=1)[..., None] + own.search_sd * noise).flatten(1)  # (n, F * C)
        k = candidates.shape[1]
        tiled, past = repeated(batch, k), self.actions(batch).repeat_interleave(k, dim=0)
        action = torch.cat([past[:, :-1], candidates.view(-1, 1)], dim=1)
        known = (self.observed(tiled), tiled.category, tiled.tick)
        value = torch.minimum(self.first(*known, action), self.second(*known, action))[:, -1].view_as(candidates)
        return candidates.gather(1, value.argmax(dim=1, keepdim=True))[:, 0]


def _held(network: ActionValue, *arguments: Tensor) -> Tensor:
    """What a network gives, without a gradient to its parameters."""
    held = {name: parameter.detach() for name, parameter in network.named_parameters()}
    out: Tensor = functional_call(network, held, arguments)
    return out
