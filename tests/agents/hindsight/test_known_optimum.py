"""The rules in a market whose optimum is known (`benchmarks.studies.known_optimum.markets`)."""

from __future__ import annotations

from collections.abc import Callable

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
    ScoreBounds,
    lp_reference,
    record_offers,
    record_prices,
    rollout,
    shares_of,
    solve,
)  # fmt: skip
from agents.hindsight.full_information import Offers, Optimum
from agents.rules.pacing.adaptive_pacing import AdaptivePacingBidder
from auction_env import TASKS, Constraint, PacingGains, Task
from benchmarks.studies.known_optimum.markets import stationary_market

PARAMS, POPULATION = stationary_market()  # a long horizon: 240 decisions of 1,000 impressions
MARKET = {"params": PARAMS, "population": POPULATION}
EPISODES = {"seeds": np.arange(3), "advertisers": np.zeros(3, np.int64)}


@pytest.fixture(scope="module")
def optimum() -> ScoreBounds:
    """Of the linear programme."""
    return lp_reference(FixedBidder(), **EPISODES, task=TASKS["MaxConversions"], **MARKET)


def share(bidder: Bidder, optimum: ScoreBounds) -> np.ndarray:
    played = rollout(bidder, **EPISODES, task=TASKS["MaxConversions"], **MARKET)
    return shares_of(optimum, played)


def test_the_optimum_is_a_constant(optimum: ScoreBounds) -> None:
    hindsight = HindsightBidder(lowest=0.3, highest=1.5, n_coarse=24, n_fine=15)
    found = share(hindsight, optimum)
    assert np.all(found <= 1 + 1e-6)
    assert np.all(found > 0.99)


def online_lp() -> Bidder:
    """Its history is of another episode than those played, since a day is like any other."""
    return OnlineLpBidder(record_prices(PARAMS, POPULATION, [100], n_thresholds=2000))


RULES: dict[str, Callable[[], Bidder]] = {
    "pid": lambda: PidBidder(gains=PacingGains(p=0.02, i=0.05)),
    "mpid": MpidBidder,
    "dual": lambda: DualBidder(budget_step=0.5, decay=0.5),
    "adaptive_pacing": lambda: AdaptivePacingBidder(step=0.1),
    "mpc": lambda: MpcBidder(forgetting=1.0),
    "online_lp": online_lp,
}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_finds_it_over_a_long_horizon(name: str, optimum: ScoreBounds) -> None:
    found = share(RULES[name](), optimum)
    assert np.all(found <= 1 + 1e-6)
    assert np.all(found > 0.99)


def test_a_wrong_constant_does_not(optimum: ScoreBounds) -> None:
    """The tests above could fail: the budget binds, and both sides of the optimum are worse."""
    assert np.all(share(FixedBidder(1.5), optimum) < 0.95)
    assert np.all(share(FixedBidder(0.4), optimum) < 0.95)


LIMITED = Task(name="LimitedCPA", constraints=(Constraint(kind="cpa", scale=0.65),))


@pytest.fixture(scope="module")
def limited() -> list[tuple[Offers, Optimum]]:
    """The offers of each episode, and what is best under the limit."""
    market = MARKET | {"task": LIMITED}
    offers = [record_offers(FixedBidder(), seed=seed, advertiser=0, **market) for seed in range(3)]
    return [(part, solve(part)) for part in offers]


def test_under_a_cost_limit_the_optimum_is_a_constant_too(limited: list[tuple[Offers, Optimum]]) -> None:
    """The limit binds, not the budget. Amounts here, not scores: a broken limit may score more (`score_bound`)."""
    offers = [part for part, _ in limited]
    optimum = [solution.value for _, solution in limited]
    assert all(solution.prices["budget"] == 0 for _, solution in limited)
    for row, part in enumerate(offers):
        has_value = part.value[0] > 0
        each_cost, each_value = part.cost[0, has_value], part.value[0, has_value]
        order = np.argsort(each_cost / each_value)  # a constant multiplier takes a beginning of this
        cost, value = np.cumsum(each_cost[order]), np.cumsum(each_value[order])
        best = value[cost <= part.allowed["cpa"] * value].max()
        assert 0.999 * optimum[row] < best <= optimum[row] * (1 + 1e-9)


# Learning costs most where a limit binds: the PID approaches it from below, the integrals of dual descent and M-PID
# are a few per cent above it for good (10 % at these settings), so that they are not among those that keep it
@pytest.mark.parametrize(("name", "least"), [("online_lp", 0.995), ("mpc", 0.97), ("pid", 0.93)])
def test_rules_keep_a_cost_limit_and_come_near_the_optimum(
    name: str, least: float, limited: list[tuple[Offers, Optimum]]
) -> None:
    optimum = [solution.value for _, solution in limited]
    bidder = RULES[name]() if name != "pid" else PidBidder()
    played = rollout(bidder, **EPISODES, **MARKET, task=LIMITED)
    assert np.all(played.ratios(expected=True)["cpa"] < 1.005)
    share = played.objective(expected=True) / optimum
    assert np.all(share > least)
