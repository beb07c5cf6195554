from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from agents import FixedBidder, NoisyBidder, collect
from agents.labels.response import ANY, Response, uncensored
from auction_env import Funnel, MarketParams
from auction_env.data import TrajectoryData
from auction_env.tasks import QUANTITIES, TASKS
from tests.vamo.synthetic import Float, make_data

TASK = TASKS["TargetCPA"]


def bent(excess: Float) -> Float:
    """A log outcome that rises by 3 a unit up to a bid at the price and by 0.5 above it."""
    return 3 * excess - 2.5 * np.maximum(excess, 0.0) - 1.0


def exact(n_episodes: int = 40, *, currency: float = 1.0) -> TrajectoryData:
    """Logs of a market without noise, in which `bent` says what a bid brings."""
    data = make_data(n_episodes, share_ended=0.0)
    rng = np.random.default_rng(0)
    n = len(data)
    price = rng.uniform(0.01, 0.1, n)
    offered_conversions = rng.uniform(0.01, 0.2, n)
    action = np.exp(rng.uniform(-1.5, 1.5, n)) * price * data.n_impressions / offered_conversions
    excess = np.log(action * offered_conversions / data.n_impressions / price)
    cost, value = data.n_impressions * price * np.exp(bent(excess)), offered_conversions * np.exp(bent(excess) / 2)
    return dataclasses.replace(
        data,
        action=currency * action,
        bid=currency * action * offered_conversions,
        cost=currency * cost,
        expected_conversions=value,
        offered_conversions=offered_conversions,
        least_winning_cost=currency * price,
        budget=currency * data.budget,
        cpa_target=currency * data.cpa_target,
        cpc_target=currency * data.cpc_target,
        cart_cost_target=currency * data.cart_cost_target,
    )


def test_finds_the_curve_behind_a_log() -> None:
    data = exact()
    response = Response.fit([data])
    excess = np.array([-1.0, -0.8, 0.5, 1.2])
    worth = data.offered_conversions / data.n_impressions / data.least_winning_cost
    cost, value = response.outcomes(data, TASK, excess - np.log(worth)[:, None]).values()
    np.testing.assert_allclose(
        np.log(cost / (data.n_impressions * data.least_winning_cost)[:, None]),
        np.broadcast_to(bent(excess), cost.shape),
        atol=0.1,
    )
    np.testing.assert_allclose(
        np.log(value / data.offered_conversions[:, None]), np.broadcast_to(bent(excess) / 2, cost.shape), atol=0.1
    )


def test_several_logs_count_as_one() -> None:
    data = exact(6)
    together = Response.fit([data])
    apart = Response.fit([data.select([0, 1, 2]), data.select([3, 4, 5])])
    np.testing.assert_allclose(apart.knots, together.knots)
    for name, curve in together.curves[ANY].items():
        np.testing.assert_allclose(apart.curves[ANY][name], curve, rtol=1e-6)


def test_currency_does_not_matter() -> None:
    ours, theirs = exact(6), exact(6, currency=7.0)
    a, b = Response.fit([ours]), Response.fit([theirs])
    np.testing.assert_allclose(b.knots, a.knots)
    grid = np.log(ours.cpa_target)[:, None] + np.array([-1.0, 0.0, 1.0])
    cost, value = a.outcomes(ours, TASK, grid).values()
    their_cost, their_value = b.outcomes(theirs, TASK, grid + np.log(7.0)).values()
    np.testing.assert_allclose(their_cost, 7.0 * cost, rtol=1e-6)
    np.testing.assert_allclose(their_value, value, rtol=1e-6)


def test_linear_beyond_the_log() -> None:
    data = exact(6)
    far = np.log(data.cpa_target)[:, None] + np.array([20.0, 21.0, 22.0])
    for outcome in Response.fit([data]).outcomes(data, TASK, far).values():
        steps = np.diff(np.log(outcome), axis=1)
        np.testing.assert_allclose(steps[:, 0], steps[:, 1])


def test_multipliers_may_come_in_any_order() -> None:
    data = exact(4)
    response = Response.fit([data])
    rng = np.random.default_rng(0)
    ascending = np.linspace(-9.0, 9.0, 61)
    shuffled = rng.permuted(np.tile(ascending, (len(data), 1)), axis=1)
    price = np.log(data.cpa_target)[:, None]
    found = response.outcomes(data, TASK, price + shuffled)["cost"]
    expected = response.outcomes(data, TASK, price + ascending)["cost"]
    order = np.argsort(shuffled, axis=1)
    np.testing.assert_allclose(np.take_along_axis(found, order, axis=1), expected, rtol=1e-12)
    assert (np.diff(expected, axis=1) > 0).mean() > 0.99


def test_a_tick_cut_short_teaches_nothing() -> None:
    data = make_data(2, share_ended=0.0)
    action = data.action.copy()
    action[[3, 40, 41, 42, 43, 44, 45, 46, 47]] = 0.0  # a tick without a bid; then the first campaign is over
    mask = uncensored(dataclasses.replace(data, action=action))
    left_out = np.flatnonzero(~mask)
    np.testing.assert_array_equal(left_out, [3, 39, 40, 41, 42, 43, 44, 45, 46, 47, 95])


def test_needs_bids() -> None:
    data = make_data(2)
    with pytest.raises(ValueError, match="must hold at least 2 ticks of an episode with an action above 0, found none"):
        Response.fit([dataclasses.replace(data, action=0 * data.action)])


def test_traffic_without_value_is_finite() -> None:
    data = exact(3)
    empty = np.arange(len(data)) % 5 == 0
    changes = {
        name: np.where(empty, 0.0, data[name])
        for name in ("offered_conversions", "n_impressions", "cost", "expected_conversions")
    }
    data = dataclasses.replace(data, **changes)
    outcomes = Response.fit([data]).outcomes(data, TASK, np.log(data.cpa_target)[:, None])
    assert all(np.isfinite(x).all() and (x[empty] == 0).all() for x in outcomes.values())


def test_predicts_what_another_bidder_meets() -> None:
    """Fitted to noisy bids around the target, it tells the market's answer to bids of 0.7 and 1.3 times it."""
    params = MarketParams(n_impressions=5000)
    task = TASKS["MaxConversions"]
    response = Response.fit(collect(NoisyBidder(FixedBidder(1.0)), seeds=[0, 1, 2], task=task, params=params))
    for ratio in (0.7, 1.3):
        (log,) = collect(FixedBidder(ratio), seeds=[3], task=task, params=params)
        kept = uncensored(log)
        predicted = response.outcomes(log, task, np.log(log.action.clip(1e-9))[:, None])
        for name, outcome in predicted.items():
            assert outcome[kept].sum() == pytest.approx(log[name][kept].sum(), rel=0.1)


@pytest.mark.parametrize("is_logged", [True, False])
@pytest.mark.parametrize("target", ["MaxClicks", "TargetROAS", "MultiConstraint"])
def test_predicts_for_another_objective(target: str, is_logged: bool) -> None:
    """It tells what bids on the target's own amounts bring: well from logs of such bids, roughly from others."""
    params, policy = MarketParams(n_impressions=5000, funnel=Funnel()), NoisyBidder(FixedBidder(1.0))
    task = TASKS[target]
    names = ["MaxConversions", "AddToCart", *([target] if is_logged else [])]
    seeds = {name: [seed, seed + 10] for seed, name in enumerate(names)}
    logs = [log for name in names for log in collect(policy, seeds=seeds[name], task=TASKS[name], params=params)]
    response = Response.fit(logs)
    (log,) = collect(FixedBidder(0.8), seeds=[30], task=task, params=params)
    kept = uncensored(log)
    predicted = response.outcomes(log, task, np.log(log.action.clip(1e-9))[:, None])
    assert set(predicted) == {"cost", *(QUANTITIES[counted].expected for counted in task.needs)}
    for name, outcome in predicted.items():
        assert outcome[kept].sum() == pytest.approx(log[name][kept].sum(), rel=0.15 if is_logged else 0.45), name


def scaled_bids(data: TrajectoryData, bad: NDArray[np.bool_], factor: float) -> TrajectoryData:
    """The log in which some episodes record `factor` times the bids that were submitted."""
    rows = np.where(bad, factor, 1.0)[np.repeat(np.arange(data.n_episodes), np.diff(data.episode_starts))]
    return dataclasses.replace(data, action=data.action * rows, bid=data.bid * rows)


def test_trimming_leaves_out_the_episodes_that_contradict_most_others() -> None:
    sound = exact()
    bad = np.arange(40) % 10 < 3
    log = scaled_bids(sound, bad, 3.0)
    truth, bent, trimmed = Response.fit([sound]), Response.fit([log]), Response.fit([log], is_trimmed=True)
    grid = np.log(sound.action)[:, None] + np.array([-0.5, 0.0, 0.5])

    def error(response: Response) -> float:
        cost, true = (r.outcomes(sound, TASKS["TargetCPA"], grid)["cost"].sum(axis=0) for r in (response, truth))
        return float(np.abs(np.log(cost / true)).max())

    assert error(trimmed) < 0.05 < 0.2 < error(bent)


def test_trimming_keeps_sound_logs_and_logs_that_are_wrong_throughout() -> None:
    sound = exact()
    for log in (sound, scaled_bids(sound, np.ones(40, bool), 3.0)):
        plain, trimmed = Response.fit([log]), Response.fit([log], is_trimmed=True)
        np.testing.assert_allclose(trimmed.curves["any"]["cost"], plain.curves["any"]["cost"], atol=0.3)


def test_a_few_episodes_are_not_trimmed() -> None:
    log = scaled_bids(exact(8), np.arange(8) == 0, 3.0)
    plain, trimmed = Response.fit([log]), Response.fit([log], is_trimmed=True)
    np.testing.assert_array_equal(trimmed.curves["any"]["cost"], plain.curves["any"]["cost"])
