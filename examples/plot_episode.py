"""Plays one day twice, with a fixed bid and with the PID, and draws spending and bids side by side into episode.png."""

from __future__ import annotations

import sys
from pathlib import Path

from agents import FixedBidder, PidBidder, rollout
from auction_env import TASKS, MarketParams


def main(out: Path = Path("episode.png")) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    spent, bids = figure.subplots(1, 2)
    episode = {
        "seeds": [7],
        "advertisers": [3],
        "task": TASKS["TargetCPA"],
        "params": MarketParams(n_impressions=20_000),
    }
    for bidder in (FixedBidder(1.0), PidBidder()):
        played = rollout(bidder, **episode)
        label = f"{bidder.name}: score {played.score(expected=True)[0]:.2f}"
        spent.plot(played.ticks.cost[:, 0].cumsum() / played.budget[0], label=label)
        bids.plot(played.ticks.multiplier[:, 0] / played.targets.cpa[0])
    traffic = played.ticks.n_impressions[:, 0]
    spent.plot(traffic.cumsum() / traffic.sum(), color="grey", linestyle=":", label="traffic")
    spent.set(title="share of the budget spent", xlabel="tick")
    spent.legend()
    bids.set(title="multiplier / target CPA", xlabel="tick")
    figure.savefig(out, dpi=120)
    print(f"wrote {out}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
