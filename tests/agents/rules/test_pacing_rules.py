"""Dual descent, M-PID and model-predictive pacing: what each does to single ticks, and in the market."""

from __future__ import annotations

import numpy as np
import pytest

from agents import (
    Bidder,
    DualBidder,
    FixedBidder,
    MpcBidder,
    MpidBidder,
    MpidGains,
    NoisyBidder,
    ResponsePrior,
    rollout,
    to_trajectories,
)
from agents.rules.dual import LOWEST_LOG_PRICE, first_log_prices, multiplier_ratio
from agents.rules.mpc import _Line
from agents.rules.mpid import LinearModel
from agents.rules.pacing.adaptive_pacing import AdaptivePacingBidder
from agents.rules.pacing.budget_pacer import BudgetPacerBidder
from auction_env import TASKS, MarketParams, Targets
from auction_env.control.bidder import Campaigns, TickView
from auction_env.control.observation import N_FEATURES
from auction_env.tasks import Task

BIDDERS = [AdaptivePacingBidder, BudgetPacerBidder, DualBidder, MpidBidder, MpcBidder]


def campaigns_of(task: Task, n: int, n_ticks: int = 10) -> Campaigns:
    targets = Targets.of(np.full(n, 100.0), 2.0, cpc=0.1, cart_cost=0.5, roas=3.0)
    nobody = np.zeros(n, np.int64)
    return Campaigns(
        targets=targets, base=task.unit_worth(targets), category=nobody, advertiser=nobody,
        requirements=task.requirements(targets), n_ticks=n_ticks, seed=nobody,
    )  # fmt: skip


def view_of(tick: int, n: int, **fields: float) -> TickView:
    columns = {name: np.zeros(n) for name in TickView._fields[2:]} | {
        name: np.full(n, value) for name, value in fields.items()
    }
    features = np.zeros((n, N_FEATURES))
    features[:, 13] = 1000.0
    return TickView(tick=tick, features=features, **(columns | {"predicted_mean": np.full((n, 4), 0.01)}))


@pytest.mark.parametrize("make", BIDDERS)
@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_is_played_within_its_budget_and_whatever_the_batch(make: type[Bidder], task: str) -> None:
    arguments = {"task": TASKS[task], "params": MarketParams.for_task(TASKS[task], n_impressions=4000)}
    together = rollout(make(), seeds=[7, 8, 9], advertisers=[3, 20, 40], **arguments)
    alone = rollout(make(), seeds=[8], advertisers=[20], **arguments)
    np.testing.assert_allclose(together.ticks.multiplier[:, 1], alone.ticks.multiplier[:, 0], rtol=1e-12)
    assert np.all(together.total("cost") <= together.budget * (1 + 1e-9))
    assert np.ptp(together.ticks.multiplier, axis=0).min() > 0  # controls


@pytest.mark.parametrize("make", BIDDERS)
@pytest.mark.parametrize("task", ["MaxConversions", "TargetCPA"])
@pytest.mark.parametrize("start", [0.5, 1.0, 1.5])
def test_the_first_multiplier_is_what_was_asked_for(make: type[Bidder], task: str, start: float) -> None:
    bidder = make(start)  # type: ignore[call-arg]
    bidder.reset(campaigns_of(TASKS[task], 2))
    np.testing.assert_allclose(bidder.act(view_of(0, 2, budget_left=100.0)), start * 2.0)


@pytest.mark.parametrize("make", [DualBidder, MpidBidder])
def test_overspending_lowers_the_bid_and_underspending_raises_it(make: type[Bidder]) -> None:
    bids = {}
    for cost in (2.0, 10.0, 30.0):  # the plan of the first of ten ticks is 10
        bidder = make()
        bidder.reset(campaigns_of(TASKS["MaxConversions"], 1))
        bidder.act(view_of(0, 1, budget_left=100.0))
        bids[cost] = bidder.act(view_of(1, 1, budget_left=100.0 - cost, last_cost=cost))[0]
    assert bids[2.0] > bids[10.0] == pytest.approx(2.0)
    assert bids[10.0] > bids[30.0]


@pytest.mark.parametrize("make", [DualBidder, MpidBidder])
def test_a_broken_cost_limit_lowers_the_bid(make: type[Bidder]) -> None:
    bids = []
    # at a cost of 10 and a limit of 2: at the limit, 1.4 times the limit. A second-price bidder pays at most its bid,
    # so only one that bids above the limit can break it
    for value in (5.0, 3.6):
        bidder = make(1.5)  # type: ignore[call-arg]
        bidder.reset(campaigns_of(TASKS["TargetCPA"], 1))
        bidder.act(view_of(0, 1, budget_left=100.0))
        bids.append(bidder.act(view_of(1, 1, budget_left=90.0, last_cost=10.0, last_expected_conversions=value))[0])
    assert bids[0] > bids[1]


def test_the_pacer_moves_by_a_factor_where_the_rest_of_the_day_would_not_fit() -> None:
    bidder = BudgetPacerBidder(start=0.8)
    bids = []
    for cost in (6.0, 7.5, 9.5, 12.5):  # after the first of ten even ticks nine more such would follow
        bidder.reset(campaigns_of(TASKS["MaxConversions"], 1))
        bidder.act(view_of(0, 1, budget_left=100.0))
        bids.append(bidder.act(view_of(1, 1, budget_left=100.0 - cost, last_cost=cost))[0] / 1.6)
    np.testing.assert_allclose(bids, [1.2, 1.0, 1.0, 0.7])  # 54 / 94 is below 0.7, 112.5 / 87.5 above 1.1
    with pytest.raises(ValueError, match=r"`high` must be finite and at least `low` \(0.9\), found 0.5"):
        BudgetPacerBidder(low=0.9, high=0.5)
    with pytest.raises(ValueError, match=r"`increase` must be at least 1 and `decrease` at most 1, found 1.2 and 1.5"):
        BudgetPacerBidder(decrease=1.5)


def test_a_dual_step_is_that_of_the_formula() -> None:
    bidder = DualBidder(1.0, budget_step=0.2, ratio_step=0.4)
    bidder.reset(campaigns_of(TASKS["TargetCPA"], 1))
    bidder.act(view_of(0, 1, budget_left=100.0))
    found = bidder.act(view_of(1, 1, budget_left=85.0, last_cost=15.0, last_expected_conversions=6.0))[0]
    mu, price = np.exp(0.2 * (15 - 10) / 10), np.exp(0.4 * (15 - 2 * 6) / 15)  # both start at 1
    assert found == pytest.approx(2.0 * (1 + price) / (mu + price))


def test_steps_decrease_with_the_decay() -> None:
    moves = []
    for decay in (0.0, 0.5, 1.0):
        bidder = DualBidder(decay=decay)
        bidder.reset(campaigns_of(TASKS["MaxConversions"], 1))
        bidder.act(view_of(0, 1, budget_left=100.0))
        first = bidder.act(view_of(4, 1, budget_left=100.0))[0]
        moves.append(np.log(first / 2.0))
    np.testing.assert_allclose(moves, 0.15 / 4.0 ** np.array([0.0, 0.5, 1.0]))


def test_prices_and_multipliers_are_inverse() -> None:
    cap_ratio, is_limited = np.array([0.0, 1.0, 0.5]), np.array([False, True, True])
    mu, price = first_log_prices(0.8, cap_ratio, is_limited)
    np.testing.assert_allclose(multiplier_ratio(np.exp(mu), np.where(is_limited, np.exp(price), 0), cap_ratio), 0.8)
    low, _ = first_log_prices(5.0, cap_ratio, is_limited)
    assert low[1] == LOWEST_LOG_PRICE  # no positive price gives a multiplier above 1 + cap ratio


def test_the_linear_model_learns_the_effects_of_moves() -> None:
    rng, truth = np.random.default_rng(0), np.array([[-1.5, -0.5], [-0.2, -0.9]])
    model = LinearModel(np.zeros((2, 2, 2)), MpidGains(forgetting=1.0))
    for _ in range(200):
        move = rng.normal(scale=0.3, size=(2, 2))
        model.update(move, move @ truth.T)
    np.testing.assert_allclose(model.effects, np.broadcast_to(truth, (2, 2, 2)), atol=0.01)
    np.testing.assert_allclose(model.changes(np.ones((2, 1, 2)))[:, 0], np.tile(truth.sum(axis=1), (2, 1)), atol=0.02)


def test_a_line_starts_at_its_prior_and_ends_at_the_data() -> None:
    prior = ResponsePrior()
    line = _Line(1, (1.0, 2.0), prior, forgetting=1.0)
    x = np.array([-1.0, 0.0, 1.0])
    np.testing.assert_allclose(line.at(x)[0], 1.0 + 2.0 * x)
    rng = np.random.default_rng(1)
    for _ in range(300):
        at = rng.normal(size=1)
        line.add(at, np.exp(-0.5 + 1.3 * at) * 4.0, np.array([4.0]), np.array([50.0]), np.array([True]))
        line.add(at, np.array([1e6]), np.array([4.0]), np.array([50.0]), np.array([False]))  # left out
    np.testing.assert_allclose(line.at(x)[0], -0.5 + 1.3 * x, atol=0.01)


def test_the_prior_of_logs_is_their_response() -> None:
    arguments = {"task": TASKS["MaxConversions"], "params": MarketParams(n_impressions=20_000)}
    steady = NoisyBidder(FixedBidder(0.75))
    played = rollout(steady, seeds=np.arange(48), advertisers=np.arange(48), **arguments)
    prior = ResponsePrior.fit(to_trajectories(played, period=0))
    low, high = (
        rollout(FixedBidder(ratio), seeds=np.arange(48), advertisers=np.arange(48), **arguments).ticks
        for ratio in (0.65, 0.85)
    )
    spend, gain = (
        np.log(getattr(high, name).sum() / getattr(low, name).sum()) / np.log(0.85 / 0.65)
        for name in ("cost", "expected_conversions")
    )
    assert prior.spend[1] == pytest.approx(spend, abs=0.3)
    assert prior.gain[1] == pytest.approx(gain, abs=0.3)
    assert prior.spend[1] > prior.gain[1]  # the next unit costs more than those before
    silent = rollout(FixedBidder(0.0), seeds=[0], advertisers=[0], **arguments)
    with pytest.raises(ValueError, match="`data` must have at least 10 ticks with spend, found 0"):
        ResponsePrior.fit(to_trajectories(silent, period=0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DualBidder(-1.0), "`start` must be positive, found -1.0"),
        (lambda: DualBidder(budget_step=0.0), "`budget_step` must be positive, found 0.0"),
        (lambda: DualBidder(decay=1.5), r"`decay` must lie in \[0, 1\], found 1.5"),
        (lambda: MpidBidder(0.0), "`start` must be positive, found 0.0"),
        (lambda: MpidGains(ratio_i=-0.1), "gain `ratio_i` must be finite and not negative, found -0.1"),
        (lambda: MpidGains(forgetting=0.0), r"`forgetting` must lie in \(0, 1\], found 0.0"),
        (lambda: MpidGains(prior=0.0), "`prior` must be positive, found 0.0"),
        (lambda: MpcBidder(margin=0.0), "`margin` must be positive, found 0.0"),
        (lambda: MpcBidder(forgetting=1.1), r"`forgetting` must lie in \(0, 1\], found 1.1"),
        (lambda: ResponsePrior(slope_sd=0.0), "`slope_sd` must be positive, found 0.0"),
        (lambda: ResponsePrior(spend=(np.nan, 1.0)), "`spend` and `gain` must be finite"),
    ],
)
def test_bad_arguments_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_an_adaptive_pacing_step_is_that_of_the_paper() -> None:
    """Plan 10 of 100 a tick: 4 spent lowers mu by 0.2 x 0.6, 100 spent raises it by 0.2; mu never is negative."""
    bidder = AdaptivePacingBidder(step=0.2)
    campaigns = campaigns_of(TASKS["MaxConversions"], 1)
    bidder.reset(campaigns)
    assert bidder.act(view_of(0, 1)) / campaigns.base == pytest.approx([1.0])
    assert bidder.act(view_of(1, 1, last_cost=4.0)) / campaigns.base == pytest.approx([2 / 1.88])
    assert bidder.act(view_of(2, 1, last_cost=100.0)) / campaigns.base == pytest.approx([2 / 2.08])
    for tick in range(3, 10):
        last = bidder.act(view_of(tick, 1))
    assert last / campaigns.base == pytest.approx([2.0 / (1 + max(1.08 - 7 * 0.2, 0))])
    with pytest.raises(ValueError, match=r"`step` must be positive, found 0\.0"):
        AdaptivePacingBidder(step=0.0)
    with pytest.raises(ValueError, match=r"`start` must lie in .*, found 3.0"):
        AdaptivePacingBidder(3.0)
