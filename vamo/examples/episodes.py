"""One source's episodes as padded tensors, relabelled for any target task, and windows of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.labels.actions import ActionLabel
from agents.labels.hindsight import best_log_multipliers
from agents.labels.kernels import Int
from agents.labels.relabel import Relabelled, relabel, return_scale
from agents.labels.response import Response
from auction_env.data import TrajectoryData, require
from auction_env.data.schema import FEATURE_COLUMNS
from auction_env.tasks import BASES, QUANTITIES, RewardSignal, Task, wanted_basis
from vamo.config import Config
from vamo.examples.batch import Batch
from vamo.examples.inputs import (
    Conditions,
    advertiser_inputs,
    log_ratio,
    log_worth_now,
    requirement_inputs,
    state_inputs,
)
from vamo.examples.sources import task_of

logger = logging.getLogger(__name__)


@cache
def _nameless(task: Task) -> Task:
    """What a task asks for. Of a family's tasks many differ by their name only: 128 of them ask for 10 things."""
    return replace(task, name="any")


class TaskView(NamedTuple):
    """What of an `Episodes` depends on the target task."""

    requirements: Tensor  # (E, L, len(REQUIREMENT_INPUTS))
    action: Tensor  # (E, L)
    mask: Tensor  # (E, L) 1 where the action counts


class Episodes:
    """One source's episodes as padded tensors (E, L, ...), with views of them for any target task.

    An episode ends with its last action: the ticks after the campaign's end teach nothing. Episodes without
    any action are left out.

    Args:
        name: Label of the source in errors.
        data: Its trajectories, all of one task.
        config: Context, ticks, reward signal and action label are used.
        device: Where the tensors live.
        response: Behind the hindsight-optimal actions; fitted to `data` by default.
    """

    def __init__(
        self,
        name: str,
        data: TrajectoryData,
        config: Config,
        device: torch.device | str = "cpu",
        *,
        response: Response | None = None,
    ) -> None:
        self.task = task_of(name, data)
        self._name = name
        self.n_episodes = data.n_episodes
        if len(data) and not 0 <= data.tick.min() <= data.tick.max() < config.model.n_ticks:
            raise ValueError(
                f"`tick` of source {name!r} must be in [0, {config.model.n_ticks}), "
                f"found {data.tick.min()} to {data.tick.max()}"
            )
        require(data, ("action",), f"training on source {name!r}")
        self.data, self._device = data, torch.device(device)
        self._config = config
        self._signal: RewardSignal = config.data.reward_signal
        self._label: ActionLabel = config.data.action_label
        self._response, self._is_trimmed = response, config.data.trimmed_response
        self._views: dict[Task, TaskView] = {}
        row_of = np.arange(len(data)) - np.repeat(data.episode_starts[:-1], np.diff(data.episode_starts))
        episode_of = np.repeat(np.arange(data.n_episodes), np.diff(data.episode_starts))
        length = np.zeros(data.n_episodes, np.int64)
        active = data.action > 0
        np.maximum.at(length, episode_of[active], row_of[active] + 1)
        kept = np.flatnonzero(length > 0)
        if not len(kept):
            raise ValueError(f"source {name!r} must have an episode with an action above 0, found none")
        if len(kept) < data.n_episodes:
            logger.warning("%s: left out %d episodes without any action", name, data.n_episodes - len(kept))
        self.length: Int = length[kept]
        self.kept: Int = kept  # of the data set's episodes, those with an action
        self._first_rows = data.episode_starts[:-1][kept]
        self._rows = np.flatnonzero(row_of < length[episode_of])
        require(data, FEATURE_COLUMNS, f"the inputs of a policy (source {name!r})", self._rows)
        position = np.searchsorted(kept, episode_of[self._rows])
        self._cell = (position, row_of[self._rows])
        self._shape = (len(kept), max(int(self.length.max()), config.model.window))
        self.state = self.pad(state_inputs(data.features, data.cpa_target))
        self.tick = self.pad(data.tick.astype(np.int64))
        first = self._first_rows
        self.advertiser = self._tensor(advertiser_inputs(data.budget[first], data.cpa_target[first]))
        self.category = self._tensor(data.category[first].astype(np.int64))

    def view(self, task: Task) -> TaskView:
        """The source relabelled for `task`; computed at the first request for a task that asks for the same."""
        task = _nameless(task)
        if task not in self._views:
            data, new = self.data, relabel(self.data, task, self._signal)
            conditions, action = Conditions(), new.action
            if self._label == "logged":
                conditions = conditions_of(data, new)
            else:
                action = best_log_multipliers(data, task, self.response)
            base = task.unit_worth(data.targets)
            requirements = requirement_inputs(
                new.requirements,
                base,
                conditions=conditions,
                amounts_so_far=new.amounts_so_far,
                cost_so_far=new.cost_so_far,
                worth_now=log_worth_now(_offered(data), wanted_basis(new.requirements), base, data.cpa_target),
            )
            self._views[task] = TaskView(
                self.pad(requirements),
                self.pad(action.astype(np.float32)),
                self.pad(new.action_mask.astype(np.float32)),
            )
        return self._views[task]

    def like(self, data: TrajectoryData) -> Episodes:
        """Other trajectories as episodes of this source: with its settings and its response."""
        name = f"{self._name} (visited)"
        return Episodes(name, data, self._config, self._device, response=self.response)

    @property
    def response(self) -> Response:
        """The model behind the hindsight-optimal actions; fitted at the first request where none was given."""
        if self._response is None:
            self._response = _own_response(self._name, self.data, is_trimmed=self._is_trimmed)
        return self._response

    def relative_scores(self, task: Task) -> NDArray[np.float64]:
        """(E,) scores for `task` of the episodes, as shares of `return_scale`."""
        scale = return_scale(self.data.budget, task.unit_worth(self.data.targets))[self._first_rows]
        return np.asarray(relabel(self.data, task, self._signal).score[self.kept] / scale)

    def draw(self, n: int, context: int, key: Sequence[int], chosen: Int | None = None) -> tuple[Tensor, Tensor]:
        """n random windows as (episode, first row) indices, determined by `key`; of the `chosen` episodes if given.

        First rows are uniform over every place where a window of `context` rows touches the episode, then
        moved into it: no padding, and the first and last ticks appear as often as the others.
        """
        rng = np.random.default_rng(list(key))
        episode = rng.integers(len(self.length) if chosen is None else len(chosen), size=n)
        episode = episode if chosen is None else chosen[episode]
        length = self.length[episode]
        start = rng.integers(1 - context, length)
        start = np.clip(start, 0, np.maximum(length - context, 0))
        return self._indices(episode), self._indices(start)

    def windows(self, task: Task, episode: Tensor, start: Tensor, context: int) -> Batch:
        """Windows of `context` rows, relabelled for `task`, as one group."""
        view = self.view(task)
        row = start[:, None] + torch.arange(context, device=self._device)
        index = (episode[:, None], row)
        return Batch(
            requirements=view.requirements[index],
            state=self.state[index],
            advertiser=self.advertiser[episode],
            category=self.category[episode],
            tick=self.tick[index],
            action=view.action[index],
            mask=view.mask[index],
            episode=episode,
            n_groups=1,
        )

    def pad(self, rows: NDArray[np.generic]) -> Tensor:
        """Values of the data's rows as (E, L, ...), 0 where an episode has no row."""
        out = np.zeros((*self._shape, *rows.shape[1:]), rows.dtype)
        out[self._cell] = rows[self._rows]
        return self._tensor(out)

    def _indices(self, values: Int) -> Tensor:
        """What is copied to the device in a step: n numbers, and without waiting for the device."""
        indices = torch.from_numpy(values)
        if self._device.type != "cuda":
            return indices
        return indices.pin_memory().to(self._device, non_blocking=True)

    def _tensor(self, values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(values).to(self._device)


def _own_response(name: str, data: TrajectoryData, *, is_trimmed: bool) -> Response:
    """Fitted to one log alone (`data.response=own`)."""
    try:
        return Response.fit([data], is_trimmed=is_trimmed)
    except ValueError as error:
        rule = "must hold 2 ticks of an episode with an action above 0 for hindsight-optimal actions"
        raise ValueError(f"source {name!r} {rule} (or `data.response=all`), found none") from error


def _offered(data: TrajectoryData) -> NDArray[np.float64]:
    """(n, 4) predicted amounts of all impressions of each tick, in the order of `BASES`."""
    return np.stack([data[QUANTITIES[basis].offered] for basis in BASES], axis=1)


def conditions_of(data: TrajectoryData, relabelled: Relabelled) -> Conditions:
    """What the episodes of every row reached, for the task that they were relabelled for; (n,) each."""
    counts = np.diff(data.episode_starts)
    ratios = {kind: np.repeat(log_ratio(ratio), counts) for kind, ratio in relabelled.signal_ratios.items()}
    return Conditions(np.repeat(relabelled.returns, counts), ratios)
