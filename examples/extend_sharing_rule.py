"""A sharing rule of your own: a target learns from the best episodes of the sources with the same objective."""

from __future__ import annotations

import numpy as np
import torch

import vamo
from agents import NoisyBidder, PidBidder, collect
from auction_env import TASKS, MarketParams
from auction_env.data import TrajectoryData
from vamo.alignment.sharing.own_sharing import Candidates
from vamo.alignment.sharing.shared_data import Sharing
from vamo.examples.sources import task_of


def same_objective(candidates: Candidates, share: float = 0.5) -> Sharing:
    """Equal weights for sources with the target's objective, and of each the best `share` of its episodes."""
    weights, chosen = torch.zeros(len(candidates.targets), len(candidates.sources)), {}
    for k, task in enumerate(candidates.targets.values()):
        for i, (name, logs) in enumerate(candidates.sources.items()):
            if task_of(name, logs).objective == task.objective:
                scores = candidates.training[i].relative_scores(task)
                chosen[k, i] = np.argsort(-scores)[: max(int(share * len(scores)), 1)]
                weights[k, i] = 1.0
    return Sharing(weights / weights.sum(dim=1, keepdim=True), chosen)


def main(n_steps: int = 50) -> None:
    bidder, params = NoisyBidder(PidBidder()), MarketParams(n_impressions=2_000)
    tasks = [TASKS["MaxConversions"], TASKS["TargetCPA"]]
    logs = {t.name: TrajectoryData.concat(list(collect(bidder, seeds=[0], task=t, params=params))) for t in tasks}
    settings = vamo.override(vamo.Config(), [f"train.steps={n_steps}"])
    result = vamo.train(*vamo.split(logs, share=0.25), settings, sharing=same_objective)
    print(result.bidder.config.sharing.rule, np.round(result.history[-1].weights, 2).tolist())


if __name__ == "__main__":
    main()
