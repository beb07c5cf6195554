"""Logged bids as multipliers of what another task counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auction_env.data.dataset import TrajectoryData
from auction_env.tasks import QUANTITIES, Task


def relative_multiplier(data: TrajectoryData, task: Task) -> NDArray[np.float64]:
    """(n,) the bids of a log as multipliers of what `task` counts: bid / predicted amount; 0 where that is 0.

    The same bids are another multiplier for another objective, so the logged action holds for targets with the
    source's own basis only.
    """
    offered = data[QUANTITIES[task.basis].offered]
    other = np.divide(data.bid, offered, out=np.zeros(len(data)), where=offered > 0)
    is_same = np.array([source.basis == task.basis for source in data.tasks])[data.task]
    return np.where(is_same, data.action, other)
