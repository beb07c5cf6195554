"""Every registered environment, small: what tests of all of them are parametrised with."""

from __future__ import annotations

from typing import Any

from auction_env import MarketParams
from tests.auction_env.replay.logs import N_TICKS, three_periods

BIDDING, REPLAY = "auction_env/Bidding-v0", "auction_env/Replay-v0"
LOGGED_VALUES = "auction_env/LoggedValues-v0"
BAT = "auction_env/BAT-v0"  # has actions and observations of its own: `tests.auction_env.replay.test_bat_env`
IDS = (BIDDING, REPLAY, LOGGED_VALUES)

MARKET: dict[str, dict[str, Any]] = {
    BIDDING: {"params": MarketParams(n_impressions=300, n_ticks=N_TICKS)},
    REPLAY: {"market": three_periods()},
    LOGGED_VALUES: {"market": three_periods()},
}
"""Arguments of an environment of `N_TICKS` ticks by id."""
