"""The best multiplier in hindsight: what a logged bidder should have bid from each tick on, for any task.

The logged action is what somebody did; what a policy should learn is what would have scored best. A response model
(`vamo.labels.response`) says what every constant multiplier would have brought in the ticks that followed. The one with
the best score, given what had been spent and gained by then, is the label of the tick: an expert that knows the day's
traffic and prices. A policy that sees only the past and is fitted to it by squared error learns the expert's mean, so
the day's luck, which nobody can know, averages out instead of being mistaken for skill.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from auction_env.data import TrajectoryData
from auction_env.tasks import QUANTITIES, Targets, Task, Totals
from vamo.labels.relabel import Float, sums_so_far
from vamo.labels.response import Response

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
    rest = _until_broke(left, data.episode_starts, np.stack([brings[name] for name in so_far]))
    total = {name: past[:, None] + to_come for (name, past), to_come in zip(so_far.items(), rest, strict=True)}
    nothing = np.zeros(rest.shape[1:])
    # a constant multiplier follows the traffic: its unevenness is taken as 0
    totals = Totals(**{name: total.get(name, nothing) for name in Totals._fields})
    return _peak(task.score(totals, targets, expected=True))


@njit(cache=True, parallel=True)
def _until_broke(left: Float, starts: NDArray[np.int64], brings: Float) -> Float:
    """Outcomes (c, n, m) from each row to its episode's end, under the budget (n,) that is left then.

    The budget ends a campaign within a tick, of which it then has a share. Sums are differences of the episode's sums
    so far, and the last tick is looked for from that of the row before, so that a row takes a few steps instead of one
    for every tick to come. All in one order: the labels are the same whatever the machine.

    Args:
        left: (n,) currency.
        starts: (e + 1,) first rows of the episodes.
        brings: (c, n, m) outcomes of each tick under m multipliers; the first of the c is the cost.
    """
    n_outcomes, _, n_multipliers = brings.shape
    out = np.empty_like(brings)
    for episode in prange(len(starts) - 1):
        first, stop = starts[episode], starts[episode + 1]
        so_far = np.empty((n_outcomes, stop - first + 1))
        for j in range(n_multipliers):
            for c in range(n_outcomes):
                so_far[c, 0] = 0.0
                for t in range(stop - first):
                    so_far[c, t + 1] = so_far[c, t] + brings[c, first + t, j]
            last = 0  # the campaign's last tick of those from `t` on; from row to row it hardly moves
            for t in range(stop - first):
                budget = left[first + t]
                is_spent_at = so_far[0, t] + budget
                last = max(last, t)
                while last < stop - first - 1 and so_far[0, last + 1] < is_spent_at:
                    last += 1
                while last > t and so_far[0, last] >= is_spent_at:
                    last -= 1
                cost, unspent = brings[0, first + last, j], max(budget - (so_far[0, last] - so_far[0, t]), 0.0)
                share = min(unspent / cost, 1.0) if cost > 0.0 else 1.0  # of the last tick
                for c in range(n_outcomes):
                    out[c, first + t, j] = so_far[c, last] - so_far[c, t] + share * brings[c, first + last, j]
    return out


def _peak(score: Float) -> Float:
    """Place of the highest score along the grid, between its points by a parabola through the three highest: (e,)."""
    row = np.arange(len(score))
    top = np.clip(score.argmax(axis=1), 1, len(LOG_GRID) - 2)
    before, here, after = score[row, top - 1], score[row, top], score[row, top + 1]
    bend = before - 2 * here + after
    shift = np.divide(before - after, 2 * bend, out=np.zeros_like(bend), where=bend < -1e-12)
    peak: Float = LOG_GRID[top] + np.clip(shift, -1.0, 1.0) * (LOG_GRID[1] - LOG_GRID[0])
    return peak
