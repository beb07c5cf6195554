"""Batches of windows for pairs of target and source.

Sampling is counter-based: the windows of a step depend on (seed, stream, step, index) alone. A resumed run draws the
same ones, and there is no random state to save.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from torch import Tensor

from agents.labels.kernels import Int
from auction_env.tasks import Task
from vamo.config import Config
from vamo.examples.batch import Batch, groups, stack
from vamo.examples.episodes import Episodes

TRAIN, VALIDATION, EVALUATION, ALIGNMENT = range(4)  # streams of random numbers


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

    groups = staticmethod(groups)

    def evaluation(self, target: int) -> Batch:
        """The fixed windows of a target's validation set behind its validation loss."""
        n = self._config.train.evaluation_windows
        return self._windows_of(self._validation[target], target, n, EVALUATION, 0)

    def _of_pairs(self, pairs: Sequence[tuple[int, int]], n: int, stream: int, step: int) -> Batch:
        drawn: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}  # by source, occurrence of the pair, own choice
        times_seen: Counter[tuple[int, int]] = Counter()
        windows = []
        for k, i in pairs:
            chosen = self._chosen.get((k, i))
            key = (i, times_seen[k, i]) if chosen is None else (i, times_seen[k, i], k)
            times_seen[k, i] += 1
            if key not in drawn:
                seeds = (self._config.train.seed, stream, step, *key)
                drawn[key] = self._sources[i].draw(n, self._context, seeds, chosen)
            windows.append(self._sources[i].windows(self._validation[k].task, *drawn[key], self._context))
        return stack(windows)

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
