from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from agents import Collection, FixedBidder, NoisyBidder, collect, collect_data_set, rollout
from agents.labels.hindsight import LOG_GRID, best_log_multipliers
from agents.labels.response import Response
from auction_env import Funnel, MarketParams
from auction_env.data import TrajectoryData, load
from auction_env.tasks import TASKS, Constraint, Task, Totals
from tests.agents.labels.test_response import exact
from tests.vamo.synthetic import Float, make_data
from vamo import Config, override
from vamo.examples.episodes import Episodes
from vamo.training.train import labelled

MAX_CONVERSIONS, TARGET_CPA = TASKS["MaxConversions"], TASKS["TargetCPA"]


def affordable(data: TrajectoryData, share: float) -> TrajectoryData:
    """The log with budgets that a share of the episode's own cost exhausts, and budgets left to match."""
    first = data.episode_starts[:-1]
    cost = np.add.reduceat(data.cost, first)
    return dataclasses.replace(data, budget=np.repeat(share * cost, np.diff(data.episode_starts)))


def slow_score(data: TrajectoryData, task: Task, response: Response, row: int, log_multiplier: float) -> float:
    """Plays the rest of the episode from `row` on, tick by tick, as the response model has it."""
    start = data.episode_starts[np.searchsorted(data.episode_starts, row, side="right") - 1]
    stop = data.episode_starts[np.searchsorted(data.episode_starts, row, side="right")]
    brings = response.outcomes(data, task, np.full((len(data), 1), log_multiplier))
    cost, value = brings["cost"], brings["expected_conversions"]
    spent, gained = float(data.cost[start:row].sum()), float(data.expected_conversions[start:row].sum())
    for tick in range(row, stop):
        left = max(float(data.budget[row]) - spent, 0.0)
        share = min(1.0, left / cost[tick, 0]) if cost[tick, 0] > 0 else 1.0
        spent, gained = spent + share * cost[tick, 0], gained + share * value[tick, 0]
        if share < 1:
            break
    nothing = dict.fromkeys(Totals._fields, np.zeros(()))
    totals = Totals(**(nothing | {"cost": np.asarray(spent), "expected_conversions": np.asarray(gained)}))
    return float(task.score(totals, data.targets.at(row), expected=True))


@pytest.mark.parametrize("task", [MAX_CONVERSIONS, TARGET_CPA], ids=lambda task: task.name)
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_nothing_on_the_grid_scores_better(task: Task, share: float) -> None:
    data = affordable(exact(3), share)
    response = Response.fit([data])
    best = best_log_multipliers(data, task, response)
    base = np.log(data.cpa_target)
    for row in (0, 20, 47, 48, 95, 130):
        label = slow_score(data, task, response, row, base[row] + best[row])
        others = [slow_score(data, task, response, row, base[row] + x) for x in LOG_GRID]
        assert label >= 0.98 * max(others)  # the label lies between two points of the grid


def test_spends_the_budget_and_no_more() -> None:
    """Without other limits the best constant is the one that lasts until the end."""
    data = affordable(exact(20), 0.5)
    response = Response.fit([data])
    best = best_log_multipliers(data, MAX_CONVERSIONS, response)
    first = data.episode_starts[:-1]
    assert (np.abs(best[first]) < 2.0).any()  # inside the grid
    multiplier = np.repeat(best[first], 48) + np.log(data.cpa_target)
    cost = response.outcomes(data, MAX_CONVERSIONS, multiplier[:, None])["cost"]
    spent = np.add.reduceat(cost[:, 0], first) / data.budget[first]
    inside = np.abs(best[first]) < 2.0
    np.testing.assert_allclose(spent[inside], 1.0, atol=0.15)


def test_a_limit_lowers_the_bid() -> None:
    data = exact(4)
    response = Response.fit([data])
    free = best_log_multipliers(data, MAX_CONVERSIONS, response)
    previous: Float = free
    for scale in (2.0, 1.0, 0.5):
        task = Task(name="Strict", constraints=(Constraint(kind="cpa", scale=scale),), beta=20.0)
        strict = best_log_multipliers(data, task, response)
        assert (strict <= previous + 0.1).all()
        previous = strict
    assert previous.mean() < free.mean() - 0.1


def test_depends_on_the_past_through_what_is_spent_and_gained() -> None:
    """The logged action of a tick leaves its own label alone, which is about what should have been bid."""
    data = affordable(exact(2), 0.8)
    response = Response.fit([data])
    changed = dataclasses.replace(data, action=data.action * np.random.default_rng(0).uniform(0.5, 2, len(data)))
    np.testing.assert_array_equal(
        best_log_multipliers(changed, TARGET_CPA, response), best_log_multipliers(data, TARGET_CPA, response)
    )


def test_episodes_do_not_see_each_other() -> None:
    data = make_data(20, share_ended=0.4)
    response = Response.fit([data])
    together = best_log_multipliers(data, TARGET_CPA, response).reshape(20, 48)
    for e in (0, 7, 19):
        alone = best_log_multipliers(data.select([e]), TARGET_CPA, response)
        np.testing.assert_allclose(together[e], alone, rtol=1e-9)


def test_beats_the_logged_bidder_in_its_own_market() -> None:
    """The label of the first tick, played all day in the market that was logged, against the logged policy's level."""
    params = MarketParams(n_impressions=5000)
    logger = NoisyBidder(FixedBidder(0.9))
    log = TrajectoryData.concat(list(collect(logger, seeds=[0, 1, 2], task=MAX_CONVERSIONS, params=params)))
    rows = np.flatnonzero((log.tick == 0) & (log.period == 0))
    best = best_log_multipliers(log, MAX_CONVERSIONS, Response.fit([log]))[rows]
    played = [
        rollout(
            bidder,
            seeds=np.zeros(12, int),
            advertisers=np.arange(0, 48, 4),
            task=MAX_CONVERSIONS,
            params=params,
        )
        for bidder in (FixedBidder(np.exp(best[::4])), FixedBidder(0.9))
    ]
    labels, logged = (episodes.score(expected=True).mean() for episodes in played)
    assert labels > 1.2 * logged


@pytest.mark.parametrize("task", ["TargetROAS", "MaxClicks", "MultiConstraint", "AddToCart"])
def test_beats_a_constant_for_every_objective(task: str, tmp_path: Path) -> None:
    """The labels of the first tick, played all day in the market that was logged, whose other bidders are scripted."""
    wanted, params, controlled = TASKS[task], MarketParams(n_impressions=5000, funnel=Funnel()), tuple(range(0, 48, 6))
    collection = Collection(
        task=wanted, n_episodes=12, policy="noisy-pid", advertisers=controlled, control="all", params=params
    )
    collect_data_set(collection, tmp_path / "log")
    log = load(tmp_path / "log")
    best = best_log_multipliers(log, wanted, Response.fit([log]))
    rows = np.flatnonzero((log.tick == 0) & (log.period < 2))
    episodes = {"seeds": np.repeat([0, 1], 8), "advertisers": np.tile(controlled, 2), "task": wanted, "params": params}
    labels, logged = (
        rollout(bidder, **episodes).score(expected=True).mean()
        for bidder in (FixedBidder(np.exp(best[rows])), FixedBidder(0.9))
    )
    assert labels > 1.1 * logged


@pytest.mark.parametrize(("response", "is_spoilt"), [("own", False), ("all", True)])
def test_a_log_with_wrong_bids_spoils_no_other_labels(response: str, is_spoilt: bool) -> None:
    """Unless one response is fitted to all logs."""
    good = exact(6).with_task(TARGET_CPA)
    wrong = dataclasses.replace(good, action=3 * good.action, bid=3 * good.bid)
    config = override(Config(), [f"data.response={response}"])

    def labels_beside(other: TrajectoryData) -> list[Float]:
        parts = labelled({"good": good, "other": other}, {"good": good}, ("good",), config)
        return [part[0].view(TARGET_CPA).action.numpy() for part in parts]

    for alone, beside in zip(labels_beside(good), labels_beside(wrong), strict=True):
        assert np.allclose(alone, beside, atol=1e-5) is not is_spoilt


def test_a_log_without_a_fit_of_its_own_is_named() -> None:
    data = exact(1).with_task(TARGET_CPA)
    first = data.action * (np.arange(len(data)) == 0)
    with pytest.raises(ValueError, match=r"source 'x' must hold 2 ticks .* \(or `data.response=all`\), found none"):
        Episodes("x", dataclasses.replace(data, action=first), Config()).view(TARGET_CPA)
