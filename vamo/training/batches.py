"""What supplies the batches of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from vamo.alignment.estimators import BatchT
from vamo.alignment.pairs import Pairs


class Batches(Protocol[BatchT]):
    """Supplies batches; equal arguments give equal batches, which is what makes a run resumable."""

    def train(self, step: int, pairs: Pairs) -> BatchT:
        """One group a (target, source) pair, in the order of `pairs`; a pair may be named several times."""
        ...

    def alignment(self, step: int, pairs: Pairs, n: int) -> BatchT:
        """One group of n training samples a pair, from which its alignment is estimated."""
        ...

    def validation(self, step: int, targets: Sequence[int], n: int) -> BatchT:
        """One group of n samples a target, behind its validation gradient."""
        ...

    def groups(self, batch: BatchT, start: int, stop: int) -> BatchT:
        """The groups of a batch from `start` to before `stop`."""
        ...

    @property
    def episode_counts(self) -> Sequence[int]:
        """Episodes of each source; asked for where episodes have weights."""
        ...

    def episodes(self, batch: BatchT) -> Tensor:
        """(G, b) number of each sample's episode within its source; -1 where it has none. As `episode_counts`."""
        ...

    def evaluation(self, target: int) -> BatchT:
        """The fixed group behind a target's validation loss."""
        ...
