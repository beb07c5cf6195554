"""Logged trajectories of any task as transitions of `Bidding-v0`'s decision problem for one task. No torch here.

A transition is a tick in which the campaign was alive and bid. The observation is the environment's
(`agents.learning.observation`), the action is the log of the multiplier over the worth of a unit of the task's
objective (`auction_env.control.actions`), the reward that of `agents.learning.reward`: the rewards of an episode sum to
scale x score x worth / budget.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.labels.actions import ActionLabel, action_labels
from agents.learning.observation import observe
from agents.learning.reward import check_signal, reward_unit
from auction_env.data import TrajectoryData, require
from auction_env.data.multipliers import relative_multiplier
from auction_env.data.schema import FEATURE_COLUMNS
from auction_env.tasks import Task

Float = NDArray[np.float64]


class Transitions(NamedTuple):
    """m transitions of k episodes, in the order of the log."""

    observation: NDArray[np.float32]  # (m, 31), raw
    action: Float  # (m,) log of multiplier over worth: the logged one, or the one to be taught
    reward: Float  # (m,) sum of the next `steps` ticks' rewards, discounted
    next_observation: NDArray[np.float32]  # (m, 31) of the tick after them; of the last row where the log ends
    terminated: NDArray[np.bool_]  # (m,) whether nothing can be earned after them
    steps: NDArray[np.int64]  # (m,) ticks that the reward sums
    episode: NDArray[np.int64]  # (m,) index into the episodes of the log
    returns: Float  # (k,) undiscounted return of each episode of the log

    @property
    def has_next(self) -> NDArray[np.bool_]:
        """(m,) whether `next_observation` is that of another tick: False at the end of a log."""
        return np.asarray((self.next_observation != self.observation).any(axis=1))


def read_transitions(
    data: TrajectoryData,
    task: Task,
    *,
    signal: str = "expected",
    scale: float = 1.0,
    discount: float = 1.0,
    n_step: int = 1,
    action_label: ActionLabel = "logged",
) -> Transitions:
    """The transitions of a log, whatever task its trajectories were logged for.

    Ticks in which the campaign had ended, or in which it did not bid, have no action and begin no transition; what is
    earned in them counts all the same. An episode ends with its last tick that has an action, which gets the
    difference of score and objective.

    Args:
        data: Trajectories.
        task: The task.
        signal: "expected" or "sampled" amounts.
        scale: Return of an episode that buys its whole budget's worth and keeps all limits.
        discount: Per tick.
        n_step: Rewards of a transition, fewer at the end of an episode.
        action_label: Which `action`. Rewards and next observations are always those of the logged action.

    Raises:
        ValueError: A log without what the task counts, without any action, or bad numbers.
    """
    require(data, ("action", *FEATURE_COLUMNS), "learning from transitions")
    check_signal("signal", signal)
    if n_step < 1:
        raise ValueError(f"`n_step` must be at least 1, found {n_step}")
    if data.n_episodes == 0:
        raise ValueError("`data` must hold at least one episode, found none")
    task.check(data.targets)
    starts = data.episode_starts
    length = np.diff(starts)
    final = np.repeat(starts[1:] - 1, length)  # (n,) last row of each row's episode
    row = np.arange(len(data))
    multiplier = relative_multiplier(data, task)
    had_ended = data.done & (row != final)
    has_action = (data.action > 0) & (multiplier > 0) & ~had_ended
    if not has_action.any():
        raise ValueError(f"`data` must hold bids on what task {task.name!r} counts, found none in {len(data)} ticks")
    reward, returns = _rewards(data, task, signal, scale, has_action)
    last = np.maximum.reduceat(np.where(has_action, row, -1), starts[:-1])  # (k,) last tick with an action, or -1
    last_of = np.repeat(last, length)

    summed = np.zeros(len(data))
    for k in range(min(n_step, int(length.max()))):
        ahead = row + k
        is_inside = ahead <= last_of
        summed[is_inside] += discount**k * reward[ahead[is_inside]]
    terminated = row + n_step > last_of
    following = np.minimum(np.where(terminated, last_of + 1, row + n_step), final)
    observation = observe(data.features, task.requirements(data.targets))
    return Transitions(
        observation=observation[has_action],
        action=action_labels(data, task, action_label)[has_action],
        reward=summed[has_action],
        next_observation=observation[following[has_action]],
        terminated=terminated[has_action],
        steps=np.minimum(n_step, last_of - row + 1)[has_action],
        episode=np.repeat(np.arange(data.n_episodes), length)[has_action],
        returns=returns,
    )


def _rewards(
    data: TrajectoryData, task: Task, signal: str, scale: float, has_action: NDArray[np.bool_]
) -> tuple[Float, Float]:
    """(n,) rewards, those of ticks after the last action moved to it, and (k,) returns."""
    starts = data.episode_starts
    length = np.diff(starts)
    unit = reward_unit(task, data.targets, scale)
    first = starts[:-1]
    score = task.score(data.totals(), data.targets.at(first), expected=signal == "expected")
    returns = score * unit[first]
    reward = task.reward(data, expected=signal == "expected") * unit
    row = np.arange(len(data))
    last = np.maximum.reduceat(np.where(has_action, row, -1), first)
    reward[row > np.repeat(last, length)] = 0.0
    earned = np.add.reduceat(reward, first)
    ends = last >= 0
    reward[last[ends]] += (returns - earned)[ends]
    return reward, returns
