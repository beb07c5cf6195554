"""A Gymnasium environment over a fast multi-slot auction market.

Importing the package registers the environments `auction_env/Bidding-v0`, `auction_env/Replay-v0`,
`auction_env/LoggedValues-v0` and `auction_env/BAT-v0`.
"""

from __future__ import annotations

import os as _os
from typing import TYPE_CHECKING

import gymnasium as _gymnasium

from auction_env.names import lazy_names
from auction_env.version import __version__

if TYPE_CHECKING:
    from auction_env import data
    from auction_env.control.observation import FEATURE_NAMES, StateFeatures
    from auction_env.market.clearing import Clearing, clear_auctions
    from auction_env.market.competitors.presets import Preset, auctionnet_rules, preset, read_population
    from auction_env.market.episode import Opening, TickResult
    from auction_env.market.forms.single import Market
    from auction_env.market.funnel import Funnel
    from auction_env.market.market import BatchMarket
    from auction_env.market.pacing import PacingGains, Schedule
    from auction_env.market.params import Drift, MarketParams, Shock, TrafficParams
    from auction_env.market.population import BEHAVIOURS, Population, auctionnet_population, random_population
    from auction_env.market.shapes.curves import Curve, load_curve
    from auction_env.market.shapes.value_distribution import ValueDistribution, load_values
    from auction_env.replay.auctionnet import import_replay, replay_from_auctionnet
    from auction_env.replay.bids import replay_from_bids
    from auction_env.replay.fixed_prices import FixedPriceMarket
    from auction_env.replay.logged_values import LoggedValuesMarket, logged_values
    from auction_env.replay.market import ReplayMarket
    from auction_env.replay.params import ReplayParams
    from auction_env.replay.storage import load_replay, save_replay
    from auction_env.tasks import (
        REQUIREMENT_NAMES,
        TASKS,
        Constraint,
        Targets,
        Task,
        Totals,
        feasibility,
        get_task,
    )

# GNU OpenMP, which runs the parallel loops of numba and torch, lets idle threads spin for milliseconds by default.
# Where anything else runs on the machine, threads then spin through the time slices that the others need: measured on
# 2 cores with one busy process beside, a rollout of a learned agent took 17 s instead of 0.3 s. Spinning for about
# 50 us keeps the full speed of an idle machine and most of it on a busy one; not spinning at all costs the small
# parallel regions of torch 40 %. The variable is read when numba or torch load the library; a user's own setting wins.
if "OMP_WAIT_POLICY" not in _os.environ:
    _os.environ.setdefault("GOMP_SPINCOUNT", "10000")

__all__ = [
    "BEHAVIOURS",
    "FEATURE_NAMES",
    "REQUIREMENT_NAMES",
    "TASKS",
    "BatchMarket",
    "Clearing",
    "Constraint",
    "Curve",
    "Drift",
    "FixedPriceMarket",
    "Funnel",
    "LoggedValuesMarket",
    "Market",
    "MarketParams",
    "Opening",
    "PacingGains",
    "Population",
    "Preset",
    "ReplayMarket",
    "ReplayParams",
    "Schedule",
    "Shock",
    "StateFeatures",
    "Targets",
    "Task",
    "TickResult",
    "Totals",
    "TrafficParams",
    "ValueDistribution",
    "__version__",
    "auctionnet_population",
    "auctionnet_rules",
    "clear_auctions",
    "data",
    "feasibility",
    "get_task",
    "import_replay",
    "load_curve",
    "load_replay",
    "load_values",
    "logged_values",
    "preset",
    "random_population",
    "read_population",
    "replay_from_auctionnet",
    "replay_from_bids",
    "save_replay",
]

if not TYPE_CHECKING:  # type checkers know the names above and no others
    __getattr__, __dir__ = lazy_names(__name__, __file__)

_gymnasium.register(
    id="auction_env/Bidding-v0",
    entry_point="auction_env.envs.single:BiddingEnv",
    vector_entry_point="auction_env.envs.vector:BiddingVectorEnv",
)
_gymnasium.register(
    id="auction_env/Replay-v0",
    entry_point="auction_env.replay.env:ReplayEnv",
    vector_entry_point="auction_env.replay.env:ReplayVectorEnv",
)
_gymnasium.register(
    id="auction_env/LoggedValues-v0",
    entry_point="auction_env.replay.env:LoggedValuesEnv",
    vector_entry_point="auction_env.replay.env:LoggedValuesVectorEnv",
)
_gymnasium.register(
    id="auction_env/BAT-v0",
    entry_point="auction_env.replay.bat.env:BatEnv",
    vector_entry_point="auction_env.replay.bat.env:BatVectorEnv",
)
