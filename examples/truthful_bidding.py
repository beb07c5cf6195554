"""Which multiple of its value earns a bidder the most surplus? The value itself in second price, less in first price.

The setting of auction-gym's experiments: a few bidders, one slot, no binding budget, the utility value minus price.
"""

from __future__ import annotations

import numpy as np

from agents import FixedBidder, rollout
from auction_env import TASKS, Funnel, MarketParams, Population

RATIOS = np.arange(0.3, 1.51, 0.1)  # bid over value
ADVERTISER, N_EPISODES = 0, 6
BIDDERS = Population(  # all others bid their values
    budget=(1e6,) * 4,
    cpa_target=(100.0, 90.0, 100.0, 110.0),
    category=(0, 1, 0, 1),
    behaviour=("fixed",) * 4,
)


def main() -> None:
    for mechanism, label in (("gsp", "second price"), ("first_price", "first price")):
        params = MarketParams(
            n_impressions=2_000,
            n_slots=1,
            exposure=(1.0,),
            mechanism=mechanism,
            funnel=Funnel(order_value=1.0, order_sd=0.0),  # an order is worth the target CPA
        )
        surplus = np.array([mean_surplus(ratio, params) for ratio in RATIOS])
        print(f"{label}: the best multiple is {RATIOS[surplus.argmax()]:.1f}")
        for ratio, value in zip(RATIOS, surplus, strict=True):
            print(f"  bid {ratio:.1f} x value: surplus {value:8.3f}  {'#' * max(0, round(40 * value / surplus.max()))}")


def mean_surplus(ratio: float, params: MarketParams) -> float:
    """Expected surplus of an episode, currency."""
    played = rollout(
        FixedBidder(ratio),
        seeds=range(N_EPISODES),
        advertisers=[ADVERTISER] * N_EPISODES,
        task=TASKS["MaxSurplus"],
        params=params,
        population=BIDDERS,
    )
    return float(played.score(expected=True).mean())


if __name__ == "__main__":
    main()
