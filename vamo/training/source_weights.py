"""The weights of the sources during a run: alignments are estimated in turns, and weights follow them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vamo.alignment.accumulation import make_accumulator
from vamo.alignment.episode_weights import EpisodesOfSources
from vamo.alignment.estimators import Alignment, BatchT, Estimator, Parameters
from vamo.alignment.pairs import AlignmentTable, Pairs, RefreshPlan, sample_pairs
from vamo.alignment.weighting import Evidence, Scaler, Weighting, make_weighting, shrunken
from vamo.config import Config
from vamo.training.batches import Batches

_PAIRS = 101  # stream of random numbers, apart from those of the batches


class DrawnPairs(NamedTuple):
    """The P pairs that a step trains."""

    pairs: Pairs
    targets: Tensor  # (P,) of the pairs, ascending
    weights: Tensor  # (P,) factors of their losses


class SourceWeights(Generic[BatchT]):
    """The weights w_ik of the sources of each target, and the alignments that they are made from.

    Args:
        estimator: Estimates alignments.
        batches: Supplies what they are estimated from.
        preconditioner: That of the optimiser at present; called where `weighting.precondition` is set.
        pairs: The (target, source) pairs that can be trained, sorted.
        sizes: Trajectories of each of the I sources.
        n_targets: K.
        config: `train` and `weighting` are used.
        given: (K, I) weights of the methods that fix them before training.
        own: A user's weighting, in place of the one that `config.weighting.kind` names.
        candidates: (K, I) bool: the sources that the weights choose among; None for all.
        device: Where the weights live.

    Raises:
        ValueError: More pairs than a step holds, with a weight for every sample; `given` for the wrong method.
    """

    def __init__(
        self,
        estimator: Estimator[BatchT],
        batches: Batches[BatchT],
        preconditioner: Callable[[], Parameters | None],
        *,
        pairs: Pairs,
        sizes: Sequence[int],
        n_targets: int,
        config: Config,
        given: Tensor | None,
        own: Weighting | None = None,
        candidates: Tensor | None = None,
        device: torch.device,
    ) -> None:
        self._estimator, self._batches, self._preconditioner = estimator, batches, preconditioner
        self._pairs, self._n_targets, self._seed = pairs, n_targets, config.train.seed
        self._config = config.weighting
        self._index = torch.tensor(pairs, device=device).T.contiguous()  # (2, P) targets and sources
        self._sizes = torch.tensor(sizes, dtype=torch.float32, device=device)
        self._candidates = None if candidates is None else candidates.to(device)
        self._weighting = make_weighting(config.train, config.weighting, given, own, self._candidates)
        self.plan = RefreshPlan.of(n_targets, len(sizes), config.weighting)
        self.table = AlignmentTable(n_targets, len(sizes), config.weighting.ema_decay, device)
        self.scaler = Scaler(config.weighting.scaling, config.weighting.rms_decay, n_targets, device)
        self._accumulator = None
        if self._weighting.needs_alignments:
            self._accumulator = make_accumulator(n_targets, len(sizes), config.weighting, device)
        self._episodes = None
        if config.weighting.per_episode and self._weighting.needs_alignments:
            self._episodes = EpisodesOfSources(batches.episode_counts, n_targets, config.weighting, device)
        self.weights = self._weighting(self._evidence())  # (K, I)
        if self.is_per_sample and config.weighting.pairs_per_step < len(pairs):
            raise ValueError(
                f"`pairs_per_step` must be at least the number of pairs, {len(pairs)}, for `per_sample` "
                f"weights, found {config.weighting.pairs_per_step}"
            )

    @property
    def needs_alignments(self) -> bool:
        """Whether the weights follow alignments."""
        return self._weighting.needs_alignments

    @property
    def is_per_sample(self) -> bool:
        """Whether every sample has a weight of its own."""
        return self._config.per_sample and self.needs_alignments

    @property
    def n_step_pairs(self) -> int:
        """Pairs in a step, P: all, or as many as the sample takes, the same number for each of its targets."""
        n = self._config.pairs_per_step
        n_targets = min(self._n_targets, n)
        return len(self._pairs) if len(self._pairs) <= n else n // n_targets * n_targets

    def refresh(self, step: int) -> None:
        """Every `refresh_every` steps: new weights from the alignments of the pairs whose turn it is.

        Raises:
            FloatingPointError: An alignment that is not finite.
        """
        every, plan = self._config.refresh_every, self.plan
        if not self.needs_alignments or self.is_per_sample or step % every:
            return
        pairs = plan.pairs(step // every)
        training = self._batches.alignment(step, pairs, plan.n_samples)
        targets = [k for k, _ in pairs[:: plan.n_aligned]]
        new = self._estimate(step, training, self._batches.validation(step, targets, plan.n_validation))
        index = torch.tensor(targets, device=self.weights.device)
        self.table.update(pairs, new)
        mean, error = self._among_candidates(pairs, new)
        self.scaler.update(mean, index)
        if self._accumulator is not None:
            mean = shrunken(mean, error) if self._config.shrinkage else mean
            self._accumulator.update(pairs, mean / self.scaler.scale()[index, None])
        if self._episodes is not None:
            self._episodes.update(pairs, self._batches.episodes(training), new.per_sample)
        self.weights = self._weighting(self._evidence())

    def draw(self, step: int) -> DrawnPairs:
        """The step's pairs: all of them, or a sample that leaves the gradient of the weighted loss unbiased."""
        n = self._config.pairs_per_step
        if len(self._pairs) <= n:
            return DrawnPairs(self._pairs, self._index[0], self.weights[self._index[0], self._index[1]])
        rng = np.random.default_rng([self._seed, _PAIRS, step])
        pairs, factor = sample_pairs(self.weights.double().cpu().numpy(), n, rng)
        device = self.weights.device
        targets = torch.tensor([k for k, _ in pairs], device=device)
        return DrawnPairs(pairs, targets, torch.full((len(pairs),), factor, device=device))

    def weigh(self, batch: BatchT, drawn: DrawnPairs, step: int) -> Tensor:
        """Factors of the losses of the batch of drawn pairs: (P,), or (P, b) where each sample has its own.

        A target's weights of samples sum to 1. The table and `weights` follow: a source's weight is the sum of its
        samples' weights.
        """
        if self._episodes is not None:
            factors = self._episodes.factors(drawn.pairs, self._batches.episodes(batch))
            return drawn.weights[:, None] * factors / factors.shape[1]
        if not self.is_per_sample:
            return drawn.weights
        every = range(self._n_targets)
        n = max(self.plan.n_validation * self.plan.n_refreshed // self._n_targets, 1)
        new = self._estimate(step, batch, self._batches.validation(step, every, n))  # (K, I, b)
        self.table.update(drawn.pairs, new)
        self.scaler.update(new.per_sample.flatten(1), torch.arange(self._n_targets, device=self.weights.device))
        alignment = new.per_sample.flatten(1) / self.scaler.scale()[:, None]  # (K, I * b)
        sizes = self._sizes.repeat_interleave(new.per_sample.shape[2])
        weights = self._weighting(Evidence(alignment, torch.full_like(alignment, torch.nan), sizes))
        self.weights = weights.view_as(new.per_sample).sum(dim=2)
        return weights.view(len(drawn.pairs), -1)

    def state(self) -> dict[str, Tensor]:
        """The weights, and the tensors of alignments and their scale, by name."""
        episodes = {} if self._episodes is None else self._episodes.state()
        return {"weights": self.weights} | self._running() | episodes

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Continues from the `state` of another one with equal arguments."""
        self.weights = tensors["weights"].to(self.weights.device)
        for name, tensor in self._running().items():
            tensor.copy_(tensors[name])
        if self._episodes is not None:
            self._episodes.load_state(tensors)

    def _running(self) -> dict[str, Tensor]:
        """What is updated in place."""
        accumulated = {} if self._accumulator is None else {"accumulated": self._accumulator.logits}
        return accumulated | {
            "alignment/sum": self.table.sum,
            "alignment/square_error": self.table.square_error,
            "alignment/n_updates": self.table.n_updates,
            "scale/mean_square": self.scaler.mean_square,
            "scale/n_updates": self.scaler.n_updates,
        }

    def _estimate(self, step: int, training: BatchT, validation: BatchT) -> Alignment:
        new = self._estimator(
            training,
            validation,
            preconditioner=self._preconditioner() if self._config.precondition else None,
            norms=self._config.scaling == "cosine",
        ).normalised()
        if not new.per_sample.isfinite().all():
            raise FloatingPointError(f"`alignment` must be finite, found {new.mean.tolist()} at step {step}")
        return new

    def _among_candidates(self, pairs: Pairs, new: Alignment) -> tuple[Tensor, Tensor]:
        """Alignments and their errors, (R, S) each, with those of other sources at the mean of the target's candidates.

        Their size, which can be many times that of the candidates, then neither sets the scale nor moves the mean.
        """
        if self._candidates is None:
            return new.mean, new.standard_error
        k, i = torch.tensor(pairs, device=self.weights.device).T
        mask = self._candidates[k, i].view_as(new.mean)
        mean = (new.mean * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp_min(1)
        return torch.where(mask, new.mean, mean), torch.where(mask, new.standard_error, torch.nan)

    def _evidence(self) -> Evidence:
        scale = self.scaler.scale()[:, None]
        return Evidence(
            self.table.mean() / scale,
            self.table.standard_error() / scale,
            self._sizes,
            None if self._accumulator is None else self._accumulator.logits,
        )
