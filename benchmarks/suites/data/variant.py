"""What the methods of a variant get: logs to learn from, validation episodes to tune on, test episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from auction_env import ReplayMarket
from auction_env.data import TrajectoryData
from benchmarks.suites.data.episodes import TaskEpisodes

Logs: TypeAlias = Mapping[str, TrajectoryData]
"""Trajectories by task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantData:
    """Logs and episodes of a variant; made once and shared by its runs.

    Attributes:
        targets: Validation episodes to tune on, by name of the task.
        tests: Test episodes by name in the rows: a task, or a task under a condition.
        target_of: Test -> the target whose bidder plays it.
        load_logs: Reads training and validation trajectories by task; all of them are targets of a training.
        n_train, n_validation: Trajectories by task.
        is_sound: Of a source by name and its training trajectories, which of them are sound, (n_episodes,); None where
            nobody knows.
        price_log: Opens the impressions of the periods that the logs are of; None where there are trajectories alone.
    """

    targets: dict[str, TaskEpisodes]
    tests: dict[str, TaskEpisodes]
    target_of: dict[str, str]
    load_logs: Callable[[], tuple[Logs, Logs]]
    n_train: dict[str, int]
    n_validation: dict[str, int]
    is_sound: Callable[[str, TrajectoryData], NDArray[np.bool_]] | None = None
    price_log: Callable[[], ReplayMarket] | None = None
