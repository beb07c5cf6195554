"""AuctionNet logs to a trained bidder. Without a folder of logs it writes small ones in AuctionNet's schema first."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import vamo
from agents import NoisyBidder, PidBidder, rollout
from agents.logging.impressions import log_impressions
from auction_env import TASKS, MarketParams, data

PARAMS = MarketParams(n_impressions=2_000)


def main(logs: Path | None = None, n_steps: int = 50) -> None:
    task = TASKS["TargetCPA"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if logs is None:
            logs = folder / "csv"
            log_impressions(NoisyBidder(PidBidder()), logs, seeds=range(3), task=task, params=PARAMS)
        summary = data.import_auctionnet_impressions(logs, folder / "data")
        print(f"{summary.n_rows:,} rows -> {summary.n_trajectories} trajectories in {summary.seconds:.1f} s")
        counts = data.write_splits(folder / "data", seed=0, validation=0.2, test=0.1)
        print(", ".join(f"{part} {n}" for part, n in counts.items()))
        # the log's own task, and the same trajectories relabelled as a second one that has few of its own
        train, held_out = (data.load(folder / "data", split=part) for part in ("train", "validation"))
        few = np.arange(max(train.n_episodes // 10, 2))
        sources = {"TargetCPA": train, "MaxConversions": train.select(few).with_task(TASKS["MaxConversions"])}
        validation = {"TargetCPA": held_out, "MaxConversions": held_out.with_task(TASKS["MaxConversions"])}
        result = vamo.train(sources, validation, vamo.override(vamo.Config(), [f"train.steps={n_steps}"]))
    played = rollout(result.bidder, seeds=range(500, 508), advertisers=range(8), task=task, params=PARAMS)
    print(f"score in the live market {played.score(expected=True).mean():.3f}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
