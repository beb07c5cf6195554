"""Weights of the episodes within each source: a source of which a part is bad loses that part, not all.

A source's weight says how much a target learns from it; the factors here say from which of its episodes. They follow
the same multiplicative rule as integral weights (`vamo.alignment.accumulation`), one level below: alignments of single
samples, each against the mean of its pair's in the same refresh, summed by the episode that the sample is from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vamo.alignment.pairs import Pairs
from vamo.alignment.weighting import Scaler
from vamo.config import WeightingConfig


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


class EpisodesOfSources:
    """The factors of the episodes of each source, by their number within it.

    Args:
        counts: Episodes of each source.
        n_targets: K.
        config: `eta`, `decay` and `rms_decay` are used.
        device: Where they live.
    """

    def __init__(self, counts: Sequence[int], n_targets: int, config: WeightingConfig, device: torch.device) -> None:
        sizes = torch.tensor(counts, device=device)
        source = torch.arange(len(counts), device=device).repeat_interleave(sizes)
        self._first = sizes.cumsum(0) - sizes  # (I,) place of each source's first episode among all
        self._weights = EpisodeWeights(source, n_targets, config.eta, config.decay)
        self._scaler = Scaler("rms", config.rms_decay, n_targets, device)
        self._factors: Tensor | None = None  # (K, E) of the present weights, once somebody wants them

    def update(self, pairs: Pairs, episodes: Tensor, alignments: Tensor) -> None:
        """Takes in alignments (R, S, b) of R x S pairs, of samples of the given episodes (R * S, b), -1 for none."""
        target, source = torch.tensor(pairs, device=self._first.device).T
        centred = alignments - alignments.mean(dim=2, keepdim=True)
        self._scaler.update(centred.flatten(1), target[:: alignments.shape[1]])
        scaled = alignments.flatten(0, 1) / self._scaler.scale()[target, None]
        places = torch.where(episodes >= 0, self._first[source, None] + episodes, -1)
        self._weights.update(target, places, scaled)
        self._factors = None

    def factors(self, pairs: Pairs, episodes: Tensor) -> Tensor:
        """(P, b) of the samples of P pairs; 1 for a sample of no logged episode (number -1)."""
        target, source = torch.tensor(pairs, device=self._first.device).T
        if self._factors is None:
            self._factors = self._weights.factors()
        found = self._factors[target[:, None], self._first[source, None] + episodes.clamp_min(0)]
        return torch.where(episodes >= 0, found, 1.0)

    def state(self) -> dict[str, Tensor]:
        """What is updated in place, by name."""
        return {
            "episodes/logits": self._weights.logits,
            "episodes/mean_square": self._scaler.mean_square,
            "episodes/n_updates": self._scaler.n_updates,
        }

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Continues from the `state` of another one with equal arguments."""
        for name, tensor in self.state().items():
            tensor.copy_(tensors[name])
        self._factors = None
