"""A weighting of your own: sources that are aligned better than the average share the weight equally."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import vamo
from agents import NoisyBidder, PidBidder, collect
from auction_env import TASKS, MarketParams
from auction_env.data import TrajectoryData
from vamo.alignment.weighting import Evidence


@dataclass(frozen=True)
class AboveMean:
    """A source may be `margin` below its target's mean alignment."""

    margin: float = 0.1
    needs_alignments = True

    def __call__(self, evidence: Evidence) -> Tensor:
        """Weights (K, I), rows of sum 1."""
        least = evidence.alignment.mean(dim=1, keepdim=True) - self.margin
        return torch.nn.functional.normalize((evidence.alignment >= least).float(), p=1, dim=1)


def main(n_steps: int = 50) -> None:
    bidder, params = NoisyBidder(PidBidder()), MarketParams(n_impressions=2_000)
    tasks = [TASKS["MaxConversions"], TASKS["TargetCPA"]]
    logs = {t.name: TrajectoryData.concat(list(collect(bidder, seeds=[0], task=t, params=params))) for t in tasks}
    settings = vamo.override(vamo.Config(), [f"train.steps={n_steps}"])
    result = vamo.train(*vamo.split(logs, share=0.25), settings, weighting=AboveMean(margin=0.2))
    print(result.targets, result.history[-1].weights)


if __name__ == "__main__":
    main()
