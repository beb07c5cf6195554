"""Relabelling: a logged trajectory of any task becomes an example for a target task (arXiv 2510.07760).

Everything that depends on the objective is recomputed in hindsight from what every tick logs. All functions
are pure and work on NumPy arrays; arrays over rows have shape (n,) with n = `len(data)`, arrays over episodes
shape (e,) with e = `data.n_episodes`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.labels.kernels import sums_so_far
from auction_env.control.actions import log_multiplier
from auction_env.data import TrajectoryData, require
from auction_env.data.multipliers import relative_multiplier
from auction_env.tasks import BASES, QUANTITIES, RewardSignal, Task

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


class Relabelled(NamedTuple):
    """A data set seen as examples for one task."""

    reward: Float  # (n,) of the reward signal
    amounts_so_far: Float  # (n, 4) of the reward signal before the tick, for each of `tasks.BASES`
    cost_so_far: Float  # (n,) before the tick, currency
    returns_to_go: Float  # (n,) sum of rewards from the tick to the end of the episode
    requirements: Float  # (n, N_REQUIREMENTS) of the task, with the numbers of the episode's own advertiser
    action: Float  # (n,) `log_multiplier` over the task's bid base; its floor, of zeros, carries no loss
    action_mask: Bool  # (n,) whether the action is one: False where the campaign had ended or did not bid
    returns: Float  # (e,) sum of rewards, as a share of `return_scale`
    ratios: dict[str, Float]  # (e,) realised over limit for each constraint, of the task's own objective
    signal_ratios: dict[str, Float]  # (e,) the same, of the amounts of the reward signal
    score: Float  # (e,) of the task's own objective


def return_scale(budget: Float, base: Float) -> Float:
    """The return that the whole budget buys at the base price: makes returns dimensionless."""
    return budget / base


def return_to_go(target_return: Float, reward_so_far: Float, scale: Float) -> Float:
    """The dimensionless return still to come: in training and in use alike.

    Args:
        target_return: Dimensionless return of the whole episode: realised in training, asked for in use.
        reward_so_far: Rewards before the tick.
        scale: `return_scale` of the episode.
    """
    return target_return - reward_so_far / scale


def relabel(data: TrajectoryData, task: Task, signal: RewardSignal = "expected") -> Relabelled:
    """The data set as examples for `task`, whatever task its trajectories were logged for.

    Args:
        data: Trajectories, one row a tick.
        task: The target task.
        signal: Reward signal behind the returns; ratios and score are always of the task's own objective.
    """
    named = [column.expected if signal == "expected" else column.sampled for column in QUANTITIES.values()]
    require(data, ("action", "cost", *named), f"relabelling with {signal} amounts")
    starts = data.episode_starts
    first, last = starts[:-1], starts[1:] - 1
    targets = data.targets.at(first)
    amounts = {basis: data[name] for basis, name in zip(QUANTITIES, named, strict=True)}
    amounts_so_far = np.stack([sums_so_far(amounts[basis], starts) for basis in BASES], axis=1)
    cost_so_far = sums_so_far(data.cost, starts)
    reward = task.net(amounts[task.basis], data.cost)
    reward_so_far = task.net(amounts_so_far[:, BASES.index(task.basis)], cost_so_far)
    total = reward_so_far[last] + reward[last]
    base = task.unit_worth(data.targets)
    totals = data.totals()
    return Relabelled(
        reward=reward,
        amounts_so_far=amounts_so_far,
        cost_so_far=cost_so_far,
        returns_to_go=np.repeat(total, np.diff(starts)) - reward_so_far,
        requirements=task.requirements(data.targets),
        action=log_multiplier(relative_multiplier(data, task), base),
        action_mask=data.action > 0,
        returns=total / return_scale(targets.budget, base[first]),
        ratios=task.ratios(totals, targets),
        signal_ratios=task.ratios(totals, targets, expected=signal == "expected"),
        score=task.score(totals, targets),
    )
