"""Batches of windows for pairs of target and source.

Sampling is counter-based: the windows of a step depend on (seed, stream, step, index) alone. A resumed run draws the
same ones, and there is no random state to save.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from auction_env.tasks import Task
from vamo.config import Config
from vamo.examples.batch import Batch, groups, joined, stack
from vamo.examples.episodes import Episodes
from vamo.examples.folds import Folds
from vamo.labels.kernels import Int

TRAIN, VALIDATION, EVALUATION, ALIGNMENT = range(4)  # streams of random numbers


class Visited(NamedTuple):
    """Episodes of a source as a policy would have lived through them (`vamo.examples.dagger`)."""

    episodes: Episodes
    origin: Int  # (E,) the source's episode behind each


Visits = Callable[[int], Mapping[tuple[int, int], Sequence[Visited]]]
"""A step to what has been visited by then, by (target, source) pair; one entry a round."""


class WindowSampler:
    """Batches for (target, source) pairs: windows of each source, relabelled for each target.

    Args:
        sources: Training episodes of the I sources.
        validation: Validation episodes of the K targets, of the targets' own task.
        pairs: All (target, source) index pairs that training batches are made of.
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
        self._sources, self._validation = sources, validation
        self._chosen = {} if chosen is None else chosen
        self._folds, self._visits = folds, visits
        self._fold_of = {} if folds is None else {fold.source: fold for fold in folds}
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
        return stack([self._windows_of(*self._validated(k, step), k, n, VALIDATION, step) for k in targets])

    groups = staticmethod(groups)

    def evaluation(self, target: int) -> Batch:
        """The fixed windows of a target's validation set behind its validation loss."""
        n = self._config.train.evaluation_windows
        return self._windows_of(self._validation[target], None, target, n, EVALUATION, 0)

    def _of_pairs(self, pairs: Sequence[tuple[int, int]], n: int, stream: int, step: int) -> Batch:
        drawn: dict[
            tuple[int, ...], tuple[Tensor, Tensor]
        ] = {}  # by number, source, occurrence of the pair, own choice
        times_seen: Counter[tuple[int, int]] = Counter()
        windows = []
        for k, i in pairs:
            key = (i, times_seen[k, i]) if (k, i) not in self._chosen else (i, times_seen[k, i], k)
            times_seen[k, i] += 1
            rounds = self._rounds(k, i, step)
            n_visited = n // (1 + len(rounds))  # of each round
            n_logged = n - n_visited * len(rounds)
            if (n_logged, *key) not in drawn:
                seeds = (self._config.train.seed, stream, step, *key)
                drawn[n_logged, *key] = self._sources[i].draw(n_logged, self._context, seeds, self._allowed(k, i, step))
            task = self._validation[k].task
            parts = [self._sources[i].windows(task, *drawn[n_logged, *key], self._context)]
            for number, (episodes, places) in enumerate(rounds, start=1):
                seeds = (self._config.train.seed, stream, step, i, times_seen[k, i], k, number)
                parts.append(
                    episodes.windows(task, *episodes.draw(n_visited, self._context, seeds, places), self._context)
                )
            windows.append(parts[0] if len(parts) == 1 else joined(parts))
        return stack(windows)

    def _rounds(self, target: int, source: int, step: int) -> list[tuple[Episodes, Int]]:
        """What policies visited in a pair, and the episodes of it that may be drawn at a step."""
        if self._visits is None:
            return []
        allowed = self._allowed(target, source, step)
        rounds = []
        for part in self._visits(step).get((target, source), ()):
            is_allowed = np.isin(part.origin, allowed) if allowed is not None else np.ones(len(part.origin), bool)
            if is_allowed.any():
                rounds.append((part.episodes, np.flatnonzero(is_allowed)))
        return rounds

    def _allowed(self, target: int, source: int, step: int) -> Int | None:
        """The only episodes of a pair to draw from at a step; None: all."""
        chosen = self._chosen.get((target, source))
        if source not in self._fold_of:
            return chosen
        others = self._fold_of[source].others[self._fold(step)]
        if chosen is None:
            return others
        both = np.intersect1d(chosen, others)
        return both if len(both) else others

    def _validated(self, target: int, step: int) -> tuple[Episodes, Int | None]:
        """The episodes behind a target's validation gradient, and which of them; None: all."""
        if self._folds is None:
            return self._held_out[target], None
        fold = self._folds[target]
        return self._sources[fold.source], fold.members[self._fold(step)]

    def _fold(self, step: int) -> int:
        """Number of the fold that validates at a step: the next one with each refresh of the weights."""
        return step // self._config.weighting.refresh_every % self._config.train.cross_fit

    def _windows_of(self, episodes: Episodes, chosen: Int | None, target: int, n: int, stream: int, step: int) -> Batch:
        drawn = episodes.draw(n, self._context, (self._config.train.seed, stream, step, target), chosen)
        return episodes.windows(self._validation[target].task, *drawn, self._context)


def _own_source(task: Task, sources: Sequence[Episodes]) -> Episodes:
    own = [episodes for episodes in sources if episodes.task == task]
    if not own:
        raise ValueError(
            f"`gradient` 'training' must find a source of every target's task, found none of {task.name!r}"
        )
    return own[0]
