"""TA-PID, Mystique and BROI: what each does to a single tick, alone and in a batch, and wrong arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents import Bidder
from agents.rules.pacing.broi import BroiBidder
from agents.rules.pacing.mystique import MystiqueBidder
from agents.rules.pacing.ta_pid import TaPidBidder
from auction_env import Targets
from auction_env.control.bidder import Campaigns, TickView
from auction_env.control.observation import N_FEATURES
from auction_env.tasks import TASKS, Task

N_TICKS = 10
PLAIN = Task(name="plain")


def campaigns_of(budgets: Any = (100.0, 100.0, 400.0), task: Task = PLAIN, traffic: Any = None) -> Campaigns:
    n = len(budgets)
    targets = Targets.of(np.array(budgets), 2.0, cpc=0.1, cart_cost=0.5, roas=3.0)
    nobody = np.zeros(n, np.int64)
    return Campaigns(
        targets=targets, base=task.unit_worth(targets), category=nobody, advertiser=nobody,
        requirements=task.requirements(targets), n_ticks=N_TICKS, seed=nobody, expected_traffic=traffic,
    )  # fmt: skip


def played(bidder: Bidder, costs: np.ndarray, campaigns: Campaigns | None = None, **last: float) -> np.ndarray:
    """(ticks + 1, n) multipliers where each tick costs (ticks, n)."""
    campaigns = campaigns or campaigns_of()
    bidder.reset(campaigns)
    n, left = len(campaigns.budget), campaigns.budget.copy()
    fields: dict[str, Any] = {name: np.zeros(n) for name in TickView._fields[3:-1]} | {
        k: np.full(n, v) for k, v in last.items()
    }
    out = [bidder.act(TickView(tick=0, features=np.zeros((n, N_FEATURES)), budget_left=left, **fields))]
    for tick, cost in enumerate(costs, 1):
        left = left - cost
        now = fields | {"last_cost": cost}
        out.append(bidder.act(TickView(tick=tick, features=np.zeros((n, N_FEATURES)), budget_left=left, **now)))
    return np.stack(out)


COSTS = np.array([[5.0, 30.0, 40.0], [2.0, 20.0, 60.0], [0.0, 10.0, 20.0], [9.0, 15.0, 44.0], [9.0, 15.0, 44.0]])


@pytest.mark.parametrize("make", [TaPidBidder, MystiqueBidder, BroiBidder])
def test_slow_spending_raises_and_fast_spending_lowers_the_multiplier(make: type[Bidder]) -> None:
    multipliers = played(make(), COSTS)
    assert np.isfinite(multipliers).all() and (multipliers > 0).all()
    assert multipliers[0].tolist() == [2.0, 2.0, 2.0]  # the worth of a unit
    assert multipliers[3, 0] > 2.0 > multipliers[3, 1]
    for row in range(3):
        alone = played(make(), COSTS[:, [row]], campaigns_of([campaigns_of().budget[row]]))
        np.testing.assert_allclose(multipliers[:, [row]], alone, rtol=1e-12)


def test_ta_pid_adds_its_three_parts_to_the_log_price() -> None:
    found = np.log(played(TaPidBidder(p=0.2, i=0.3, d=0.1), COSTS) / 2.0)[:, 1]
    first, second = np.clip(1 - np.array([0.3 / 0.1, 0.5 / 0.2]), -1, 1)
    assert found[1] == pytest.approx(0.2 * first + 0.3 * 0.1 * first + 0.1 * first)
    assert found[2] - found[1] == pytest.approx(0.2 * second + 0.3 * 0.1 * (first + second) + 0.1 * (second - first))
    waits = played(TaPidBidder(), COSTS[:2, :1], campaigns_of([100.0], traffic=np.array([0.0, 0.0, *[0.125] * 8])))
    assert (waits == 2.0).all()  # without traffic nothing was learned


def test_mystique_moves_every_third_tick_by_both_errors_and_backs_off_when_a_day_is_spent() -> None:
    found = played(MystiqueBidder(), COSTS)[:, 0] / 2.0
    assert found[:3].tolist() == [1.0, 1.0, 1.0] and found[4] == found[3]
    spend_error, slope_error = 0.07 - 0.3, -1.0  # of the budget; the third tick has spent nothing of its 10
    assert -spend_error / 0.1 / slope_error < 0  # it leaves the plan: both weights are a half
    steps = 0.5 * 0.17 * min(1.0, abs(spend_error) / 0.05) + 0.5 * max(0.017, 0.017)
    assert found[3] == pytest.approx(1.0 + steps)
    short = played(MystiqueBidder(ticks_a_day=5), COSTS)[:, 1] / 2.0  # 60 of its 50 a day are gone
    assert short[3] == pytest.approx(0.95)


def test_broi_takes_the_larger_multiplier_and_steps_optimistically() -> None:
    found = played(BroiBidder(budget_step=0.1), np.array([[5.0, 12.0, 40.0], [5.0, 12.0, 40.0]]))
    mu = 2.0 * 2.0 / found - 1.0  # value 2 x worth 2
    g = (12.0 - 10.0) / 10.0
    assert mu[1, 1] - mu[0, 1] == pytest.approx(0.1 * 2 * g)
    again = (12.0 - 88.0 / 9) / (88.0 / 9)
    assert mu[2, 1] - mu[1, 1] == pytest.approx(0.1 * (2 * again - g))
    limited = campaigns_of(task=TASKS["TargetCPA"])
    costs = np.full((4, 3), 10.0)  # on plan: the budget asks for nothing
    dear = played(BroiBidder(start=2.0), costs, limited, last_expected_conversions=1.0)
    assert (dear[-1] < dear[0]).all() and dear[-1].min() >= limited.base.min() * (1 - 1e-9)  # at least the cap
    free = played(BroiBidder(start=2.0), costs, limited, last_expected_conversions=100.0)
    np.testing.assert_allclose(free[-1], free[0])


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (TaPidBidder, {"start": 0.0}, "`start` must be positive, found 0"),
        (TaPidBidder, {"p": -1.0}, "`p` must not be negative, found -1"),
        (MystiqueBidder, {"every": 0}, "`every` must be positive, found 0"),
        (MystiqueBidder, {"smallest": 1.0}, "`smallest` must be at most `largest`, 0.17, found 1"),
        (BroiBidder, {"start": 3.0}, r"`start` must lie in \[0\.09.*, 2\.0\], found 3"),
        (BroiBidder, {"budget_step": np.nan}, "`budget_step` must be positive, found nan"),
    ],
)
def test_wrong_arguments_are_named(make: Any, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**arguments)
