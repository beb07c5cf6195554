"""GAS (arXiv 2412.17018): a decision transformer whose actions are refined by a search that critics vote on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vamo.baselines.backbone import Baseline, Critic, expectile_loss, repeated
from vamo.baselines.dt import DecisionTransformer
from vamo.baselines.settings import GasSettings, GenerativeSettings
from vamo.baselines.windows import FIRST_SCORE, Statistics, Windows
from vamo.model.losses import group_means


class Gas(Baseline):
    """The policy and its critics.

    The paper trains the critics after the policy. Implicit Q-learning learns from the logs alone and never asks the
    policy for an action, so the order does not matter; here they train side by side. All that they share is the
    clipping of the gradient's norm.

    With `data.action_label=hindsight` the policy learns hindsight-optimal actions. The critics learn from the logged
    ones, whose rewards they are.
    """

    def __init__(self, settings: GenerativeSettings, statistics: Statistics) -> None:
        super().__init__(settings, statistics)
        self.policy = DecisionTransformer(settings, statistics)
        self.critics = nn.ModuleList([Critic(settings.backbone, self.n_observed) for _ in self.own.penalties])

    @property
    def own(self) -> GasSettings:
        """The algorithm's settings."""
        assert isinstance(self.settings.algorithm, GasSettings)
        return self.settings.algorithm

    def forward(self, batch: Windows) -> Tensor:
        """The decision transformer's loss and implicit Q-learning's (arXiv 2110.06169), not discounted.

        The reward of a tick is how much of its preference's score it adds. The last tick of a window has no next state
        in it: there the realised score to go stands for the next value, which is 0 at the episode's end.
        """
        action = self.actions(batch)
        total: Tensor = self.policy(batch)
        for column, critic in enumerate(self._critics(), start=FIRST_SCORE):
            std = self.to_go_std[column]
            now, then = batch.to_go[..., column] / std, batch.next_to_go[..., column] / std
            value, q = self._values(critic, batch, action)
            is_inside = torch.cat([batch.mask[:, 1:] > 0, torch.zeros_like(batch.mask[:, :1]) > 0], dim=1)
            next_value = torch.where(is_inside, torch.roll(value.detach(), -1, dims=1), then)
            errors = (now - then + next_value - q).square() + expectile_loss(q.detach() - value, self.own.expectile)
            total = total + group_means(errors, batch.mask, 1)
        return total

    def _critics(self) -> list[Critic]:
        return [critic for critic in self.critics if isinstance(critic, Critic)]

    def _values(self, critic: Critic, batch: Windows, action: Tensor) -> tuple[Tensor, Tensor]:
        """V and Q, (n, W) each, of normalised actions."""
        out: tuple[Tensor, Tensor] = critic(action[..., None], self.observed(batch), batch.category, batch.tick, action)
        return out

    def decide(self, batch: Windows) -> Tensor:
        """The best of the actions around the policy's, by the critics' votes.

        The paper grows a tree over one step: it perturbs the action, lets each critic value the children and passes
        their votes back. Here a round draws `n_candidates` children of the best action so far, each critic's values
        are brought to mean 0 and deviation 1 over the children, the mean over critics is the vote; the next round
        starts from the winner with half the search_sd. Nothing is rolled out: Q stands for the rest of the episode.
        """
        best = self.policy.decide(batch)
        n_children = self.own.n_candidates
        tiled = repeated(batch, n_children)
        past = self.actions(batch).repeat_interleave(n_children, dim=0)
        generator = torch.Generator().manual_seed(self.own.seed * 1000 + batch.seed)
        search_sd = self.own.search_sd
        for _ in range(self.own.n_rounds):
            # the same perturbations for every campaign: a decision does not depend on what else is in the batch
            noise = torch.randn(n_children, generator=generator)
            noise[0] = 0.0  # the best so far
            children = best[:, None] + search_sd * noise.to(best)
            action = torch.cat([past[:, :-1], children.view(-1, 1)], dim=1)
            votes = torch.zeros_like(children)
            for critic in self._critics():
                q = self._values(critic, tiled, action)[1][:, -1].view_as(children)
                votes = votes + (q - q.mean(dim=1, keepdim=True)) / q.std(dim=1, keepdim=True).clamp_min(1e-6)
            best = children.gather(1, votes.argmax(dim=1, keepdim=True))[:, 0]
            search_sd /= 2
        return best
