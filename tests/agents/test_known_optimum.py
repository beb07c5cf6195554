"""A market whose optimum is known: stationary, second price, one slot, under a budget: a constant multiplier.

Balseiro and Gur (2019): with impressions drawn independently and competitors that do not answer, the best bids under
a budget are one multiple of the value all day. So the linear programme, the best constant and every sound pacing rule
agree.
"""

from __future__ import annotations

import numpy as np
import pytest

from agents import (
    Bidder,
    DualBidder,
    FixedBidder,
    HindsightBidder,
    MpcBidder,
    MpidBidder,
    OnlineLpBidder,
    PidBidder,
    lp_reference,
    record_prices,
    rollout,
    shares_of,
)  # fmt: skip
from auction_env import TASKS, MarketParams, PacingGains, Population, TrafficParams

N = 12
TRAFFIC = TrafficParams(
    diurnal_curve=(1.0,), volume_swing=0.0, category_swing=0.0, advertiser_swing=0.0, spread_tick_sd=0.0, n_days=1
)
PARAMS = MarketParams(
    n_impressions=240_000, n_ticks=240, n_slots=1, exposure=(1.0,), reserve=0.0, traffic=TRAFFIC
)  # a long horizon: 240 decisions of 1,000 impressions
POPULATION = Population(
    budget=(2000.0, *[1e7] * (N - 1)),  # the competitors never run out
    cpa_target=(100.0, *np.linspace(60.0, 130.0, N - 1)),
    category=(0,) * N,
    behaviour=("fixed",) * N,
)
MARKET = {"params": PARAMS, "population": POPULATION}
EPISODES = {"seeds": np.arange(3), "advertisers": np.zeros(3, np.int64)}


@pytest.fixture(scope="module")
def optimum() -> np.ndarray:
    """(3,) amounts of the linear programme."""
    return lp_reference(FixedBidder(), **EPISODES, task=TASKS["MaxConversions"], **MARKET)


def share(bidder: Bidder, optimum: np.ndarray) -> np.ndarray:
    played = rollout(bidder, **EPISODES, task=TASKS["MaxConversions"], **MARKET)
    return shares_of(optimum, played)


def test_the_optimum_is_a_constant(optimum: np.ndarray) -> None:
    hindsight = HindsightBidder(
        TASKS["MaxConversions"], **MARKET, expected=True, lowest=0.3, highest=1.5, n_coarse=24, n_fine=15
    )
    found = share(hindsight, optimum)
    assert np.all(found <= 1 + 1e-6)
    assert np.all(found > 0.99)


def rules() -> dict[str, Bidder]:
    # histories of other episodes than those played, since a day is like any other
    history = record_prices(PARAMS, POPULATION, [100], n_thresholds=2000)
    return {
        "pid": PidBidder(gains=PacingGains(p=0.02, i=0.05)),
        "mpid": MpidBidder(),
        "dual": DualBidder(budget_step=0.5, decay=0.5),
        "mpc": MpcBidder(forgetting=1.0),
        "online_lp": OnlineLpBidder(history),
    }


@pytest.mark.parametrize("name", ["pid", "mpid", "dual", "mpc", "online_lp"])
def test_every_rule_finds_it_over_a_long_horizon(name: str, optimum: np.ndarray) -> None:
    found = share(rules()[name], optimum)
    assert np.all(found <= 1 + 1e-6)
    assert np.all(found > 0.99)


def test_a_wrong_constant_does_not(optimum: np.ndarray) -> None:
    """The tests above could fail: the budget binds, and both sides of the optimum are worse."""
    assert np.all(share(FixedBidder(1.5), optimum) < 0.95)
    assert np.all(share(FixedBidder(0.4), optimum) < 0.95)
