"""Weightings: what is known of K targets and I sources to weights of shape (K, I).

The weights of a target sum to 1. A weighting knows nothing else: no model, no data, no step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, get_args

import torch
from torch import Tensor

from vamo import extensions
from vamo.config import Method, Scaling, SharingMethod, TrainConfig, WeightingConfig, WeightingKind


class Evidence(NamedTuple):
    """What weights are made from."""

    alignment: Tensor  # (K, I) m_ik, in whatever scale
    standard_error: Tensor  # (K, I) of the alignments, in their scale; inf or nan where unknown
    size: Tensor  # (I,) trajectories of the sources
    accumulated: Tensor | None = None  # (K, I) logits of `vamo.alignment.accumulation`, where the kind has them


class Weighting(Protocol):
    """Maps evidence to weights."""

    needs_alignments: bool  # False: the alignments given are ignored and may be anything of shape (K, I)

    def __call__(self, evidence: Evidence) -> Tensor:
        """Weights (K, I), not negative, each target's with sum 1."""
        ...


NEGLIGIBLE = 1e-12
"""Softmax weights below it are 0: in float32 they move no sum, but their gradients may be denormal numbers, with which
a processor computes many times more slowly (a step of the paper's setting took twice its time)."""


def _softmax(x: Tensor) -> Tensor:
    weights = torch.softmax(x, dim=1)
    return torch.where(weights < NEGLIGIBLE, 0.0, weights)


class Softmax:
    """w_ik = exp(m_ik / lambda) / sum_j exp(m_jk / lambda): the maximum of <w_k, m_k> + lambda H(w_k).

    lambda -> 0 picks the best aligned source, lambda -> infinity is `Uniform` (arXiv 2510.07760).
    """

    needs_alignments = True

    def __init__(self, temperature: float) -> None:
        if not temperature > 0:
            raise ValueError(f"`temperature` must be positive, found {temperature}")
        self.temperature = temperature

    def __call__(self, evidence: Evidence) -> Tensor:
        return _softmax(evidence.alignment / self.temperature)


class TargetEntropy:
    """The softmax whose lambda gives every target's weights the same entropy: an adaptive lambda.

    Depends on neither unit nor zero of the alignments. Where several sources share the largest alignment
    the entropy cannot fall below the logarithm of their number, and they share the weight.

    Args:
        share: The entropy wanted, as a share of the uniform weights' log I.
    """

    needs_alignments = True

    _STEPS = 60  # halvings of the logarithmic bracket
    _BRACKET = (math.log(1e-4), math.log(1e7))  # of 1 / lambda, for alignments of range 1

    def __init__(self, share: float) -> None:
        if not 0 < share < 1:
            raise ValueError(f"`share` must be in (0, 1), found {share}")
        self.share = share

    def __call__(self, evidence: Evidence) -> Tensor:
        low, high = evidence.alignment.aminmax(dim=1, keepdim=True)
        gap = (evidence.alignment - high) / (high - low).clamp_min(torch.finfo(high.dtype).tiny)  # in [-1, 0]
        wanted = self.share * math.log(gap.shape[1])
        below, above = (torch.full_like(low, bound) for bound in self._BRACKET)  # of log(1 / lambda), (K, 1)
        for _ in range(self._STEPS):  # the entropy falls as 1 / lambda grows
            middle = (below + above) / 2
            is_high = entropy(torch.softmax(gap * middle.exp(), dim=1))[:, None] > wanted
            below, above = torch.where(is_high, middle, below), torch.where(is_high, above, middle)
        return _softmax(gap * above.exp())


class Accumulated:
    """The softmax of accumulated alignments, mixed with uniform weights: (1 - floor) softmax(C_k) + floor / I.

    Args:
        floor: In [0, 1). A source without weight is not trained and yet still aligned; the floor keeps every source in
            the batches.
    """

    needs_alignments = True

    def __init__(self, floor: float) -> None:
        if not 0 <= floor < 1:
            raise ValueError(f"`floor` must be in [0, 1), found {floor}")
        self.floor = floor

    def __call__(self, evidence: Evidence) -> Tensor:
        if evidence.accumulated is None:
            raise ValueError("`accumulated` must be given for weights of accumulated alignments, found none")
        return (1 - self.floor) * _softmax(evidence.accumulated) + self.floor / evidence.accumulated.shape[1]


class Top1:
    """All weight on the best aligned source, the first of equals."""

    needs_alignments = True

    def __call__(self, evidence: Evidence) -> Tensor:
        best = evidence.alignment.argmax(dim=1, keepdim=True)
        return torch.zeros_like(evidence.alignment).scatter_(1, best, 1.0)


class Shrunken:
    """Another weighting on alignments shrunk toward their target's mean by their standard errors.

    Empirical Bayes: alignments scatter around the target's mean with variance tau^2, estimated as their
    variance less the mean squared error and at least 0, and each keeps tau^2 / (tau^2 + error^2) of its
    distance. Noise alone gives equal alignments, hence uniform weights under any weighting that depends on
    differences; an unknown error (inf, nan) keeps nothing.
    """

    needs_alignments = True

    def __init__(self, weighting: Weighting) -> None:
        self.weighting = weighting

    def __call__(self, evidence: Evidence) -> Tensor:
        return self.weighting(evidence._replace(alignment=shrunken(evidence.alignment, evidence.standard_error)))


def shrunken(alignment: Tensor, standard_error: Tensor) -> Tensor:
    """Alignments (K, I) shrunk toward their target's mean, see `Shrunken`; the errors have their shape and scale."""
    noise = standard_error.square().nan_to_num(nan=torch.inf, posinf=torch.inf)  # (K, I)
    known = noise.isfinite()
    n = known.sum(dim=1, keepdim=True).clamp_min(1)
    mean = (alignment * known).sum(dim=1, keepdim=True) / n
    distance = torch.where(known, alignment - mean, 0.0)
    variance = distance.square().sum(dim=1, keepdim=True) / (n - 1).clamp_min(1)
    signal = (variance - torch.where(known, noise, 0.0).sum(dim=1, keepdim=True) / n).clamp_min(0.0)
    kept = signal / (signal + noise).clamp_min(torch.finfo(noise.dtype).tiny)
    return mean + kept * distance


class Uniform:
    """Naive sharing with equal weight per source."""

    needs_alignments = False

    def __call__(self, evidence: Evidence) -> Tensor:
        return torch.full_like(evidence.alignment, 1 / evidence.alignment.shape[1])


class Proportional:
    """Naive sharing in proportion to the sources' sizes: pooling their data."""

    needs_alignments = False

    def __call__(self, evidence: Evidence) -> Tensor:
        share = evidence.size / evidence.size.sum()
        return share.to(evidence.alignment.dtype).expand_as(evidence.alignment)


class Identity:
    """No sharing: target k learns from source k alone; needs as many sources as targets, in their order."""

    needs_alignments = False

    def __call__(self, evidence: Evidence) -> Tensor:
        n_targets, n_sources = evidence.alignment.shape
        if n_targets != n_sources:
            raise ValueError(f"`Identity` must get one source per target, found {n_sources} for {n_targets}")
        return torch.eye(n_targets, dtype=evidence.alignment.dtype, device=evidence.alignment.device)


class Given:
    """Weights that a rule fixed before training (`vamo.alignment.sharing`).

    Args:
        weights: (K, I), not negative, rows of sum 1.
    """

    needs_alignments = False

    def __init__(self, weights: Tensor) -> None:
        if not ((weights >= 0).all() and torch.allclose(weights.sum(dim=1), torch.ones(len(weights)), atol=1e-5)):
            raise ValueError(f"`weights` must not be negative, with rows of sum 1, found {weights.tolist()}")
        self._weights = weights

    def __call__(self, evidence: Evidence) -> Tensor:
        if self._weights.shape != evidence.alignment.shape:
            raise ValueError(
                f"`weights` must have shape {tuple(evidence.alignment.shape)}, found {tuple(self._weights.shape)}"
            )
        return self._weights.to(evidence.alignment)


class Among:
    """Another weighting among some sources of each target: the others have no weight.

    Args:
        weighting: The weighting.
        candidates: (K, I) bool, at least one a target.
    """

    def __init__(self, weighting: Weighting, candidates: Tensor) -> None:
        if not candidates.any(dim=1).all():
            raise ValueError(f"`candidates` must hold a source of every target, found {candidates.sum(dim=1).tolist()}")
        self.needs_alignments = weighting.needs_alignments
        self._weighting, self._candidates = weighting, candidates

    def __call__(self, evidence: Evidence) -> Tensor:
        weights = self._weighting(evidence)
        mask = self._candidates.to(weights)
        masked = weights * mask
        left = masked.sum(dim=1, keepdim=True)
        among = torch.where(left > 0, masked / left, mask / mask.sum(dim=1, keepdim=True))
        # where all are candidates, the bits are those of the weighting alone
        return torch.where(self._candidates.all(dim=1, keepdim=True), weights, among)


class Checked:
    """A weighting of a user's own, whose weights are checked at every refresh.

    Args:
        weighting: The weighting; it must be a function of the evidence alone, so that a run can be resumed.
        name: In errors.

    Raises:
        ValueError: It is no weighting; later: weights of another shape, negative, not finite, or of another sum.
    """

    def __init__(self, weighting: Weighting, name: str) -> None:
        needs = getattr(weighting, "needs_alignments", None)
        if not (callable(weighting) and isinstance(needs, bool)):
            raise ValueError(
                f"weighting {name!r} must be callable, with `needs_alignments` True or False, found {weighting!r}"
            )
        self.needs_alignments = needs
        self._weighting, self._name = weighting, name

    def __call__(self, evidence: Evidence) -> Tensor:
        weights, shape = self._weighting(evidence), evidence.alignment.shape
        if not isinstance(weights, Tensor) or weights.shape != shape:
            found = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
            raise ValueError(f"weighting {self._name!r} must return a tensor of shape {tuple(shape)}, found {found}")
        weights = weights.detach().to(evidence.alignment)
        sums = weights.sum(dim=1)
        if not ((weights >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)):
            raise ValueError(
                f"weighting {self._name!r} must return weights >= 0, each target's of sum 1, found {weights.tolist()}"
            )
        return weights


def named_weighting(weighting: WeightingConfig) -> Checked:
    """The weighting of a user's own that `weighting.kind` names, made with `weighting.options`.

    Raises:
        ValueError: No such name, options that it does not take, or no weighting.
    """
    make = extensions.find(
        weighting.kind, extensions.WEIGHTINGS, setting="weighting.kind", built_in=get_args(WeightingKind)
    )
    return Checked(extensions.call(make, weighting.kind, weighting.options), weighting.kind)


def make_weighting(
    train: TrainConfig,
    weighting: WeightingConfig,
    given: Tensor | None = None,
    own: Weighting | None = None,
    candidates: Tensor | None = None,
) -> Weighting:
    """The weighting of the sources behind a training method.

    The methods that weight targets (`vamo.training.backward`, `vamo.training.backward`) share uniformly over
    sources.

    Args:
        train, weighting: Settings.
        given: (K, I) weights of the methods that fix them before training, and of no others.
        own: A user's weighting, in place of the one that `weighting.kind` names; for method `vao`.
        candidates: (K, I) bool: what method `vao` chooses among; None for all.

    Raises:
        ValueError: A rule without weights, or weights for another method; no weighting of that name.
    """
    if (train.method in get_args(SharingMethod)) != (given is not None):
        found = "none" if given is None else "some"
        raise ValueError(
            f"weights must be given for the methods {get_args(SharingMethod)} and no others, found {found} for "
            f"{train.method!r}"
        )
    if given is not None:
        return Given(given)
    if train.method == "vao":
        kinds: dict[str, Callable[[], Weighting]] = {
            "softmax": lambda: Softmax(weighting.temperature),
            "entropy": lambda: TargetEntropy(weighting.target_entropy),
            "top1": Top1,
            "integral": lambda: Accumulated(weighting.floor),
            "dga": lambda: Accumulated(weighting.floor),
        }
        inner: Weighting
        if own is not None:
            inner = Checked(own, weighting.kind)
        else:
            inner = kinds[weighting.kind]() if weighting.kind in kinds else named_weighting(weighting)
        # accumulated alignments are shrunk before they are summed (`vamo.training.source_weights`)
        is_shrunken = weighting.shrinkage and not weighting.is_accumulated
        inner = Shrunken(inner) if is_shrunken else inner
        return inner if candidates is None else Among(inner, candidates)
    simple: dict[Method, type[Proportional] | type[Identity]] = {"single": Identity, "pooled": Proportional}
    return simple.get(train.method, Uniform)()


class Scaler:
    """Scales alignments before the weighting; the running state is one number per target.

    Args:
        scaling: `rms` divides the alignments of a target by the root of their mean square over sources,
            averaged over refreshes with a bias-corrected decay. The others leave them as they are: `none`
            are raw inner products (the paper's), `cosine` were divided by the norms when estimated.
        decay: Of that average, per refresh of the target; 1 is the plain mean over all refreshes so far.
        n_targets: K.
    """

    def __init__(self, scaling: Scaling, decay: float, n_targets: int, device: torch.device | str = "cpu") -> None:
        self.scaling: Scaling = scaling
        self.decay = decay
        self.mean_square = torch.zeros(n_targets, device=device)  # (K,) not yet corrected for its start at 0
        self.n_updates = torch.zeros(n_targets, device=device)  # (K,) refreshes

    def update(self, alignments: Tensor, targets: Tensor) -> None:
        """Takes in new alignments (R, S) of some targets (R,)."""
        now = alignments.square().mean(dim=1)
        added = 1.0 if self.decay == 1 else 1 - self.decay
        self.mean_square[targets] = self.decay * self.mean_square[targets] + added * now
        self.n_updates[targets] += 1

    def scale(self) -> Tensor:
        """What alignments are divided by, (K,); 1 for targets without an update."""
        if self.scaling != "rms":
            return torch.ones_like(self.mean_square)
        total = self.n_updates if self.decay == 1 else (1 - self.decay**self.n_updates)
        root = (self.mean_square / total).sqrt().clamp_min(torch.finfo(self.mean_square.dtype).tiny)
        return torch.where(self.n_updates > 0, root, 1.0)


def entropy(weights: Tensor) -> Tensor:
    """Entropy of each target's weights in nats, (K,): 0 for one source, log I for uniform."""
    terms: Tensor = torch.special.entr(weights)
    return terms.sum(dim=1)
