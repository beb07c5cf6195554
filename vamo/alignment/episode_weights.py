"""Weights of the episodes within each source: a source of which a part is bad loses that part, not all.

A source's weight says how much a target learns from it; the factors here say from which of its episodes. They follow
the same multiplicative rule as integral weights (`vamo.alignment.accumulation`), one level below: alignments of single
samples, each against the mean of its pair's in the same refresh, summed by the episode that the sample is from.
"""

from __future__ import annotations

import torch
from torch import Tensor


class EpisodeWeights:
    """Factors of the episodes of every source for every target; the mean over a source's episodes is 1.

    Args:
        source: (E,) the source of each episode, ascending.
        n_targets: K.
        eta: Step of an episode's logit, for alignments of root mean square 1.
        decay: What is kept of an episode's logit when it is updated, in [0, 1].
    """

    def __init__(self, source: Tensor, n_targets: int, eta: float, decay: float) -> None:
        self.logits = torch.zeros(n_targets, len(source), device=source.device)  # (K, E)
        self._source, self._eta, self._decay = source, eta, decay
        self._n_sources = int(source.max()) + 1
        self._size = torch.bincount(source, minlength=self._n_sources).to(self.logits)

    def update(self, targets: Tensor, episodes: Tensor, alignments: Tensor) -> None:
        """Takes in the alignments of a refresh.

        Args:
            targets: (P,) target of each pair.
            episodes: (P, b) episode of each sample of the pair's source; -1 for a sample of none.
            alignments: (P, b) theirs, scaled. An episode with several samples moves by their mean.
        """
        gain = alignments - alignments.mean(dim=1, keepdim=True)
        known = (episodes >= 0).flatten()
        where = (targets[:, None].expand_as(episodes).flatten()[known], episodes.flatten()[known])
        total, count = torch.zeros_like(self.logits), torch.zeros_like(self.logits)
        total.index_put_(where, gain.flatten()[known], accumulate=True)
        count.index_put_(where, torch.ones_like(where[1], dtype=count.dtype), accumulate=True)
        moved = self._decay * self.logits + self._eta * total / count.clamp_min(1.0)
        torch.where(count > 0, moved, self.logits, out=self.logits)

    def factors(self) -> Tensor:
        """(K, E): the number of the source's episodes times the softmax over them."""
        index = self._source.expand_as(self.logits)
        high = torch.full((len(self.logits), self._n_sources), -torch.inf, device=self.logits.device)
        high = high.scatter_reduce(1, index, self.logits, "amax")
        relative = (self.logits - high.gather(1, index)).exp()
        total = torch.zeros_like(high).scatter_add(1, index, relative)
        return self._size[self._source] * relative / total.gather(1, index)
