"""GAS (arXiv 2412.17018): a decision transformer whose actions are refined by a search that critics vote on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vamo.baselines.backbone import Learner, Trunk, expectile_loss, head
from vamo.baselines.dt import DecisionTransformer
from vamo.baselines.reader import FIRST_SCORE, Statistics, Windows
from vamo.baselines.settings import GasSettings, Settings
from vamo.model import group_means


class Critic(nn.Module):
    """A Q-transformer for one preference: the past and the state to V(s) and, with the tick's action, Q(s, a)."""

    def __init__(self, settings: Settings, n_observed: int) -> None:
        super().__init__()
        d_model = settings.backbone.d_model
        self.trunk = Trunk(settings.backbone, n_observed, 0)
        self.value_head = head(d_model, d_model)
        self.action_value_head = head(d_model + 1, d_model)

    def stream(self, observation: Tensor, batch: Windows, action: Tensor) -> Tensor:
        """(n, W, D) what the critic knows before the tick's action."""
        empty = action[..., None][..., :0]
        out: Tensor = self.trunk(empty, observation, batch.category, batch.tick, action)
        return out[:, :, 0]

    def action_value(self, h: Tensor, action: Tensor) -> Tensor:
        """Q of actions (...,) at streams (..., D)."""
        out: Tensor = self.action_value_head(torch.cat([h, action[..., None]], dim=-1))[..., 0]
        return out


class Gas(Learner):
    """The policy and its critics.

    The paper trains the critics after the policy. Implicit Q-learning learns from the logs alone and never asks the
    policy for an action, so the order does not matter; here they train side by side. All that they share is the
    clipping of the gradient's norm.
    """

    def __init__(self, settings: Settings, statistics: Statistics) -> None:
        super().__init__(settings, statistics)
        self.policy = DecisionTransformer(settings, statistics)
        self.critics = nn.ModuleList([Critic(settings, self.n_observed) for _ in self.own.penalties])

    @property
    def own(self) -> GasSettings:
        """The algorithm's settings."""
        assert isinstance(self.settings.algorithm, GasSettings)
        return self.settings.algorithm

    def forward(self, batch: Windows) -> Tensor:
        """The decision transformer's loss and implicit Q-learning's (arXiv 2110.06169, Eq. 5 and 6), not discounted.

        The reward of a tick is how much of its preference's score it adds. The last tick of a window has no next state
        in it: there the realised score to go stands for the next value, which is 0 at the episode's end.
        """
        observation, action = self.observed(batch), self.actions(batch)
        total: Tensor = self.policy(batch)
        for index, critic in enumerate(self._critics()):
            column = FIRST_SCORE + index
            std = self.to_go_std[column]
            now, then = batch.to_go[..., column] / std, batch.next_to_go[..., column] / std
            h = critic.stream(observation, batch, action)
            value = critic.value_head(h)[..., 0]
            q = critic.action_value(h, action)
            is_inside = torch.cat([batch.mask[:, 1:] > 0, torch.zeros_like(batch.mask[:, :1]) > 0], dim=1)
            next_value = torch.where(is_inside, torch.roll(value.detach(), -1, dims=1), then)
            errors = (now - then + next_value - q).square() + expectile_loss(q.detach() - value, self.own.expectile)
            total = total + group_means(errors, batch.mask, 1)
        return total

    def _critics(self) -> list[Critic]:
        return [critic for critic in self.critics if isinstance(critic, Critic)]

    def decide(self, batch: Windows) -> Tensor:
        """The best of the actions around the policy's, by the critics' votes.

        The paper grows a tree over one step: it perturbs the action, lets each critic value the children and passes
        their votes back. Here a round draws `n_candidates` children of the best action so far, each critic's values
        are brought to mean 0 and deviation 1 over the children, the mean over critics is the vote; the next round
        starts from the winner with half the spread. Nothing is rolled out: Q stands for the rest of the day.
        """
        observation, past = self.observed(batch), self.actions(batch)
        best = self.policy.decide(batch)
        streams = [critic.stream(observation, batch, past)[:, -1] for critic in self._critics()]  # (n, D) each
        generator = torch.Generator().manual_seed(self.own.seed * 1000 + batch.seed)
        spread = self.own.spread
        for _ in range(self.own.n_rounds):
            # the same perturbations for every campaign: a decision does not depend on what else is in the batch
            noise = torch.randn(self.own.n_candidates, generator=generator)
            noise[0] = 0.0  # the best so far
            children = best[:, None] + spread * noise.to(best)
            votes = torch.zeros_like(children)
            for critic, h in zip(self._critics(), streams, strict=True):
                q = critic.action_value(h[:, None].expand(-1, children.shape[1], -1), children)
                votes = votes + (q - q.mean(dim=1, keepdim=True)) / q.std(dim=1, keepdim=True).clamp_min(1e-6)
            best = children.gather(1, votes.argmax(dim=1, keepdim=True))[:, 0]
            spread /= 2
        return best
