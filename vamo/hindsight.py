"""The best multiplier in hindsight: what a logged bidder should have bid from each tick on, for any task.

The logged action is what somebody did; what a policy should learn is what would have scored best. A response model
(`vamo.response`) says what every constant multiplier would have brought in the ticks that followed. The one with the
best score, given what had been spent and gained by then, is the label of the tick: an expert that knows the day's
traffic and prices. A policy that sees only the past and is fitted to it by squared error learns the expert's mean,
so the day's luck, which nobody can know, averages out instead of being mistaken for skill.
"""

from __future__ import annotations

import numpy as np

from auction_env.data import TrajectoryData
from auction_env.tasks import QUANTITIES, Targets, Task, Totals
from vamo.relabel import Float, sums_so_far
from vamo.response import Response

LOG_GRID = np.linspace(-2.5, 2.0, 46)
"""Logs of the multipliers that are tried, relative to the worth of a unit of the objective."""

_EPISODES_AT_ONCE = 128  # bounds the memory: a few times this x ticks x multipliers numbers


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
    columns = ("cost", *(QUANTITIES[counted].predicted for counted in task.needs))
    totals = {name: sums_so_far(data[name], starts) for name in columns}
    best = np.empty(len(data))
    for first in range(0, data.n_episodes, _EPISODES_AT_ONCE):
        chosen = np.arange(first, min(first + _EPISODES_AT_ONCE, data.n_episodes))
        rows = np.arange(starts[chosen[0]], starts[chosen[-1] + 1])
        part = data.select(chosen)
        log_multiplier = np.log(task.unit_worth(part.targets))[:, None] + LOG_GRID
        brings = response.outcomes(part, task, log_multiplier)
        so_far = {name: sums[rows] for name, sums in totals.items()}
        best[rows] = _best(_Padded(part), task, part, so_far, brings)
    return best


class _Padded:
    """Rows (n, ...) of episodes as (e, longest, ...) and back."""

    def __init__(self, data: TrajectoryData) -> None:
        lengths = np.diff(data.episode_starts)
        self.episode = np.repeat(np.arange(data.n_episodes), lengths)
        self.position = np.arange(len(data)) - np.repeat(data.episode_starts[:-1], lengths)
        self.shape = (data.n_episodes, int(lengths.max()))

    def pad(self, rows: Float) -> Float:
        out = np.zeros((*self.shape, *rows.shape[1:]))
        out[self.episode, self.position] = rows
        return out

    def rows(self, padded: Float) -> Float:
        out: Float = padded[self.episode, self.position]
        return out


def _best(
    padded: _Padded, task: Task, data: TrajectoryData, so_far: dict[str, Float], brings: dict[str, Float]
) -> Float:
    """Best log multipliers (n,), from outcomes so far (n,) and those (n, m) that m multipliers bring in each tick."""
    targets = Targets(*(part[:, None] for part in data.targets.at(data.episode_starts[:-1])))
    past = {name: padded.pad(rows) for name, rows in so_far.items()}
    to_come = {name: padded.pad(rows) for name, rows in brings.items()}
    best = np.zeros(padded.shape)
    for tick in range(padded.shape[1]):
        left = np.maximum(targets.budget - past["cost"][:, tick, None], 0.0)
        rest = _until_broke(left, {name: x[:, tick:] for name, x in to_come.items()})
        total = {name: past[name][:, tick, None] + x for name, x in rest.items()}
        nothing = np.zeros(total["cost"].shape)
        # a constant multiplier follows the traffic: its unevenness is taken as 0
        totals = Totals(**{name: total.get(name, nothing) for name in Totals._fields})
        score = task.score(totals, targets, expected=True)
        best[:, tick] = _peak(score)
    return padded.rows(best)


def _until_broke(left: Float, brings: dict[str, Float]) -> dict[str, Float]:
    """Outcomes (e, m) of ticks (e, t, m) under a budget (e, 1), which ends the campaign within a tick."""
    totals = {name: np.cumsum(x, axis=1) for name, x in brings.items()}
    n_whole = (totals["cost"] < left[:, None]).sum(axis=1)[:, None]  # ticks paid in full
    last = np.minimum(n_whole, brings["cost"].shape[1] - 1)

    def at_last(x: Float) -> Float:
        taken: Float = np.take_along_axis(x, last, axis=1)[:, 0]
        return taken

    over, cost = np.maximum(at_last(totals["cost"]) - left, 0.0), at_last(brings["cost"])
    missed = np.divide(over, cost, out=np.zeros_like(over), where=cost > 0)  # share of the last tick
    return {name: at_last(totals[name]) - missed * at_last(brings[name]) for name in brings}


def _peak(score: Float) -> Float:
    """Place of the highest score along the grid, between its points by a parabola through the three highest: (e,)."""
    row = np.arange(len(score))
    top = np.clip(score.argmax(axis=1), 1, len(LOG_GRID) - 2)
    before, here, after = score[row, top - 1], score[row, top], score[row, top + 1]
    bend = before - 2 * here + after
    shift = np.divide(before - after, 2 * bend, out=np.zeros_like(bend), where=bend < -1e-12)
    peak: Float = LOG_GRID[top] + np.clip(shift, -1.0, 1.0) * (LOG_GRID[1] - LOG_GRID[0])
    return peak
