"""Trajectories as padded windows on the device: splits, normalisation, and batches that can be resumed.

Sampling is counter-based: the windows of a step depend on (seed, stream, step, index) alone, so that a
resumed run draws the same ones and there is no random state to save.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auction_env.data import TrajectoryData
from auction_env.data.splits import deal
from auction_env.tasks import BASES, OUTCOMES, QUANTITIES, RewardSignal, Task, wanted_basis
from vamo.config import ActionLabel, Config
from vamo.examples.inputs import (
    REQUIREMENT_FLAGS,
    REQUIREMENT_GATES,
    REQUIREMENT_INPUTS,
    Asked,
    advertiser_inputs,
    log_ratio,
    log_worth_now,
    requirement_inputs,
    state_inputs,
)
from vamo.labels.hindsight import best_log_multipliers
from vamo.labels.kernels import Int
from vamo.labels.relabel import Relabelled, relabel, return_scale
from vamo.labels.response import Response
from vamo.model.transformer import Batch, Normalisation

logger = logging.getLogger(__name__)

TRAIN, VALIDATION, EVALUATION, ALIGNMENT = range(4)  # streams of random numbers
_STD_FLOOR = 1e-6  # below it an input is constant: it is centred, not scaled


def by_task(data: TrajectoryData) -> dict[str, TrajectoryData]:
    """The data set's episodes by the name of the task they were logged for, in the order of `data.tasks`."""
    code_of = data.task[data.episode_starts[:-1]]
    return {data.tasks[code].name: data.select(np.flatnonzero(code_of == code)) for code in np.unique(code_of)}


def split(
    sources: Mapping[str, TrajectoryData], share: float = 0.1, *, seed: int = 0
) -> tuple[dict[str, TrajectoryData], dict[str, TrajectoryData]]:
    """Training and validation sets: `share` of every source's episodes, at least one, held out at random.

    For data in memory; a data set on disk is split once and for all by `auction_env.data.write_splits`, which deals
    in the same way.

    Raises:
        ValueError: `share` not in (0, 1), or a source with fewer than two episodes.
    """
    if not 0 < share < 1:
        raise ValueError(f"`share` must be in (0, 1), found {share}")
    train, validation = {}, {}
    for index, (name, data) in enumerate(sources.items()):
        if data.n_episodes < 2:
            raise ValueError(f"source {name!r} must have at least 2 episodes, found {data.n_episodes}")
        n_held_out = min(max(round(share * data.n_episodes), 1), data.n_episodes - 1)
        part = deal(data.n_episodes, [n_held_out], [seed, index])
        train[name], validation[name] = (data.select(np.flatnonzero(part == code)) for code in (0, 1))
    return train, validation


def task_of(name: str, data: TrajectoryData) -> Task:
    """The one task of a source; raises ValueError where it has none or several."""
    codes = np.unique(data.task)
    if len(codes) != 1:
        found = [data.tasks[code].name for code in codes]
        raise ValueError(f"source {name!r} must hold episodes of exactly one task, found {found}")
    return data.tasks[int(codes[0])]


def data_hash(*data_sets: Mapping[str, TrajectoryData]) -> str:
    """SHA-256 over names and columns: equal for equal data in equal order."""
    digest = hashlib.sha256()
    columns = ("episode_starts", "tick", "category", "budget", "cpa_target", "observation", "action")
    targets = ("cpc_target", "cart_cost_target", "roas_target")
    offered = tuple(quantity.offered for quantity in QUANTITIES.values())
    for data_set in data_sets:
        for name, data in data_set.items():
            digest.update(f"{name} {task_of(name, data).to_json()} {len(data)}\n".encode())
            for column in (*columns, *targets, *OUTCOMES, *offered):
                digest.update(np.ascontiguousarray(getattr(data, column)).tobytes())
    return digest.hexdigest()


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
        response: What the labels of `hindsight` rest on; fitted to `data` by default.
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
        self._data, self._device = data, torch.device(device)
        self._signal: RewardSignal = config.data.reward_signal
        self._label: ActionLabel = config.data.action_label
        self._response = response
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
        self._kept = kept
        self._first_rows = data.episode_starts[:-1][kept]
        self._rows = np.flatnonzero(row_of < length[episode_of])
        position = np.searchsorted(kept, episode_of[self._rows])
        self._cell = (position, row_of[self._rows])
        self._shape = (len(kept), max(int(self.length.max()), config.model.context))
        self.state = self.pad(state_inputs(data.features, data.cpa_target))
        self.tick = self.pad(data.tick.astype(np.int64))
        first = self._first_rows
        self.advertiser = self._tensor(advertiser_inputs(data.budget[first], data.cpa_target[first]))
        self.category = self._tensor(data.category[first].astype(np.int64))

    def view(self, task: Task) -> TaskView:
        """The source relabelled for `task`; computed at the first request for a task that asks for the same."""
        task = _nameless(task)
        if task not in self._views:
            data, new = self._data, relabel(self._data, task, self._signal)
            asked, action = Asked(), new.action
            if self._label == "logged":
                asked = realised(data, new)
            else:
                if self._response is None:
                    self._response = _own_response(self._name, data)
                action = best_log_multipliers(data, task, self._response)
            base = task.unit_worth(data.targets)
            requirements = requirement_inputs(
                new.requirements,
                base,
                asked=asked,
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

    def relative_scores(self, task: Task) -> NDArray[np.float64]:
        """(E,) scores for `task` of the episodes, as shares of `return_scale`."""
        scale = return_scale(self._data.budget, task.unit_worth(self._data.targets))[self._first_rows]
        return np.asarray(relabel(self._data, task, self._signal).score[self._kept] / scale)

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


def _own_response(name: str, data: TrajectoryData) -> Response:
    """Fitted to one log alone (`data.response=own`)."""
    try:
        return Response.fit([data])
    except ValueError as error:
        rule = "must hold 2 ticks of an episode with an action above 0 for labels of hindsight (or `data.response=all`)"
        raise ValueError(f"source {name!r} {rule}, found none") from error


def _offered(data: TrajectoryData) -> NDArray[np.float64]:
    """(n, 4) predicted amounts of all impressions of each tick, in the order of `BASES`."""
    return np.stack([data[QUANTITIES[basis].offered] for basis in BASES], axis=1)


def realised(data: TrajectoryData, relabelled: Relabelled) -> Asked:
    """What the episodes of every row realised, for the task that they were relabelled for; (n,) each."""
    counts = np.diff(data.episode_starts)
    ratios = {kind: np.repeat(log_ratio(ratio), counts) for kind, ratio in relabelled.signal_ratios.items()}
    return Asked(np.repeat(relabelled.returns, counts), ratios)


class WindowSampler:
    """Batches for (target, source) pairs: windows of each source, relabelled for each target.

    Args:
        sources: Training episodes of the I sources.
        validation: Validation episodes of the K targets, of the targets' own task.
        pairs: All (target, source) index pairs that training batches are made of.
        config: Sizes and seed.
        chosen: Of some pairs the only episodes to draw from.

    Raises:
        ValueError: A batch smaller than the number of pairs in a step, or `weighting.gradient` asks for the
            targets' own sources and there is none.
    """

    def __init__(
        self,
        sources: Sequence[Episodes],
        validation: Sequence[Episodes],
        pairs: Sequence[tuple[int, int]],
        config: Config,
        chosen: Mapping[tuple[int, int], Int] | None = None,
    ) -> None:
        n_pairs = min(len(pairs), config.weighting.pairs_per_step)
        if config.train.batch_size < n_pairs:
            raise ValueError(
                f"`batch_size` must be at least the number of pairs of target and source in a step, {n_pairs}, "
                f"found {config.train.batch_size}"
            )
        self._sources, self._validation = sources, validation
        self._chosen = {} if chosen is None else chosen
        self._config, self._context = config, config.model.context
        self._held_out = list(validation)  # whose gradients sources are aligned with
        if config.train.method == "vao" and config.weighting.gradient == "training":
            self._held_out = [_own_source(episodes.task, sources) for episodes in validation]

    def train(self, step: int, pairs: Sequence[tuple[int, int]]) -> Batch:
        """Equal numbers of windows for every pair; the targets of a source share its windows.

        A pair that is named again gets other windows.
        """
        return self._of_pairs(pairs, self._config.train.batch_size // len(pairs), TRAIN, step)

    def alignment(self, step: int, pairs: Sequence[tuple[int, int]], n: int) -> Batch:
        """n windows for each pair, drawn apart from the training batch's."""
        return self._of_pairs(pairs, n, ALIGNMENT, step)

    def validation(self, step: int, targets: Sequence[int], n: int) -> Batch:
        """One group of n windows per target for its validation gradient at `step`."""
        return stack([self._windows_of(self._held_out[k], k, n, VALIDATION, step) for k in targets])

    def groups(self, batch: Batch, start: int, stop: int) -> Batch:
        """The groups of a batch from `start` to before `stop`."""
        size = len(batch.mask) // batch.n_groups
        columns = [column[start * size : stop * size] for column in batch[:-1]]
        return Batch._make([*columns, stop - start])

    def evaluation(self, target: int) -> Batch:
        """The fixed windows of a target's validation set behind its validation loss."""
        n = self._config.train.evaluation_windows
        return self._windows_of(self._validation[target], target, n, EVALUATION, 0)

    def _of_pairs(self, pairs: Sequence[tuple[int, int]], n: int, stream: int, step: int) -> Batch:
        drawn: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}  # by source, occurrence of the pair, own choice
        times_seen: Counter[tuple[int, int]] = Counter()
        groups = []
        for k, i in pairs:
            chosen = self._chosen.get((k, i))
            key = (i, times_seen[k, i]) if chosen is None else (i, times_seen[k, i], k)
            times_seen[k, i] += 1
            if key not in drawn:
                seeds = (self._config.train.seed, stream, step, *key)
                drawn[key] = self._sources[i].draw(n, self._context, seeds, chosen)
            groups.append(self._sources[i].windows(self._validation[k].task, *drawn[key], self._context))
        return stack(groups)

    def _windows_of(self, episodes: Episodes, target: int, n: int, stream: int, step: int) -> Batch:
        drawn = episodes.draw(n, self._context, (self._config.train.seed, stream, step, target))
        return episodes.windows(self._validation[target].task, *drawn, self._context)


def _own_source(task: Task, sources: Sequence[Episodes]) -> Episodes:
    own = [episodes for episodes in sources if episodes.task == task]
    if not own:
        raise ValueError(
            f"`gradient` 'training' must find a source of every target's task, found none of {task.name!r}"
        )
    return own[0]


def stack(groups: Sequence[Batch]) -> Batch:
    """One batch of all the groups, which must be of equal size, in their order."""
    columns = zip(*(group[:-1] for group in groups), strict=True)
    return Batch._make([*map(torch.cat, columns), sum(group.n_groups for group in groups)])


def normalisation(
    sources: Sequence[Episodes], tasks: Sequence[Task], pairs: Sequence[tuple[int, int]]
) -> Normalisation:
    """Statistics over all ticks with an action: of every source once, of what is relabelled once a pair.

    Inputs of an absent constraint are left out of the statistics; flags (`has_*`) are not normalised.
    """
    views = [sources[i].view(tasks[k]) for k, i in pairs]
    order = [id(view) for view in views]
    distinct = {key: (i, view) for key, (_, i), view in zip(order, pairs, views, strict=True)}
    masks = {i: view.mask > 0 for i, view in distinct.values()}
    requirements = {key: _rows([view.requirements[masks[i]]]) for key, (i, view) in distinct.items()}
    actions = {key: _rows([view.action[masks[i]]]) for key, (i, view) in distinct.items()}
    action = np.concatenate([actions[key] for key in order])
    state = _rows([sources[i].state[mask] for i, mask in masks.items()])
    advertiser = _rows([sources[i].advertiser for i in masks])
    return Normalisation(
        *_requirement_moments(requirements, order),
        *_moments(state),
        *_moments(advertiser),
        *_moments(action),
        action_low=action.min(axis=0),
        action_high=action.max(axis=0),
    )


def _rows(tensors: Sequence[Tensor]) -> NDArray[np.float64]:
    return torch.cat(list(tensors)).cpu().numpy().astype(np.float64)


def _moments(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation over the first axis; the deviation of a constant is given as 1."""
    std = x.std(axis=0)
    return x.mean(axis=0), np.where(std > _STD_FLOOR, std, 1.0)


def _requirement_moments(
    parts: Mapping[int, NDArray[np.float64]], order: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Over the rows of the parts, (n, R) each, put together in an order that names many of them more than once.

    A column at a time: put together, the parts of 128 x 128 pairs are gigabytes.
    """
    mean, std = np.zeros(len(REQUIREMENT_INPUTS)), np.ones(len(REQUIREMENT_INPUTS))
    for column, (name, gate) in enumerate(zip(REQUIREMENT_INPUTS, REQUIREMENT_GATES, strict=True)):
        if name in REQUIREMENT_FLAGS:
            continue
        present = {
            key: part[:, column] if gate is None else part[part[:, REQUIREMENT_INPUTS.index(gate)] > 0, column]
            for key, part in parts.items()
        }
        values = np.concatenate([present[key] for key in order])
        if len(values):
            mean[column], std[column] = _moments(values)
    return mean, std
