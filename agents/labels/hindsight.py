"""The best multiplier in hindsight: what a logged bidder should have bid from each tick on, for any task.

The logged action is what somebody did; what a policy should learn is what would have scored best. A response model
(`agents.labels.response`) says what every constant multiplier would have brought in the ticks that followed. The one
with the best score, given what had been spent and gained by then, is the label of the tick: an expert that knows the
episode's traffic and prices. A policy that sees only the past and is fitted to it by squared error learns the expert's
mean, so the episode's luck, which nobody can know, averages out instead of being mistaken for skill.

To imitate what an optimisation in hindsight would have done is not new: OIL (arXiv 2412.11434) imitates an oracle that
solves the finished episode, and the third place of NeurIPS 2024's AIGB track taught a transformer the bids of a linear
programme. Ours differ in where they come from: a response fitted to the logs, for any task, from each tick on.
"""

from __future__ import annotations

import numpy as np

from agents.labels.kernels import AMOUNTS, COST, ONE, ScoreRule, find_best_places, peaks
from agents.labels.relabel import Float
from agents.labels.response import Response
from auction_env.data import TrajectoryData
from auction_env.kernels.running.threads import ThreadChoice, run_shared
from auction_env.tasks import LOWER_LIMITS, Constraint, Targets, Task

LOG_GRID = np.linspace(-2.5, 2.0, 46)
"""Logs of the multipliers that are tried, relative to the worth of a unit of the objective."""
_labelling = ThreadChoice()


def best_log_multipliers(data: TrajectoryData, task: Task, response: Response) -> Float:
    """Log of the best constant multiplier from each tick to the episode's end, over the worth of a unit.

    Args:
        data: Trajectories of any task, n ticks.
        task: The task whose score is maximised, of predicted amounts.
        response: Fitted to logs of the same market.

    Returns:
        Array (n,), within `LOG_GRID`.
    """
    targets = data.targets
    names, ticks = response.tick_curves(data, task)
    ticks = ticks._replace(shift=ticks.shift + np.log(task.unit_worth(targets)))
    logged = np.stack([np.asarray(data[name], np.float64) for name in names])
    best = np.empty(len(data))
    known = (data.episode_starts, logged, targets.budget, ticks, score_rule(task, targets), LOG_GRID, best)
    run_shared(_labelling, find_best_places, data.n_episodes, data.n_episodes, known)  # an episode takes about 50 us
    return best


def score_rule(task: Task, targets: Targets) -> ScoreRule:
    """`Task.score` of predicted amounts with targets (n,), for compiled code.

    A constant multiplier follows the traffic, so that the unevenness of its spend is taken as 0.
    """
    ratios = [(COST, ONE, 1.0 / targets.budget)]
    ratios += [_ratio(task, one, targets) for one in task.constraints if one.kind != "smoothness"]
    over, under, factor = zip(*ratios, strict=True)
    return ScoreRule(
        objective_idx=_place(task, task.basis),
        cost_weight=float(task.is_surplus),
        over_idx=np.array(over),
        under_idx=np.array(under),
        factor=np.stack(factor),
        beta=float(task.beta),
    )


def _ratio(task: Task, constraint: Constraint, targets: Targets) -> tuple[int, int, Float]:
    """Places of numerator and denominator, and the factor (n,), of `Constraint.ratio`."""
    limit = constraint.limit_of(targets)
    if constraint.kind == "min_delivery":
        return ONE, COST, limit * targets.budget
    assert constraint.basis is not None, f"constraint {constraint.kind!r} must have a rule here"
    return COST, _place(task, constraint.basis), limit if constraint.kind in LOWER_LIMITS else 1.0 / limit


def _place(task: Task, basis: str) -> int:
    """Place of an amount among the quantities."""
    return AMOUNTS + task.needs.index(basis)


def peak(score: Float) -> Float:
    """Place of the highest score (e, m) along the grid, between its points by a parabola: (e,)."""
    return peaks(np.ascontiguousarray(score), LOG_GRID)
