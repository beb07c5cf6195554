"""Constrained decision transformer (arXiv 2302.07351): return and cost to go, a stochastic policy, Pareto targets."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from vamo.baselines.backbone import Baseline, Trunk
from vamo.baselines.settings import CdtSettings, GenerativeSettings
from vamo.baselines.windows import COST, RETURN, Statistics, Tape, Windows
from vamo.model.losses import group_means

_LOG_STD = (-4.0, 1.0)  # of normalised actions
_AUGMENT = 303  # stream of random numbers


class ConstrainedDecisionTransformer(Baseline):
    """Tokens return to go, cost to go, state, action; a Gaussian policy."""

    def __init__(self, settings: GenerativeSettings, statistics: Statistics) -> None:
        super().__init__(settings, statistics)
        self.trunk = Trunk(settings.backbone, self.n_observed, 2)
        self.policy_head = nn.Linear(settings.backbone.d_model, 2)

    def forward(self, batch: Windows) -> Tensor:
        """-log pi(a) - lambda H(pi), the paper's objective with entropy regularisation."""
        assert isinstance(self.settings.algorithm, CdtSettings)
        mean, log_std = self.policy(batch)
        z = (self.actions(batch) - mean) / log_std.exp()
        nll = z.square() / 2 + log_std + 0.5 * math.log(2 * math.pi)
        entropy = log_std + 0.5 * math.log(2 * math.pi * math.e)
        return group_means(nll - self.settings.algorithm.entropy_weight * entropy, batch.mask, 1)

    def policy(self, batch: Windows) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of normalised actions, (n, W) each."""
        conditions = self.to_go(batch.to_go, [RETURN, COST])
        h = self.trunk(conditions, self.observed(batch), batch.category, batch.tick, self.actions(batch))
        mean, raw = self.policy_head(h[:, :, 0]).unbind(dim=-1)
        low, high = _LOG_STD
        return mean, low + (high - low) * torch.sigmoid(raw)

    def decide(self, batch: Windows) -> Tensor:
        """The policy's mean, as the authors evaluate."""
        return self.policy(batch)[0][:, -1]


def pareto_targets(tape: Tape, seed: int) -> tuple[Tensor, Tensor]:
    """The paper's augmentation: as many episodes as the tape has, and the totals that they are relabelled with.

    A cost kappa is drawn from the range of the data, a return rho between the best return within that cost, which is
    the Pareto frontier, and the best return of all; (rho, kappa) is infeasible as far as the data know, and the best
    episode within the cost stands for it: it teaches to put the cost first where both cannot be had.
    """
    total = tape.total.numpy()
    returns, cost = total[:, RETURN], total[:, COST]
    rng = np.random.default_rng([seed, _AUGMENT])
    kappa = rng.uniform(cost.min(), cost.max(), len(total))
    order = np.argsort(cost, kind="stable")
    best_so_far = np.maximum.accumulate(returns[order])
    leader = np.maximum.accumulate(np.where(returns[order] >= best_so_far, np.arange(len(order)), 0))
    place = np.searchsorted(cost[order], kappa, side="right") - 1
    episode = order[leader[place]]
    targets = total[episode].copy()
    targets[:, RETURN] = rng.uniform(returns[episode], returns.max())
    targets[:, COST] = kappa
    return torch.from_numpy(episode), torch.from_numpy(targets)
