"""Batches of windows for pairs of target and source.

Sampling is counter-based: the windows of a step depend on (seed, stream, step, index) alone. A resumed run draws the
same ones, and there is no random state to save.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from auction_env.tasks import Task
from vamo.config import Config
from vamo.examples.batch import Batch, groups, joined
from vamo.examples.episodes import Episodes
from vamo.examples.folds import Folds
from vamo.examples.table import Groups, Int, WindowTable

TRAIN, VALIDATION, EVALUATION, ALIGNMENT = range(4)  # streams of random numbers


class Visited(NamedTuple):
    """Episodes of a source as a policy would have lived through them (`vamo.examples.dagger`)."""

    episodes: Episodes
    origin: Int  # (E,) the source's episode behind each


Visits = Callable[[int], Sequence[Mapping[tuple[int, int], Visited]]]
"""A step to what has been visited by then: one entry a round, by (target, source) pair."""


class WindowSampler:
    """Batches for (target, source) pairs: windows of each source, relabelled for each target.

    Args:
        sources: Training episodes of the I sources.
        validation: Validation episodes of the K targets, of the targets' own task.
        pairs: All (target, source) index pairs that batches of training windows are made of.
        config: Sizes and seed.
        chosen: Of some pairs the only episodes to draw from.
        folds: For cross-fitting, the folds of the K targets' own sources. From refresh to refresh of the weights they
            take turns to be the validation set, and then no training window comes from them.
        visits: What policies visited, of which each round gets as many windows as the source's log.

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
        folds: Sequence[Folds] | None = None,
        visits: Visits | None = None,
    ) -> None:
        n_pairs = min(len(pairs), config.weighting.pairs_per_step)
        if config.train.batch_size < n_pairs:
            raise ValueError(
                f"`batch_size` must be at least the number of pairs of target and source in a step, {n_pairs}, "
                f"found {config.train.batch_size}"
            )
        self._config, self._chosen, self._pairs = config, {} if chosen is None else chosen, pairs
        self._sources, self._tasks = sources, [episodes.task for episodes in validation]
        self._folds, self._visits = folds, visits
        self._fold_of = {} if folds is None else {fold.source: fold for fold in folds}
        self._n_folds = 1 if folds is None else config.train.cross_fit
        self._number = {pair: index for index, pair in enumerate(pairs)}
        # combinations of the table, by fold: pairs, then what the K validation gradients come from; then validation
        held_out = [self._held_out(fold, validation) for fold in range(self._n_folds)]
        drawn = [self._drawn(fold) for fold in range(self._n_folds)]
        entries = [entry for a, b in zip(drawn, held_out, strict=True) for entry in (*a, *b)]
        self._per_fold = len(pairs) + len(validation)
        self._validation = len(entries)
        entries += [(episodes, task, None) for episodes, task in zip(validation, self._tasks, strict=True)]
        self._table = _table(entries, config)
        self._last: tuple[Sequence[tuple[int, int]], int, Groups] | None = None
        self._evaluation: dict[int, Batch] = {}
        self._rounds: list[WindowTable] = []  # of the visited episodes of each round

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
        first = self._fold(step) * self._per_fold + len(self._pairs)
        return self._draw(_separate(first + np.asarray(targets)), n, VALIDATION, step)

    groups = staticmethod(groups)

    @property
    def episode_counts(self) -> list[int]:
        """Episodes of each source that windows are drawn from."""
        return [len(episodes.length) for episodes in self._sources]

    def episodes(self, batch: Batch) -> Tensor:
        """(G, b) number of each window's episode within its source; -1 where it is none of the log."""
        return batch.episode.view(batch.n_groups, -1)

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

    def _of_pairs(self, pairs: Sequence[tuple[int, int]], n: int, stream: int, step: int) -> Batch:
        """n windows a pair: of the log, and as many of each round of visited episodes."""
        rounds = self._visited(step)
        n_visited = n // (1 + len(rounds))  # of each round
        logged = self._draw(self._groups_of(pairs, step), n - n_visited * len(rounds), stream, step)
        if not n_visited or not rounds:
            return logged
        first = self._fold(step) * len(self._pairs)
        own = _separate(first + np.array([self._number[pair] for pair in pairs]))
        seed = self._config.train.seed
        visited = [
            table.draw(own, n_visited, (seed, stream, step, number)) for number, table in enumerate(rounds, start=1)
        ]
        nowhere = [part._replace(episode=torch.full_like(part.episode, -1)) for part in visited]
        return joined([logged, *nowhere])

    def _draw(self, drawn: Groups, n: int, stream: int, step: int) -> Batch:
        return self._table.draw(drawn, n, (self._config.train.seed, stream, step))

    def _groups_of(self, pairs: Sequence[tuple[int, int]], step: int) -> Groups:
        """The groups of pairs; those of the last pairs are kept, because most steps train the same ones."""
        fold = self._fold(step)
        if self._last is not None and self._last[0] is pairs and self._last[1] == fold:
            return self._last[2]
        draws: dict[tuple[int, ...], int] = {}  # by source, occurrence of the pair, own choice
        times_seen: Counter[tuple[int, int]] = Counter()
        used, draw, drawn = [], [], []
        for k, i in pairs:
            key = (i, times_seen[k, i]) if (k, i) not in self._chosen else (i, times_seen[k, i], k)
            times_seen[k, i] += 1
            used.append(fold * self._per_fold + self._number[k, i])
            if key not in draws:
                draws[key] = len(draws)
                drawn.append(used[-1])
            draw.append(draws[key])
        found = Groups(np.array(used), np.array(draw), np.array(drawn))
        self._last = pairs, fold, found
        return found

    def _drawn(self, fold: int) -> list[_Entry]:
        """What the training windows of all pairs come from while a fold is left out."""
        return [(self._sources[i], self._tasks[k], self._allowed(k, i, fold)) for k, i in self._pairs]

    def _held_out(self, fold: int, validation: Sequence[Episodes]) -> list[_Entry]:
        """What the validation gradients of the K targets come from while a fold is left out."""
        if self._folds is not None:
            own = [(self._sources[of_target.source], of_target.members[fold]) for of_target in self._folds]
            return [(episodes, task, which) for (episodes, which), task in zip(own, self._tasks, strict=True)]
        config, sources = self._config, list(validation)
        if config.train.method == "vao" and config.weighting.gradient == "training":
            sources = [_own_source(task, self._sources) for task in self._tasks]
        return [(episodes, task, None) for episodes, task in zip(sources, self._tasks, strict=True)]

    def _allowed(self, target: int, source: int, fold: int) -> Int | None:
        """The only episodes of a pair to draw from while a fold is left out; None: all."""
        chosen = self._chosen.get((target, source))
        if source not in self._fold_of:
            return chosen
        others = self._fold_of[source].others[fold]
        if chosen is None:
            return others
        both = np.intersect1d(chosen, others)
        return both if len(both) else others

    def _visited(self, step: int) -> list[WindowTable]:
        """Tables of what policies visited before a step, one a round, with the combinations of all pairs by fold."""
        if self._visits is None:
            return []
        rounds = self._visits(step)
        for visited in rounds[len(self._rounds) :]:
            entries = [
                self._visited_entry(visited.get((k, i)), k, i, fold)
                for fold in range(self._n_folds)
                for k, i in self._pairs
            ]
            self._rounds.append(_table(entries, self._config))
        return self._rounds[: len(rounds)]

    def _visited_entry(self, visited: Visited | None, target: int, source: int, fold: int) -> _Entry:
        """What a pair visited, of the episodes that may be drawn; its log where it could not visit any of them."""
        allowed = self._allowed(target, source, fold)
        if visited is not None:
            is_allowed = np.ones(len(visited.origin), bool) if allowed is None else np.isin(visited.origin, allowed)
            if is_allowed.any():
                return visited.episodes, self._tasks[target], np.flatnonzero(is_allowed)
        return self._sources[source], self._tasks[target], allowed

    def _fold(self, step: int) -> int:
        """Number of the fold that is left out at a step: the next one with each refresh of the weights."""
        return step // self._config.weighting.refresh_every % self._n_folds


_Entry = tuple[Episodes, Task, Int | None]  # a combination of a table, and the only episodes of it to draw from


def _table(entries: Sequence[_Entry], config: Config) -> WindowTable:
    used = [(episodes, task) for episodes, task, _ in entries]
    chosen = {number: which for number, (*_, which) in enumerate(entries) if which is not None}
    return WindowTable(used, chosen, config.model.window)


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
