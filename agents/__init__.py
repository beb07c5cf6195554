"""Bidders that compete and serve as baselines, and the rollouts that run them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auction_env.names import lazy_names

if TYPE_CHECKING:
    from agents.families.distances import Distance, data_distance
    from agents.families.family import Member, TaskFamily, make_task_family
    from agents.families.harms import HARM_V1, HARM_V1_KINDS, parse_harms
    from agents.families.measurement import Marginals, MeasuredHarm, harm_losses, marginal_distance, measure_harm
    from agents.families.shift import Shift
    from agents.families.storage import (
        collect_family,
        load_family,
        read_family,
        read_harm,
        save_harm,
        sound_episodes,
    )
    from agents.hindsight.best_constant import HindsightBidder
    from agents.hindsight.full_information import (
        Offers,
        Optimum,
        ScoreBounds,
        lp_reference,
        record_offers,
        score_bound,
        shares_of,
        solve,
    )
    from agents.hindsight.joint_constants import JointHindsightBidder
    from agents.hindsight.welfare import Welfare, measure_welfare
    from agents.labels.off_policy.estimate import OfflineEvaluation, PolicyEstimate, estimate
    from agents.logging.collection import Collection, CollectionSummary, collect, collect_data_set
    from agents.logging.harm import HARM_KINDS, Harm
    from agents.logging.noisy import NoisyBidder
    from agents.logging.policies import POLICIES
    from agents.mixed import MixedBidder
    from agents.registry import AgentEntry, learner, load, make, save, train
    from agents.rollouts import Episodes, rollout, rollout_each, run_episode, to_trajectories
    from agents.rules.auctionnet_lp import AuctionNetLpBidder, auctionnet_lp_table
    from agents.rules.dual import DualBidder
    from agents.rules.fixed import FixedBidder
    from agents.rules.grm import GrmBidder
    from agents.rules.mpc import MpcBidder, ResponsePrior
    from agents.rules.mpc_response import ResponseMpcBidder
    from agents.rules.mpid import MpidBidder, MpidGains
    from agents.rules.online_lp import OnlineLpBidder, prices_from_log, record_prices
    from agents.rules.pid import PidBidder
    from agents.rules.random_multiplier import RandomMultiplierBidder
    from agents.rules.scenarios import Scenarios, record_scenarios
    from auction_env.control.auctionnet.as_strategy import AuctionNetStrategy, as_auctionnet_strategy
    from auction_env.control.auctionnet.from_strategy import from_auctionnet_strategy
    from auction_env.control.bidder import Bidder, Campaigns, ImpressionBids, TickView

__all__ = [
    "HARM_KINDS",
    "HARM_V1",
    "HARM_V1_KINDS",
    "POLICIES",
    "AgentEntry",
    "AuctionNetLpBidder",
    "AuctionNetStrategy",
    "Bidder",
    "Campaigns",
    "Collection",
    "CollectionSummary",
    "Distance",
    "DualBidder",
    "Episodes",
    "FixedBidder",
    "GrmBidder",
    "Harm",
    "HindsightBidder",
    "ImpressionBids",
    "JointHindsightBidder",
    "Marginals",
    "MeasuredHarm",
    "Member",
    "MixedBidder",
    "MpcBidder",
    "MpidBidder",
    "MpidGains",
    "NoisyBidder",
    "Offers",
    "OfflineEvaluation",
    "OnlineLpBidder",
    "Optimum",
    "PidBidder",
    "PolicyEstimate",
    "RandomMultiplierBidder",
    "ResponseMpcBidder",
    "ResponsePrior",
    "Scenarios",
    "ScoreBounds",
    "Shift",
    "TaskFamily",
    "TickView",
    "Welfare",
    "as_auctionnet_strategy",
    "auctionnet_lp_table",
    "collect",
    "collect_data_set",
    "collect_family",
    "data_distance",
    "estimate",
    "from_auctionnet_strategy",
    "harm_losses",
    "learner",
    "load",
    "load_family",
    "lp_reference",
    "make",
    "make_task_family",
    "marginal_distance",
    "measure_harm",
    "measure_welfare",
    "parse_harms",
    "prices_from_log",
    "read_family",
    "read_harm",
    "record_offers",
    "record_prices",
    "record_scenarios",
    "rollout",
    "rollout_each",
    "run_episode",
    "save",
    "save_harm",
    "score_bound",
    "shares_of",
    "solve",
    "sound_episodes",
    "to_trajectories",
    "train",
]

if not TYPE_CHECKING:  # type checkers know the names above and no others
    __getattr__, __dir__ = lazy_names(__name__, __file__)
