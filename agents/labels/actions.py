"""What a policy is taught at each logged tick: the logged action, or the best one in hindsight. One choice for all."""

from __future__ import annotations

from typing import Literal, get_args

from agents.labels.hindsight import best_log_multipliers
from agents.labels.relabel import Float
from agents.labels.response import Response
from auction_env.control.actions import log_multiplier
from auction_env.data import TrajectoryData
from auction_env.data.multipliers import relative_multiplier
from auction_env.tasks import Task

ActionLabel = Literal["logged", "hindsight"]
"""`logged`: the action that was played. `hindsight`: the hindsight-optimal action (`agents.labels.hindsight`)."""


def action_labels(data: TrajectoryData, task: Task, label: ActionLabel) -> Float:
    """The log of the multiplier over the worth of a unit that a policy is taught at each tick, (n,).

    Args:
        data: Trajectories of any task, n ticks.
        task: The task that the policy learns.
        label: Which actions; hindsight-optimal ones come from a response model of `data` alone, with no other
            knowledge than the logs have.

    Raises:
        ValueError: Another label, or logs without two ticks of an episode with a bid, which a response needs.
    """
    if label not in get_args(ActionLabel):
        raise ValueError(f"`label` must be one of {get_args(ActionLabel)}, found {label!r}")
    if label == "hindsight":
        return best_log_multipliers(data, task, Response.fit([data]))
    return log_multiplier(relative_multiplier(data, task), task.unit_worth(data.targets))
