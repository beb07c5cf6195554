"""Batches of windows for pairs of target and source.

Sampling is counter-based: the windows of a step depend on (seed, stream, step) and the step's pairs alone. A resumed
run draws the same ones, and there is no random state to save.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from auction_env.tasks import Task
from vamo.config import Config
from vamo.examples.batch import Batch, groups
from vamo.examples.episodes import Episodes
from vamo.examples.table import Groups, Int, WindowTable

TRAIN, VALIDATION, EVALUATION, ALIGNMENT = range(4)  # streams of random numbers


class WindowSampler:
    """Batches for (target, source) pairs: windows of each source, relabelled for each target.

    Args:
        sources: Training episodes of the I sources.
        validation: Validation episodes of the K targets, of the targets' own task.
        pairs: All (target, source) index pairs that batches of training windows are made of.
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
        self._config, self._chosen = config, {} if chosen is None else chosen
        held_out = list(validation)  # whose gradients sources are aligned with
        if config.train.method == "vao" and config.weighting.gradient == "training":
            held_out = [_own_source(episodes.task, sources) for episodes in validation]
        tasks = [episodes.task for episodes in validation]
        used = [(sources[i], tasks[k]) for k, i in pairs]
        self._number = {pair: index for index, pair in enumerate(pairs)}
        self._held_out = len(used)  # the first of K combinations, as the next
        self._validation = self._held_out + len(tasks)
        used += [*zip(held_out, tasks, strict=True), *zip(validation, tasks, strict=True)]
        by_number = {self._number[pair]: episodes for pair, episodes in self._chosen.items()}
        self._sources, self._tasks = sources, tasks
        self._table = WindowTable(used, by_number, config.model.window)
        self._last: tuple[Sequence[tuple[int, int]], Groups] | None = None
        self._evaluation: dict[int, Batch] = {}

    def train(self, step: int, pairs: Sequence[tuple[int, int]]) -> Batch:
        """Equal numbers of windows for every pair; the targets of a source share its windows.

        A pair that is named again gets other windows.
        """
        return self._draw(self._groups_of(pairs), self._config.train.batch_size // len(pairs), TRAIN, step)

    def alignment(self, step: int, pairs: Sequence[tuple[int, int]], n: int) -> Batch:
        """n windows for each pair, drawn apart from the training batch's."""
        return self._draw(self._groups_of(pairs), n, ALIGNMENT, step)

    def validation(self, step: int, targets: Sequence[int], n: int) -> Batch:
        """One group of n windows per target for its validation gradient at `step`."""
        return self._draw(_separate(self._held_out + np.asarray(targets)), n, VALIDATION, step)

    groups = staticmethod(groups)

    def evaluation(self, target: int) -> Batch:
        """The fixed windows of a target's validation set behind its validation loss; drawn once."""
        if target not in self._evaluation:
            n = self._config.train.evaluation_windows
            found = self._draw(_separate(np.array([self._validation + target])), n, EVALUATION, target)
            self._evaluation[target] = found
        return self._evaluation[target]

    def every_tick(self, target: int, source: int) -> Batch:
        """All ticks with an action of a pair's episodes, or of those that were chosen, as windows of one tick."""
        episodes, task = self._sources[source], self._tasks[target]
        counts = episodes.view(task).mask > 0
        if (target, source) in self._chosen:
            of_chosen = torch.zeros(len(counts), 1, dtype=torch.bool)
            of_chosen[torch.from_numpy(self._chosen[target, source])] = True
            counts = counts & of_chosen.to(counts.device)
        episode, row = counts.nonzero().T
        return episodes.windows(task, episode, row, 1)

    def _draw(self, drawn: Groups, n: int, stream: int, step: int) -> Batch:
        return self._table.draw(drawn, n, (self._config.train.seed, stream, step))

    def _groups_of(self, pairs: Sequence[tuple[int, int]]) -> Groups:
        """The groups of pairs; those of the last pairs are kept, because most steps train the same ones."""
        if self._last is not None and self._last[0] is pairs:
            return self._last[1]
        draws: dict[tuple[int, ...], int] = {}  # by source, occurrence of the pair, own choice
        times_seen: Counter[tuple[int, int]] = Counter()
        used, draw, drawn = [], [], []
        for k, i in pairs:
            key = (i, times_seen[k, i]) if (k, i) not in self._chosen else (i, times_seen[k, i], k)
            times_seen[k, i] += 1
            used.append(self._number[k, i])
            if key not in draws:
                draws[key] = len(draws)
                drawn.append(used[-1])
            draw.append(draws[key])
        found = Groups(np.array(used), np.array(draw), np.array(drawn))
        self._last = pairs, found
        return found


def _separate(used: Int) -> Groups:
    """A draw of its own for each combination."""
    return Groups(used, np.arange(len(used)), used)


def _own_source(task: Task, sources: Sequence[Episodes]) -> Episodes:
    own = [episodes for episodes in sources if episodes.task == task]
    if not own:
        raise ValueError(
            f"`gradient` 'training' must find a source of every target's task, found none of {task.name!r}"
        )
    return own[0]
