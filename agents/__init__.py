"""Bidders that compete and serve as baselines, and the rollouts that run them."""

from __future__ import annotations

from agents.bidder import Bidder, Campaigns, TickView
from agents.collecting import Collection, CollectionSummary, collect, collect_data_set
from agents.distances import Distance, data_distance
from agents.dual import DualBidder
from agents.families import Member, Shift, TaskFamily, make_task_family
from agents.family_data import collect_family, load_family, read_family
from agents.fixed import FixedBidder
from agents.hindsight_lp import Offers, Optimum, lp_reference, record_offers, score_bound, shares_of, solve
from agents.joint_hindsight import JointHindsightBidder
from agents.logging_policies import POLICIES
from agents.mixed import MixedBidder
from agents.mpc import MpcBidder, ResponsePrior
from agents.mpid import MpidBidder, MpidGains
from agents.noisy import NoisyBidder
from agents.online_lp import OnlineLpBidder, record_prices
from agents.oracle import HindsightBidder
from agents.pid import PidBidder
from agents.random_multiplier import RandomMultiplierBidder
from agents.registry import AgentEntry, make
from agents.rollout import Episodes, rollout, rollout_each, run_episode, to_trajectories

__all__ = [
    "POLICIES",
    "AgentEntry",
    "Bidder",
    "Campaigns",
    "Collection",
    "CollectionSummary",
    "Distance",
    "DualBidder",
    "Episodes",
    "FixedBidder",
    "HindsightBidder",
    "JointHindsightBidder",
    "Member",
    "MixedBidder",
    "MpcBidder",
    "MpidBidder",
    "MpidGains",
    "NoisyBidder",
    "Offers",
    "OnlineLpBidder",
    "Optimum",
    "PidBidder",
    "RandomMultiplierBidder",
    "ResponsePrior",
    "Shift",
    "TaskFamily",
    "TickView",
    "collect",
    "collect_data_set",
    "collect_family",
    "data_distance",
    "load_family",
    "lp_reference",
    "make",
    "make_task_family",
    "read_family",
    "record_offers",
    "record_prices",
    "rollout",
    "rollout_each",
    "run_episode",
    "score_bound",
    "shares_of",
    "solve",
    "to_trajectories",
]
