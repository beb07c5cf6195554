"""Tasks: scores and ratios by hand, requirement vectors, JSON."""

from __future__ import annotations

import numpy as np
import pytest

from auction_env.tasks import TASKS, Constraint, Task, get_task


def test_scores_by_hand() -> None:
    totals = {"cost": [100.0, 100.0, 0.0, 50.0], "objective": [2.0, 0.5, 0.0, 0.0], "budget": 200.0}
    cpa = TASKS["TargetCPA"]
    ratios = cpa.ratios(**totals, cpa_target=100.0)
    np.testing.assert_allclose(ratios["budget"], [0.5, 0.5, 0.0, 0.25])
    np.testing.assert_allclose(ratios["cpa"], [0.5, 2.0, 0.0, np.inf])
    np.testing.assert_allclose(cpa.score(**totals, cpa_target=100.0), [2.0, 0.125, 0.0, 0.0])
    np.testing.assert_allclose(TASKS["MaxConversions"].score(**totals, cpa_target=100.0), [2.0, 0.5, 0, 0])


def test_beta_and_absolute_limits() -> None:
    task = Task(name="t", constraints=(Constraint(kind="cpa", limit=25.0),), beta=1.0)
    assert task.score(cost=100.0, objective=2.0, budget=100.0, cpa_target=999.0) == pytest.approx(1.0)
    scaled = Task(name="t", constraints=(Constraint(kind="cpa", scale=0.5),))
    assert scaled.limits(10.0, 80.0)["cpa"] == 40.0


def test_requirements_mask_what_does_not_apply() -> None:
    np.testing.assert_array_equal(TASKS["MaxConversions"].requirements(50.0, 80.0), [50.0, 0.0, 0.0])
    np.testing.assert_array_equal(
        TASKS["TargetCPA"].requirements([50.0, 60.0], 80.0), [[50.0, 80.0, 1.0], [60.0, 80.0, 1.0]]
    )


def test_reward_follows_the_objective() -> None:
    earned = {"conversions": np.array([1.0, 0.0]), "value": np.array([0.4, 0.3])}
    np.testing.assert_array_equal(TASKS["MaxConversions"].reward(**earned), [1.0, 0.0])
    np.testing.assert_array_equal(Task(name="v", objective="value").reward(**earned), [0.4, 0.3])


@pytest.mark.parametrize(
    "task",
    [*TASKS.values(), Task(name="x", objective="value", constraints=(Constraint(kind="cpa", limit=3.5),))],
)
def test_json_round_trip_is_one_line(task: Task) -> None:
    assert "\n" not in task.to_json()
    assert Task.from_json(task.to_json()) == task


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Task(name=""), "`name` of a task must not be empty"),
        (lambda: Task(name="t", objective="fame"), "`objective` must be one of .* found 'fame'"),
        (lambda: Task(name="t", beta=-1.0), "`beta` must be finite and not negative, found -1.0"),
        (lambda: Constraint(kind="ctr"), "`kind` must be one of .* found 'ctr'"),
        (
            lambda: Constraint(kind="cpa", limit=0.0),
            "`limit` of constraint 'cpa' must be positive, found 0.0",
        ),
        (lambda: Task(name="t", constraints=(Constraint(kind="cpa"),) * 2), "at most one of a kind"),
        (lambda: get_task("nope"), "`task` must be a Task or one of"),
        (lambda: Task.from_json('{"name": "t"}'), "must have exactly the keys"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
