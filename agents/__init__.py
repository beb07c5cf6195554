"""Bidders that compete and serve as baselines, and the rollouts that run them."""

from __future__ import annotations

from agents.bidder import Bidder, Campaigns, TickView
from agents.fixed import FixedBidder
from agents.mixed import MixedBidder
from agents.noisy import NoisyBidder
from agents.oracle import HindsightBidder
from agents.pid import PidBidder
from agents.rollout import Episodes, collect, rollout, run_episode, to_trajectories

__all__ = [
    "Bidder",
    "Campaigns",
    "Episodes",
    "FixedBidder",
    "HindsightBidder",
    "MixedBidder",
    "NoisyBidder",
    "PidBidder",
    "TickView",
    "collect",
    "rollout",
    "run_episode",
    "to_trajectories",
]
