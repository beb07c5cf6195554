"""The ticks of many sources in one table, from which all windows of a batch are gathered at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auction_env.tasks import Task
from vamo.examples.batch import Batch
from vamo.examples.episodes import Episodes
from vamo.examples.inputs import REQUIREMENT_INPUTS

Int = NDArray[np.int64]


class Groups(NamedTuple):
    """What the P groups of a batch are drawn from; groups of the same draw have the same windows."""

    used: Int  # (P,) numbers of the (source, task) combinations of the table
    draw: Int  # (P,) of the D draws
    drawn: Int  # (D,) the combination whose episodes each draw is from


class WindowTable:
    """Windows of sources that are relabelled for tasks.

    Args:
        used: The (source, task) combinations that windows are made of.
        chosen: Of some combinations, by number, the only episodes to draw from.
        window: Ticks of a window.
    """

    def __init__(self, used: Sequence[tuple[Episodes, Task]], chosen: Mapping[int, Int], window: int) -> None:
        sources = list({id(episodes): episodes for episodes, _ in used}.values())
        rows = [episodes.tick.numel() for episodes in sources]
        n_episodes = [len(episodes.length) for episodes in sources]
        number = {id(episodes): index for index, episodes in enumerate(sources)}
        row_ends, episode_ends = np.cumsum([0, *rows]), np.cumsum([0, *n_episodes])
        self._window = window
        self._state = torch.cat([episodes.state.flatten(0, 1) for episodes in sources])
        self._tick = torch.cat([episodes.tick.flatten() for episodes in sources])
        self._advertiser = torch.cat([episodes.advertiser for episodes in sources])
        self._category = torch.cat([episodes.category for episodes in sources])
        self._within = torch.cat([torch.arange(n) for n in n_episodes]).to(self._category.device)
        self._length: Int = np.concatenate([episodes.length for episodes in sources])
        self._first_row: Int = np.concatenate(
            [
                start + np.arange(n) * episodes.state.shape[1]
                for start, n, episodes in zip(row_ends, n_episodes, sources, strict=False)
            ]
        )
        self._shift = self._relabelled(used, [int(row_ends[number[id(episodes)]]) for episodes, _ in used])
        # what is drawn from: all episodes of each source, then those that were chosen
        self._pool_of: Int = np.array([number[id(episodes)] for episodes, _ in used])
        pools = [start + np.arange(n) for start, n in zip(episode_ends, n_episodes, strict=False)]
        for combination, own in chosen.items():
            pools.append(episode_ends[self._pool_of[combination]] + np.asarray(own, np.int64))
            self._pool_of[combination] = len(pools) - 1
        self._pools: Int = np.concatenate(pools)
        self._pool_size: Int = np.array([len(pool) for pool in pools])
        self._pool_start: Int = np.cumsum(self._pool_size) - self._pool_size

    def _relabelled(self, used: Sequence[tuple[Episodes, Task]], first_rows: Sequence[int]) -> Int:
        """Makes the table of what depends on the task; returns its rows less those of the source, by combination."""
        views, starts, end, shift = [], dict[int, int](), 0, []
        for (episodes, task), first_row in zip(used, first_rows, strict=True):
            view = episodes.view(task)
            if id(view) not in starts:  # tasks that ask for the same share a view
                starts[id(view)] = end
                views.append(view)
                end += view.mask.numel()
            shift.append(starts[id(view)] - first_row)
        # one table of all three, because gathering is what a batch costs
        self._of_task = torch.cat(
            [torch.cat([v.requirements, v.action[..., None], v.mask[..., None]], dim=-1).flatten(0, 1) for v in views]
        )
        return np.array(shift)

    def draw(self, groups: Groups, n: int, key: Sequence[int]) -> Batch:
        """n random windows a group, determined by `key`.

        First rows are uniform over every place where a window touches the episode, then moved into it: no padding, and
        the first and last ticks appear as often as the others.
        """
        pool = self._pool_of[groups.drawn]
        place, where = np.random.default_rng(list(key)).random((2, len(pool), n))
        size, start = self._pool_size[pool][:, None], self._pool_start[pool][:, None]
        episode = self._pools[start + (place * size).astype(np.int64)]  # (D, n)
        length, before = self._length[episode], self._window - 1
        row = np.clip((where * (length + before)).astype(np.int64) - before, 0, np.maximum(length - self._window, 0))
        first = (self._first_row[episode] + row)[groups.draw]  # (P, n)
        index = np.stack([first, first + self._shift[groups.used][:, None], episode[groups.draw]])
        return self._gather(self._to_device(index.reshape(3, -1)), len(groups.used))

    def _gather(self, index: Tensor, n_groups: int) -> Batch:
        """Windows from (3, n): rows of the source's and of the task's table, and episodes."""
        first, of_task, episode = index
        offsets = torch.arange(self._window, device=index.device)
        rows = (first[:, None] + offsets).flatten()
        shape = (len(first), self._window)
        own = self._of_task.index_select(0, (of_task[:, None] + offsets).flatten()).view(*shape, -1)
        n_inputs = len(REQUIREMENT_INPUTS)
        return Batch(
            requirements=own[..., :n_inputs],
            state=self._state.index_select(0, rows).view(*shape, -1),
            advertiser=self._advertiser.index_select(0, episode),
            category=self._category.index_select(0, episode),
            tick=self._tick.index_select(0, rows).view(shape),
            action=own[..., n_inputs],
            mask=own[..., n_inputs + 1],
            episode=self._within.index_select(0, episode),
            n_groups=n_groups,
        )

    def _to_device(self, values: Int) -> Tensor:
        """What is copied to the device in a step: three numbers a window, and without waiting for the device."""
        indices, device = torch.from_numpy(values), self._state.device
        return indices if device.type != "cuda" else indices.pin_memory().to(device, non_blocking=True)
