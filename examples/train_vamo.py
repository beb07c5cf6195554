"""Logs two tasks of very unequal size, trains one model for both, saves it, and plays it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import vamo
from agents import NoisyBidder, PidBidder, collect, rollout
from auction_env import TASKS, MarketParams
from auction_env.data import TrajectoryData

PARAMS = MarketParams(n_impressions=5_000)


def main(n_steps: int = 50) -> None:
    policy = NoisyBidder(PidBidder())
    logged = {
        name: TrajectoryData.concat(list(collect(policy, seeds=seeds, task=TASKS[name], params=PARAMS)))
        for name, seeds in {"MaxConversions": range(4), "TargetCPA": range(100, 101)}.items()
    }
    sources, validation = vamo.split(logged, share=0.25)
    config = vamo.override(vamo.Config(), ["train.method=vao", f"train.steps={n_steps}"])
    result = vamo.train(sources, validation, config)
    for target, weights in zip(result.targets, result.history[-1].weights, strict=True):
        print(target, dict(zip(result.sources, np.round(weights, 2).tolist(), strict=True)))
    with tempfile.TemporaryDirectory() as folder:
        vamo.save(Path(folder, "vao.safetensors"), result.bidder)
        bidder = vamo.load(Path(folder, "vao.safetensors"))
    played = rollout(bidder, seeds=range(500, 508), advertisers=range(8), task=TASKS["TargetCPA"], params=PARAMS)
    print(f"score {played.score(expected=True).mean():.3f}")


if __name__ == "__main__":
    main()
