"""Plays three bidders on the same episodes and prints their scores."""

from __future__ import annotations

from agents import FixedBidder, HindsightBidder, PidBidder, rollout
from auction_env import TASKS, MarketParams

N_EPISODES = 16
PARAMS = MarketParams(n_impressions=5_000)


def main() -> None:
    task = TASKS["TargetCPA"]
    bidders = [FixedBidder(1.0), PidBidder(), HindsightBidder()]
    print(f"{'bidder':<12}{'score':>8}{'spent':>8}{'CPA / limit':>13}")
    for bidder in bidders:
        played = rollout(bidder, seeds=range(N_EPISODES), advertisers=range(N_EPISODES), task=task, params=PARAMS)
        spent = played.total("cost").sum() / played.budget.sum()
        cpa = played.ratios(expected=True)["cpa"].mean()
        print(f"{bidder.name:<12}{played.score(expected=True).mean():8.3f}{spent:8.0%}{cpa:13.2f}")


if __name__ == "__main__":
    main()
