"""Tasks: scores and ratios by hand, requirement vectors, feasibility, JSON."""

from __future__ import annotations

import numpy as np
import pytest

from auction_env.tasks import (
    BASES,
    N_REQUIREMENTS,
    REQUIREMENT_NAMES,
    TASKS,
    Constraint,
    Targets,
    Task,
    Totals,
    earned,
    feasibility,
    get_task,
    same_requirements,
    unevenness,
)

TARGETS = Targets.of(200.0, 100.0, cpc=5.0, cart_cost=20.0, roas=3.0)


def totals(**amounts: object) -> Totals:
    """Totals with the amounts given, 0 elsewhere."""
    given = {name: np.asarray(value, float) for name, value in amounts.items()}
    shape = np.broadcast_shapes(*(value.shape for value in given.values()))
    return Totals(**{name: np.broadcast_to(given.get(name, np.zeros(shape)), shape) for name in Totals._fields})


def test_scores_by_hand() -> None:
    played = totals(cost=[100.0, 100.0, 0.0, 50.0], conversions=[2.0, 0.5, 0.0, 0.0])
    cpa = TASKS["TargetCPA"]
    ratios = cpa.ratios(played, TARGETS)
    np.testing.assert_allclose(ratios["budget"], [0.5, 0.5, 0.0, 0.25])
    np.testing.assert_allclose(ratios["cpa"], [0.5, 2.0, 0.0, np.inf])
    np.testing.assert_allclose(cpa.score(played, TARGETS), [2.0, 0.125, 0.0, 0.0])
    np.testing.assert_allclose(TASKS["MaxConversions"].score(played, TARGETS), [2.0, 0.5, 0, 0])


def test_every_kind_of_constraint_by_hand() -> None:
    played = totals(
        cost=[100.0, 100.0, 0.0], clicks=[40.0, 10.0, 0.0], gmv=[600.0, 100.0, 0.0], unevenness=[0.1, 0.5, 0]
    )
    kinds = ("cpc", "roas", "min_delivery", "smoothness")
    task = Task(name="all", objective="clicks", constraints=tuple(Constraint(kind=kind) for kind in kinds))
    ratios = task.ratios(played, TARGETS)
    np.testing.assert_allclose(ratios["cpc"], [2.5 / 5, 10.0 / 5, 0.0])
    np.testing.assert_allclose(ratios["roas"], [3 / 6, 3 / 1, 0.0])
    np.testing.assert_allclose(ratios["min_delivery"], [0.8 / 0.5, 0.8 / 0.5, np.inf])
    np.testing.assert_allclose(ratios["smoothness"], [0.4, 2.0, 0.0])
    np.testing.assert_allclose(task.score(played, TARGETS), [40 / 1.6**2, 10 / (2 * 3 * 1.6 * 2) ** 2, 0.0])


def test_expected_scores_count_predictions_in_the_constraints_too() -> None:
    played = totals(cost=[100.0], conversions=[5.0], expected_conversions=[0.5])
    assert TASKS["TargetCPA"].score(played, TARGETS) == 5.0
    assert TASKS["TargetCPA"].score(played, TARGETS, expected=True) == pytest.approx(0.5 / 4)
    expected = Task(name="c", objective="expected_conversions", constraints=(Constraint(kind="cpa"),))
    assert expected.score(played, TARGETS) == pytest.approx(0.5 / 4)
    assert expected.reward(played) == 0.5


def test_a_surplus_is_gmv_minus_cost_and_no_penalty_makes_a_loss_smaller() -> None:
    played = totals(cost=[100.0, 100.0, 300.0, 0.0], gmv=[400.0, 30.0, 500.0, 0.0], expected_gmv=[250.0, 90.0, 0, 0])
    surplus = TASKS["MaxSurplus"]
    np.testing.assert_allclose(surplus.reward(played), [300.0, -70.0, 200.0, 0.0])
    np.testing.assert_allclose(surplus.reward(played, expected=True), [150.0, -10.0, -300.0, 0.0])
    np.testing.assert_allclose(surplus.score(played, TARGETS), [300.0, -70.0, 200.0 / 1.5**2, 0.0])  # budget of 200
    with_roas = Task(name="t", objective="surplus", constraints=(Constraint(kind="roas"),))
    np.testing.assert_allclose(with_roas.score(played, TARGETS)[:2], [300.0, -70.0])
    assert (surplus.basis, surplus.unit_worth(TARGETS), surplus.needs) == ("gmv", 1.0, ("gmv",))


def test_what_is_earned_follows_from_the_requirement_vector() -> None:
    amounts, cost = np.arange(24.0).reshape(6, 4), np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    for task in TASKS.values():
        own = amounts[:, BASES.index(task.basis)]
        requirements = task.requirements(Targets.of(np.ones(6), 1.0, 1.0, 1.0, 1.0))
        np.testing.assert_array_equal(earned(requirements, amounts, cost), task.net(own, cost))


def test_unevenness_by_hand() -> None:
    seen = np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 0.0]])
    spent = np.array([[1.0, 0.0], [1.0, 0.0], [2.0, 4.0]])
    np.testing.assert_allclose(unevenness(spent, seen), [0.0, 1.0])
    np.testing.assert_allclose(unevenness(np.array([4.0, 0.0, 0.0]), np.array([1.0, 1.0, 2.0])), 0.75)
    np.testing.assert_allclose(unevenness(np.zeros((2, 3)), np.ones((2, 3)), axis=1), [0.0, 0.0])


def test_a_task_written_by_hand_may_leave_out_what_has_a_default() -> None:
    by_hand = Task.from_json('{"name": "mine", "objective": "clicks", "constraints": [{"kind": "cpc", "scale": 0.8}]}')
    assert by_hand == Task(name="mine", objective="clicks", constraints=(Constraint(kind="cpc", scale=0.8),))
    assert Task.from_json('{"name": "plain"}') == Task(name="plain")


def test_a_list_of_constraints_becomes_a_tuple() -> None:
    task = Task(name="t", constraints=[Constraint(kind="cpa")])  # type: ignore[arg-type]  # what users write
    assert task == Task(name="t", constraints=(Constraint(kind="cpa"),))
    assert hash(task)


def test_beta_and_absolute_limits() -> None:
    task = Task(name="t", constraints=(Constraint(kind="cpa", limit=25.0),), beta=1.0)
    assert task.score(totals(cost=100.0, conversions=2.0), TARGETS) == pytest.approx(1.0)
    scaled = Task(name="t", constraints=(Constraint(kind="cpa", scale=0.5), Constraint(kind="roas", scale=2.0)))
    limits = scaled.limits(TARGETS)
    assert (limits["cpa"], limits["roas"]) == (50.0, 6.0)


def test_requirements_mask_what_does_not_apply() -> None:
    def named(task: str) -> dict[str, float]:
        y = TASKS[task].requirements(TARGETS)
        return {name: float(number) for name, number in zip(REQUIREMENT_NAMES, y, strict=True) if number}

    assert named("MaxConversions") == {"budget": 200.0, "wants_conversions": 1.0}
    assert named("TargetCPA") == {"budget": 200, "wants_conversions": 1, "cpa_limit": 100, "has_cpa_limit": 1}
    assert named("TargetROAS") == {"budget": 200, "wants_gmv": 1, "roas_limit": 3, "has_roas_limit": 1}
    assert named("MaxClicks") == {"budget": 200, "wants_clicks": 1, "cpc_limit": 5, "has_cpc_limit": 1}
    several = TASKS["AddToCart"].requirements(Targets.of([50.0, 60.0], 80.0, 5.0, 9.0, 2.0))
    assert several.shape == (2, N_REQUIREMENTS)
    np.testing.assert_array_equal(several[:, 0], [50.0, 60.0])


def test_a_unit_is_worth_what_its_target_says() -> None:
    worth = {name: float(task.unit_worth(TARGETS)) for name, task in TASKS.items()}
    assert worth["MaxConversions"] == worth["TargetCPA"] == worth["MultiConstraint"] == 100.0
    assert (worth["MaxClicks"], worth["AddToCart"], worth["TargetROAS"]) == (5.0, 20.0, pytest.approx(1 / 3))
    assert worth["MaxSurplus"] == 1.0


def test_feasibility_reports_share_and_excess() -> None:
    report = feasibility({"cpa": np.array([0.5, 1.0, 1.5, 2.5]), "budget": np.array([0.1, 0.2, 0.3, 1.0])})
    assert report["cpa"] == (0.5, 1.0)
    assert report["budget"] == (1.0, 0.0)


@pytest.mark.parametrize(
    "task",
    [*TASKS.values(), Task(name="x", objective="gmv", constraints=(Constraint(kind="cpa", limit=3.5),))],
)
def test_json_round_trip_is_one_line(task: Task) -> None:
    assert "\n" not in task.to_json()
    assert Task.from_json(task.to_json()) == task


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Task(name=""), "`name` of a task must be a text that is not empty, found ''"),
        (lambda: Task(name="t", objective="fame"), "`objective` must be one of .* found 'fame'"),
        (lambda: Task(name="t", beta=-1.0), "`beta` must be finite and not negative, found -1.0"),
        (lambda: Constraint(kind="ctr"), "`kind` must be one of .* found 'ctr'"),
        (
            lambda: Constraint(kind="cpa", limit=0.0),
            "`limit` of constraint 'cpa' must be positive and finite, found 0.0",
        ),
        (lambda: Constraint(kind="min_delivery", limit=1.5), "is a share, at most 1, found 1.5"),
        (lambda: Task(name="t", constraints=(Constraint(kind="cpa"),) * 2), "at most one of a kind"),
        (lambda: get_task("nope"), "`task` must be a Task or one of"),
        (lambda: Task(name="t", constraints="cpa"), "must be a tuple of Constraint objects, such as .* found 'cpa'"),
        (lambda: Task(name="t", constraints=["cpa"]), r"objects: write Constraint\(kind='cpa'\), found 'cpa'"),
        (lambda: Task(name="t", constraints=["cpaa"]), "of a kind of .*, found 'cpaa', nearest: cpa"),
        (lambda: Task(name="t", constraints=[{"kind": "cpa"}]), "must be a tuple of Constraint objects, .* found {"),
        (lambda: Task(name="t", beta="2"), "`beta` must be finite and not negative, found '2'"),
        (lambda: Task(name="t", objective=["clicks"]), r"`objective` must be one of .* found \['clicks'\]"),
        (lambda: Task(name="t", objective="click"), "`objective` must be one of .* found 'click', nearest: clicks"),
        (lambda: get_task("targetcpa"), "found 'targetcpa', nearest: TargetCPA"),
        (lambda: get_task(3), "`task` must be a Task or one of .* found 3"),
        (lambda: Task.from_json("{"), "a task must be JSON, found '{'"),
        (lambda: Task.from_json("[]"), r"a task's JSON must be an object with the keys \['beta'.*, found \[\]"),
        (lambda: Task.from_json('{"objective": "gmv"}'), r"must have the key 'name', found \['objective'\]"),
        (lambda: Task.from_json('{"name": "t", "betta": 2}'), "`key` of a task's JSON .*'betta', nearest: beta"),
        (lambda: Task.from_json('{"name": "t", "constraints": 1}'), "`constraints` of a task's JSON must be a list"),
        (lambda: Task.from_json('{"name": "t", "constraints": [{}]}'), "a constraint .* must have the key 'kind'"),
        (
            lambda: TASKS["MaxClicks"].requirements(Targets.of([1.0, 2.0], 100.0)),
            r"task 'MaxClicks' counts clicks, .* the cpc target must be positive, found 0.0 \(2 of 2",
        ),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_campaigns_of_a_task_are_told_by_objective_and_limits_not_by_numbers() -> None:
    targets = Targets.of(np.array([100.0, 5.0]), 20.0, 1.0, 2.0, 3.0)
    for task in TASKS.values():
        for other in TASKS.values():
            kinds, other_kinds = ({c.kind for c in one.constraints} for one in (task, other))
            is_alike = (task.basis, task.is_surplus, kinds) == (other.basis, other.is_surplus, other_kinds)
            assert same_requirements(task, other.requirements(targets)).tolist() == [is_alike] * 2
