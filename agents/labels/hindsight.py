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

from agents.labels.kernels import sums_so_far, sums_until_broke
from agents.labels.relabel import Float
from agents.labels.response import Response
from auction_env.data import TrajectoryData
from auction_env.tasks import QUANTITIES, Targets, Task, Totals

LOG_GRID = np.linspace(-2.5, 2.0, 46)
"""Logs of the multipliers that are tried, relative to the worth of a unit of the objective."""

_EPISODES_AT_ONCE = 128  # bounds the memory: some twenty times this x ticks x multipliers numbers


def best_log_multipliers(data: TrajectoryData, task: Task, response: Response) -> Float:
    """Log of the best constant multiplier from each tick to the episode's end, over the worth of a unit.

    Args:
        data: Trajectories of any task, n ticks.
        task: The task whose score is maximised, of predicted amounts.
        response: Fitted to logs of the same market.

    Returns:
        Array (n,), within `LOG_GRID`.
    """
    starts = data.episode_starts
    columns = ("cost", *(QUANTITIES[counted].expected for counted in task.needs))
    so_far = {name: sums_so_far(data[name], starts) for name in columns}
    best = np.empty(len(data))
    for first in range(0, data.n_episodes, _EPISODES_AT_ONCE):
        chosen = np.arange(first, min(first + _EPISODES_AT_ONCE, data.n_episodes))
        rows = slice(starts[chosen[0]], starts[chosen[-1] + 1])
        part = data.select(chosen)
        log_multiplier = np.log(task.unit_worth(part.targets))[:, None] + LOG_GRID
        brings = response.outcomes(part, task, log_multiplier)
        best[rows] = _best(task, part, {name: sums[rows] for name, sums in so_far.items()}, brings)
    return best


def _best(task: Task, data: TrajectoryData, so_far: dict[str, Float], brings: dict[str, Float]) -> Float:
    """Best log multipliers (n,), from outcomes so far (n,) and those (n, m) that m multipliers bring in each tick."""
    targets = Targets(*(part[:, None] for part in data.targets))
    left = np.maximum(targets.budget[:, 0] - so_far["cost"], 0.0)
    rest = sums_until_broke(left, data.episode_starts, np.stack([brings[name] for name in so_far]))
    total = {name: past[:, None] + to_come for (name, past), to_come in zip(so_far.items(), rest, strict=True)}
    nothing = np.zeros(rest.shape[1:])
    # a constant multiplier follows the traffic: its unevenness is taken as 0
    totals = Totals(**{name: total.get(name, nothing) for name in Totals._fields})
    return peak(task.score(totals, targets, expected=True))


def peak(score: Float) -> Float:
    """Place of the highest score along the grid, between its points by a parabola through the three highest: (e,)."""
    row = np.arange(len(score))
    top = np.clip(score.argmax(axis=1), 1, len(LOG_GRID) - 2)
    before, here, after = score[row, top - 1], score[row, top], score[row, top + 1]
    bend = before - 2 * here + after
    shift = np.divide(before - after, 2 * bend, out=np.zeros_like(bend), where=bend < -1e-12)
    place: Float = LOG_GRID[top] + np.clip(shift, -1.0, 1.0) * (LOG_GRID[1] - LOG_GRID[0])
    return place
