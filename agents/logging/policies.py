"""Logging policies by name: what makes the trajectories of a data set, and how good each is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from agents.hindsight.joint_constants import JointHindsightBidder
from agents.logging.noisy import NoisyBidder
from agents.mixed import MixedBidder
from agents.rules.online_lp import OnlineLpBidder, record_prices
from agents.rules.pid import PidBidder
from agents.rules.random_multiplier import RandomMultiplierBidder
from auction_env.control.bidder import Bidder
from auction_env.market.params import MarketParams
from auction_env.market.population import Population
from auction_env.tasks import Task

HISTORY_SEEDS = tuple(range(2**40, 2**40 + 4))
"""Market episodes from which "online-lp" takes its prices: far from those that anybody plays."""

Maker = Callable[[Task, MarketParams, Population], Bidder]


class LoggingPolicy(NamedTuple):
    """A policy that may log trajectories; `make` builds it for a task and a market."""

    description: str
    make: Maker


def _noisy_pid(task: Task, params: MarketParams, population: Population) -> Bidder:
    return NoisyBidder(PidBidder(), name="noisy-pid")


def _random(task: Task, params: MarketParams, population: Population) -> Bidder:
    return NoisyBidder(RandomMultiplierBidder(), level_sd=0.0, tick_sd=0.2, name="random")


def _online_lp(task: Task, params: MarketParams, population: Population) -> Bidder:
    return NoisyBidder(
        OnlineLpBidder(record_prices(params, population, HISTORY_SEEDS, task=task)),
        level_sd=0.1,
        tick_sd=0.1,
        name="online-lp",
    )


def _near_optimal(task: Task, params: MarketParams, population: Population) -> Bidder:
    bidder = JointHindsightBidder()
    return NoisyBidder(bidder, level_sd=0.05, tick_sd=0.05, name="near-optimal")


POLICIES: dict[str, LoggingPolicy] = {
    "random": LoggingPolicy("a log-uniform constant in 0.25..4 x a unit's worth, noise within the episode", _random),
    "noisy-pid": LoggingPolicy("PID pacing with log-normal noise between (0.3) and within (0.2) days", _noisy_pid),
    "online-lp": LoggingPolicy("online LP on the prices of four other days, with little noise", _online_lp),
    "near-optimal": LoggingPolicy("a near-best constant in hindsight, with very little noise", _near_optimal),
}
"""The single policies, by name."""

MIXED = "mixed"
MIXED_SHARES = {"random": 1, "noisy-pid": 2, "online-lp": 1, "near-optimal": 1}
"""The shares of the mixture that is called "mixed"."""


def parse_shares(text: str) -> dict[str, int]:
    """The shares that a policy's name stands for: "mixed", "noisy-pid", or "random=1,noisy-pid=3".

    Raises:
        ValueError: An unknown policy, one named twice, or a share that is no whole number above 0.
    """
    if text == MIXED:
        return dict(MIXED_SHARES)
    shares: dict[str, int] = {}
    for part in text.split(","):
        name, has_share, share = part.partition("=")
        if name not in POLICIES:
            raise ValueError(f"`policy` must be {MIXED!r} or made of {sorted(POLICIES)}, found {name!r}")
        if name in shares:
            raise ValueError(f"`policy` must name a policy once, found {name!r} twice")
        if has_share and not (share.isascii() and share.isdigit() and int(share) > 0):
            raise ValueError(f"`policy` must give {name!r} a whole share above 0, found {share!r}")
        shares[name] = int(share) if has_share else 1
    return shares


def dealt_policies(shares: Mapping[str, int]) -> tuple[str, ...]:
    """The policies in the order in which campaigns are dealt to them, one entry a share, spread out."""
    total = sum(shares.values())
    turns = [((k + 0.5) / share, name) for name, share in shares.items() for k in range(share)]
    assert len(turns) == total
    return tuple(name for _, name in sorted(turns))


def make_policy(shares: Mapping[str, int], task: Task, params: MarketParams, population: Population) -> Bidder:
    """The bidder that controls all campaigns: each is dealt to one of the policies (`MixedBidder`)."""
    made = {name: POLICIES[name].make(task, params, population) for name in shares}
    return MixedBidder([made[name] for name in dealt_policies(shares)], name="+".join(shares))
