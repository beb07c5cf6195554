"""A market whose optimum is known: stationary, second price, one slot, under a budget: a constant multiplier.

Balseiro and Gur (2019): with impressions drawn independently and competitors that do not answer, the best bids under
a budget are one multiple of the value all day. So the linear programme, the best constant and every sound pacing rule
agree, and a learner that ends elsewhere has not learned.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from auction_env import MarketParams, Population, TrafficParams

N_ADVERTISERS = 12
_TRAFFIC = TrafficParams(
    diurnal_curve=(1.0,), volume_swing=0.0, category_swing=0.0, advertiser_swing=0.0, sd_ratio_tick_sd=0.0, n_days=1
)


class KnownMarket(NamedTuple):
    """Arguments of environments and rollouts; advertiser 0 is the one that learns."""

    params: MarketParams
    population: Population


def stationary_market(
    n_ticks: int = 240, impressions_per_tick: int = 1000, *, budget_per_tick: float = 4.0
) -> KnownMarket:
    """Advertiser 0 has a budget that binds; the other 11 bid constants and never run out of money.

    Args:
        n_ticks: Decisions of an episode.
        impressions_per_tick: Impressions of a tick on average.
        budget_per_tick: Of advertiser 0, currency for 1,000 impressions; by default it binds at 0.9 to 1 times the
            target CPA, which differs between episodes as the traffic's worth does.
    """
    budget = budget_per_tick * n_ticks * impressions_per_tick / 1000
    params = MarketParams(
        n_impressions=n_ticks * impressions_per_tick,
        n_ticks=n_ticks,
        n_slots=1,
        exposure=(1.0,),
        reserve=0.0,
        traffic=_TRAFFIC,
    )
    population = Population(
        budget=(budget / params.budget_scale, *[1e7 / params.budget_scale] * (N_ADVERTISERS - 1)),
        cpa_target=(100.0, *np.linspace(60.0, 130.0, N_ADVERTISERS - 1).tolist()),
        category=(0,) * N_ADVERTISERS,
        behaviour=("fixed",) * N_ADVERTISERS,
    )
    return KnownMarket(params, population)
