"""AuctionNet's rule for overspenders by hand: how many wins of which slot are dropped, whether seen or not."""

from __future__ import annotations

import numpy as np
import pytest

from auction_env import BatchMarket, MarketParams, Population
from auction_env.kernels.clearing import BLOCK
from auction_env.kernels.outcomes import COST, N_TOTALS
from auction_env.kernels.step.overspend import drop_overspenders
from auction_env.kernels.tick import lay_out

SEED = np.array([5], np.uint64)


def drop(winners: list[list[int]], cost: list[float], left: list[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is left of bids of 1: who won each slot (rows) of each impression, of how many and what they cost.

    Returns:
        bids (n_impressions, n_advertisers), their sums as the kernel keeps them, and the items to be cleared again.
    """
    n, n_advertisers = len(winners[0]), len(cost)
    items = lay_out(np.array([n]), np.zeros(1, np.int64))
    winner = np.full((1, len(winners), BLOCK), -1, np.int32)
    winner[0, :, :n] = winners
    basis = np.zeros((1, n_advertisers, BLOCK), np.float32)
    basis[0, :, :n] = 1
    totals, sums = np.zeros((1, n_advertisers, N_TOTALS)), np.full((1, n_advertisers), float(n))
    totals[0, :, COST] = cost
    todo = drop_overspenders(SEED, 0, 0, items, winner, basis, sums, totals, np.array([left]))
    return basis[0, :, :n].T, sums[0], todo


def test_a_share_of_each_slots_wins_rounded_up_is_dropped() -> None:
    # advertiser 0 wins slot 1 of five impressions, slot 2 of three and slot 3 of two; it spends 10 and has 7
    first, second, third = [0] * 5 + [1] * 5, [1] * 5 + [0] * 3 + [2] * 2, [2] * 8 + [0] * 2
    bids, sums, todo = drop([first, second, third], [10.0, 4.0, 1.0], [7.0, 4.0, 9.0])
    dropped = bids[:, 0] == 0
    assert [dropped[part].sum() for part in (slice(5), slice(5, 8), slice(8, 10))] == [2, 1, 1]  # of 1.5, 0.9 and 0.6
    assert (bids[:, 1:] == 1).all(), "those who can pay, one of them just, keep all"
    assert sums.tolist() == [6.0, 10.0, 10.0] and todo.tolist() == [0]


def test_the_smallest_excess_drops_a_win_of_every_slot() -> None:
    bids, _, todo = drop([[0, 0, 1], [1, 1, 0]], [1.0 + 1e-9, 0.0], [1.0, 1.0])
    assert (bids[:2, 0] == 0).sum() == 1 and bids[2, 0] == 0 and todo.tolist() == [0]


def test_nobody_overspends_and_nothing_is_dropped() -> None:
    bids, sums, todo = drop([[0, 1], [1, 0]], [1.0, 2.0], [1.0, 2.0])
    assert (bids == 1).all() and sums.tolist() == [2.0, 2.0] and len(todo) == 0


@pytest.mark.parametrize("exposure", [1.0, 0.25])
def test_wins_that_nobody_sees_are_dropped_too(exposure: float) -> None:
    """One slot: the winner keeps the share of its wins that it can pay, whatever share of them is seen."""
    params = MarketParams(
        n_impressions=2_000, n_ticks=1, n_slots=1, exposure=(exposure,), budget_rule="auctionnet", reserve=0.0
    )
    rich = Population(budget=(1e9, 1e9), cpa_target=(100.0, 60.0), category=(0, 0))
    market = BatchMarket(params, rich)
    market.reset([1])
    wanted = market.step(np.array([[100.0, 60.0]]))
    cost = float(wanted.cost[0, 0])
    poor = Population(budget=(cost / 2 / params.budget_scale, 1e9), cpa_target=(100.0, 60.0), category=(0, 0))
    market = BatchMarket(params, poor)
    market.reset([1])
    got = market.step(np.array([[100.0, 60.0]]))
    assert got.wins[0, 0] / wanted.wins[0, 0] == pytest.approx(0.5, abs=0.05)
    assert got.exposures[0, 0] / wanted.exposures[0, 0] == pytest.approx(0.5, abs=0.05)
    assert got.cost[0, 0] <= cost / 2 < 1.1 * got.cost[0, 0]
    assert got.bid[0, 0] < wanted.bid[0, 0] and got.bid[0, 1] == wanted.bid[0, 1]  # a dropped win is no bid
