"""The scale of the reward for learning, the same for those who play and those who read logs.

    r_t = scale * amount_t / (budget / worth)  +  [t = T] * scale * (score - objective) / (budget / worth)

with worth what the advertiser would pay for a unit (`Task.unit_worth`), so that the undiscounted return is
scale x score / (budget / worth): `scale` for an episode that spends its budget at the target and keeps all limits.
"""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from auction_env.tasks import RewardSignal, Targets, Task

SIGNALS: tuple[RewardSignal, ...] = get_args(RewardSignal)
"""What amounts, objective and score are of: expected outcomes, or what happened."""


def reward_unit(task: Task, targets: Targets, scale: float) -> NDArray[np.float64]:
    """What a unit of the objective adds to the reward, of the targets' shape."""
    return scale * task.unit_worth(targets) / targets.budget


def check_signal(name: str, signal: str) -> None:
    """ValueError if there is no such signal."""
    if signal not in SIGNALS:
        raise ValueError(f"`{name}` must be {' or '.join(map(repr, SIGNALS))}, found {signal!r}")
