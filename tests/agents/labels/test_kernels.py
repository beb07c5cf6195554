"""The compiled labels against the rules that they restate: `Task.score`, and a plain search over the grid."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agents.labels.hindsight import LOG_GRID, best_log_multipliers, peak, score_rule
from agents.labels.kernels import score_all
from agents.labels.response import Response
from auction_env.data import TrajectoryData
from auction_env.tasks import CONSTRAINT_KINDS, QUANTITIES, TASKS, Constraint, Targets, Task, Totals
from tests.agents.labels.test_response import exact
from tests.vamo.synthetic import Float

TASKS_OF_ALL_KINDS = (
    *TASKS.values(),
    *(Task(name=kind, constraints=(Constraint(kind=kind),)) for kind in CONSTRAINT_KINDS),  # type: ignore[arg-type]
    Task(name="own", objective="expected_conversions", constraints=(Constraint(kind="cpa", limit=30.0),), beta=3.5),
    Task(name="free", constraints=(Constraint(kind="cpc"), Constraint(kind="min_delivery")), beta=0.0),
)


@pytest.mark.parametrize("task", TASKS_OF_ALL_KINDS, ids=lambda task: task.name)
def test_scores_as_the_task_does(task: Task) -> None:
    rng = np.random.default_rng(0)
    n = 200
    targets = Targets.of(rng.uniform(50, 200, n), rng.uniform(5, 20, n), 0.5, 2.0, rng.uniform(1, 4, n))
    amounts = dict(zip(Totals._fields, rng.uniform(0, 150, (len(Totals._fields), n)), strict=True))
    for name in ("cost", *(QUANTITIES[basis].expected for basis in QUANTITIES)):
        amounts[name][rng.random(n) < 0.2] = 0.0  # nothing spent, or money spent on nothing
    totals = Totals(**(amounts | {"unevenness": np.zeros(n)}))
    rule = score_rule(task, targets)
    columns = ("cost", *(QUANTITIES[basis].expected for basis in task.needs))
    quantities = np.stack([np.ones(n), *(amounts[name] for name in columns)], axis=1)
    with np.errstate(divide="ignore"):  # of interest without the JIT only: compiled code does not warn
        scores = np.empty((n, n))  # everybody's quantities with the limits of each row
        for row in range(n):
            score_all(np.ascontiguousarray(quantities.T), rule, row, np.empty(n), scores[row])
    np.testing.assert_allclose(np.diag(scores), task.score(totals, targets, expected=True), rtol=1e-12)


@pytest.mark.parametrize("share", [0.3, 1.5])
@pytest.mark.parametrize("task", TASKS_OF_ALL_KINDS, ids=lambda task: task.name)
def test_is_the_best_of_a_plain_search(task: Task, share: float) -> None:
    data = exact(2)
    cost = np.add.reduceat(data.cost, data.episode_starts[:-1])
    data = dataclasses.replace(data, budget=np.repeat(share * cost, np.diff(data.episode_starts)))
    response = Response.fit([data])
    np.testing.assert_allclose(
        best_log_multipliers(data, task, response), plain_search(data, task, response), rtol=0, atol=1e-7
    )


def plain_search(data: TrajectoryData, task: Task, response: Response) -> Float:
    """Plays the rest of each episode from each row on, tick by tick, at all multipliers of the grid."""
    columns = ("cost", *(QUANTITIES[basis].expected for basis in task.needs))
    brings = response.outcomes(data, task, np.log(task.unit_worth(data.targets))[:, None] + LOG_GRID)
    scores = []
    for first, stop in zip(data.episode_starts[:-1], data.episode_starts[1:], strict=True):
        for row in range(first, stop):
            total = {name: np.full(len(LOG_GRID), data[name][first:row].sum()) for name in columns}
            is_on = np.ones(len(LOG_GRID), bool)
            for tick in range(row, stop):
                left, cost = np.maximum(data.budget[row] - total["cost"], 0.0), brings["cost"][tick]
                paid = is_on * np.minimum(left / cost, 1.0)
                is_on = is_on & (left > cost)
                total = {name: total[name] + paid * brings[name][tick] for name in columns}
            totals = Totals(**(dict.fromkeys(Totals._fields, np.zeros(len(LOG_GRID))) | total))
            scores.append(task.score(totals, data.targets.at([row]), expected=True))
    return peak(np.stack(scores))


def test_the_peak_lies_between_points_of_the_grid() -> None:
    top = np.array([-1.234, 0.05, 1.9])
    scores = -((LOG_GRID - top[:, None]) ** 2)
    np.testing.assert_allclose(peak(scores), top, atol=1e-9)
    np.testing.assert_array_equal(peak(np.asfortranarray(scores)), peak(scores))
    assert peak(np.zeros((1, len(LOG_GRID)))) == LOG_GRID[1]  # nothing is better than anything else
