from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agents.labels.kernels import sums_so_far
from agents.labels.relabel import (
    relabel,
    return_scale,
    return_to_go,
)
from auction_env.control.actions import LOG_MULTIPLIER_FLOOR, log_multiplier
from auction_env.data import TrajectoryData
from auction_env.tasks import REQUIREMENT_NAMES, TASKS, Constraint, Targets, Task
from tests.vamo.synthetic import make_data

MAX_CONVERSIONS, TARGET_CPA = TASKS["MaxConversions"], TASKS["TargetCPA"]


def hand_made(task: Task) -> TrajectoryData:
    """Two episodes of 48 ticks of which only the first three matter."""
    data = make_data(2, task=task, share_ended=0.0)
    zeros, first = np.zeros(96), [0, 1, 2]
    second = [48, 49, 50]
    cost, value, conversions, action = (zeros.copy() for _ in range(4))
    cost[first], cost[second] = [10.0, 20.0, 30.0], [5.0, 0.0, 0.0]
    value[first], value[second] = [0.5, 1.0, 0.25], [0.0, 0.0, 0.5]
    conversions[first], conversions[second] = [1.0, 0.0, 2.0], [0.0, 0.0, 0.0]
    action[first], action[second] = [50.0, 0.0, 100.0], [20.0, 40.0, 0.0]
    budget, cpa_target = np.repeat([100.0, 50.0], 48), np.repeat([50.0, 20.0], 48)
    observation = np.hstack([data.features, task.requirements(Targets.of(budget, cpa_target))])
    return dataclasses.replace(
        data,
        cost=cost,
        expected_conversions=value,
        conversions=conversions,
        reward=conversions,
        reward_expected=value,
        action=action,
        budget=budget,
        cpa_target=cpa_target,
        observation=observation,
    )


def test_by_hand() -> None:
    data = hand_made(MAX_CONVERSIONS)
    new = relabel(data, TARGET_CPA)
    np.testing.assert_allclose(new.reward[[0, 1, 2, 3]], [0.5, 1.0, 0.25, 0.0])
    np.testing.assert_allclose(new.returns_to_go[[0, 1, 2, 3, 47]], [1.75, 1.25, 0.25, 0.0, 0.0])
    np.testing.assert_allclose(new.returns_to_go[[48, 49, 50, 51]], [0.5, 0.5, 0.5, 0.0])
    np.testing.assert_allclose(new.amounts_so_far[[0, 1, 2, 3], 0], [0.0, 0.5, 1.5, 1.75])
    np.testing.assert_allclose(new.cost_so_far[[0, 1, 2, 3, 48, 49]], [0.0, 10.0, 30.0, 60.0, 0.0, 5.0])
    y = new.requirements[[0, 47, 48]][:, [REQUIREMENT_NAMES.index(n) for n in ("budget", "cpa_limit", "has_cpa_limit")]]
    np.testing.assert_allclose(y, [[100, 50, 1], [100, 50, 1], [50, 20, 1]])
    np.testing.assert_allclose(new.returns, [1.75 * 50 / 100, 0.5 * 20 / 50])
    # ratios and score are of the task's own objective, sampled conversions: CPA 60 / 3 and 5 / 0
    np.testing.assert_allclose(new.ratios["budget"], [0.6, 0.1])
    np.testing.assert_allclose(new.ratios["cpa"], [20 / 50, np.inf])
    np.testing.assert_allclose(new.score, [3.0, 0.0])
    np.testing.assert_allclose(new.action[[0, 2, 49]], np.log([1.0, 2.0, 2.0]))
    assert new.action[1] == LOG_MULTIPLIER_FLOOR
    np.testing.assert_array_equal(new.action_mask[[0, 1, 2, 3, 48, 49, 50]], [1, 0, 1, 0, 1, 1, 0])


def test_penalty_reaches_the_score() -> None:
    data = hand_made(MAX_CONVERSIONS)
    strict = Task(name="Strict", constraints=(Constraint(kind="cpa", limit=10.0),))
    np.testing.assert_allclose(relabel(data, strict).score[0], 3.0 * (10 / 20) ** 2)


def test_absent_constraint_does_not_leak() -> None:
    new = relabel(hand_made(TARGET_CPA), MAX_CONVERSIONS)
    shown = {name for name, column in zip(REQUIREMENT_NAMES, new.requirements.T, strict=True) if column.any()}
    assert shown == {"budget", "wants_conversions"}
    assert set(new.ratios) == {"budget"}


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_own_task_is_the_identity(task: Task) -> None:
    data = make_data(5, task=task)
    new = relabel(data, task, "sampled")
    np.testing.assert_array_equal(new.reward, data.reward)
    np.testing.assert_array_equal(new.requirements, data.requirements)
    np.testing.assert_array_equal(relabel(data, task, "expected").reward, data.reward_expected)
    active = data.action > 0
    base = task.unit_worth(data.targets)
    np.testing.assert_allclose((np.exp(new.action) * base)[active], data.action[active], rtol=1e-12)


def test_an_action_means_the_same_for_every_target() -> None:
    """The bids stay what they are: the multiplier of the target's basis gives them back."""
    data = make_data(4, task=TARGET_CPA)
    for task, offered in (("MaxClicks", "offered_clicks"), ("TargetROAS", "offered_gmv")):
        new = relabel(data, TASKS[task])
        bid = np.exp(new.action) * TASKS[task].unit_worth(data.targets) * data[offered]
        np.testing.assert_allclose(bid[new.action_mask], data.bid[new.action_mask], rtol=1e-12)
        np.testing.assert_array_equal(new.reward, data["expected_clicks" if task == "MaxClicks" else "expected_gmv"])


def test_a_target_whose_quantities_the_log_lacks_is_named() -> None:
    data = dataclasses.replace(make_data(2), cpc_target=np.zeros(96))
    with pytest.raises(ValueError, match="task 'MaxClicks' counts clicks, which must be recorded"):
        relabel(data, TASKS["MaxClicks"])


def test_relabelling_depends_on_the_target_alone() -> None:
    as_max, as_cpa = (make_data(5, task=task) for task in (MAX_CONVERSIONS, TARGET_CPA))
    for a, b in zip(relabel(as_max, TARGET_CPA), relabel(as_cpa, TARGET_CPA), strict=True):
        np.testing.assert_equal(a, b)


def test_sums_stay_within_episodes() -> None:
    values, starts = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([0, 2, 3, 5])
    np.testing.assert_array_equal(sums_so_far(values, starts), [0.0, 1.0, 0.0, 0.0, 4.0])


def test_return_to_go_is_dimensionless() -> None:
    budget, base, reward = np.array([100.0]), np.array([20.0]), np.array([2.0])
    a = return_to_go(np.array([1.0]), reward, return_scale(budget, base))
    b = return_to_go(np.array([1.0]), reward, return_scale(7 * budget, 7 * base))  # another currency
    np.testing.assert_allclose(a, [0.6])
    np.testing.assert_allclose(a, b)


def test_floor() -> None:
    low = log_multiplier(np.array([0.0, 1e-9]), np.array([50.0, 50.0]))
    np.testing.assert_allclose(low, LOG_MULTIPLIER_FLOOR)
    assert pytest.approx(np.log(0.001)) == LOG_MULTIPLIER_FLOOR
