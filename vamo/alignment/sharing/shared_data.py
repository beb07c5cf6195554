"""What a rule lets the targets learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class Sharing(NamedTuple):
    """What the targets learn from."""

    weights: Tensor  # (K, I), rows of sum 1; pairs of weight 0 are not trained
    chosen: dict[tuple[int, int], Int]  # of some pairs the only episodes to draw from

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(target, source) pairs with a positive weight, sorted."""
        return [(int(k), int(i)) for k, i in self.weights.nonzero()]

    @classmethod
    def pooled(cls, picked: Mapping[tuple[int, int], Int], n_episodes: Sequence[int], n_targets: int) -> Sharing:
        """All picked episodes in one pool: a source's weight is its number of picked episodes.

        Args:
            picked: (target, source) to the picked episodes, ascending; pairs may be left out.
            n_episodes: Of each of the I sources.
            n_targets: K.
        """
        counts = torch.zeros(n_targets, len(n_episodes))
        for (k, i), episodes in picked.items():
            counts[k, i] = len(episodes)
        chosen = {(k, i): picks for (k, i), picks in picked.items() if 0 < len(picks) < n_episodes[i]}
        return cls(counts / counts.sum(dim=1, keepdim=True), chosen)
