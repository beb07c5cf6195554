"""Welfare of an allocation against the efficient one, and what the advertisers keep of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agents import FixedBidder, RandomMultiplierBidder, rollout
from agents.hindsight.welfare import Welfare, measure_welfare, tick_welfare
from auction_env import MarketParams, Population
from auction_env.control.bidder import Bidder
from auction_env.market.tracing import TracedTick
from auction_env.tasks import TASKS, Task

PARAMS = MarketParams(n_impressions=600, n_ticks=4, n_slots=1, exposure=(1.0,), reserve=0.0)
TRUTHFUL = Population(
    budget=(1e9,) * 4, cpa_target=(100.0, 90.0, 100.0, 110.0), category=(0, 1, 0, 1), behaviour=("fixed",) * 4
)


def welfare_of(bidder: Bidder, params: MarketParams = PARAMS, task: Task = TASKS["MaxConversions"]) -> Welfare:
    return measure_welfare(
        bidder, seeds=[0, 1], advertisers=[0, 2], task=task, params=params, population=TRUTHFUL, progress=False
    )


def test_true_values_are_efficient_and_a_bid_of_another_size_is_not() -> None:
    truthful = welfare_of(FixedBidder(1.0))
    np.testing.assert_allclose(truthful.share, 1.0)
    assert np.all(welfare_of(FixedBidder(3.0)).share < 0.99) and np.all(welfare_of(FixedBidder(0.3)).share < 0.99)
    several = welfare_of(RandomMultiplierBidder(), dataclasses.replace(PARAMS, n_slots=3, exposure=(1.0, 0.8, 0.6)))
    assert np.all((several.share > 0.5) & (several.share < 1.0))
    # four advertisers and three slots: whoever is left out sets the last price
    assert np.all((several.surplus > 0) & (several.revenue > 0))


@pytest.mark.parametrize("mechanism", ["gsp", "first_price"])
def test_revenue_is_what_the_advertisers_pay(mechanism: str) -> None:
    params = dataclasses.replace(PARAMS, mechanism=mechanism)
    found = welfare_of(FixedBidder(1.2), params)
    arguments = {"task": TASKS["MaxConversions"], "params": params, "population": TRUTHFUL}
    paid = sum(
        rollout(FixedBidder(1.2 if j == 0 else 1.0), seeds=[0], advertisers=[j], **arguments,
                competitors={0: FixedBidder(1.2)} if j else None).total("cost")[0]
        for j in range(4)
    )  # fmt: skip
    assert found.revenue[0] == pytest.approx(paid, rel=1e-5)
    if mechanism == "first_price":  # the others pay their values, the controlled advertiser more than its own
        assert found.surplus[0] < 0


def test_by_hand() -> None:
    values = np.array([[0.5, 0.2, 0.1], [0.3, 0.0, 0.4]], np.float32)
    slot = np.array([[1, 0, 2], [0, 0, 1]])  # an advertiser that won nothing in both, a slot that is unsold
    price = np.where(slot > 0, 0.1, 0.0).astype(np.float32)
    nothing, no_mask = np.zeros(values.shape, np.float32), np.zeros(values.shape, bool)
    traced = TracedTick(values, nothing, slot, price, no_mask, no_mask, np.zeros(2, np.float32))
    worth, seen = np.array([10.0, 20.0, 30.0]), np.array([1.0, 0.5])
    realised, efficient, revenue = tick_welfare(traced, worth, seen)
    assert realised == pytest.approx(5.0 + 0.5 * 3.0 + 12.0)
    assert efficient == pytest.approx(5.0 + 0.5 * 4.0 + 12.0 + 0.5 * 3.0)
    assert revenue == pytest.approx(0.1 * (1 + 0.5 + 1))


def test_a_market_whose_impressions_are_not_settled_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="`conversion_delay` must be 0 to trace impressions, found 2"):
        welfare_of(FixedBidder(1.0), dataclasses.replace(PARAMS, conversion_delay=2.0))
