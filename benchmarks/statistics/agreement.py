"""How well scores under one protocol tell scores under another: bias, and the order of the methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.statistics.bootstrap import Draws, Estimate, Resampled, resampled_mean
from benchmarks.statistics.pairing import Paired

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A protocol against the one that is taken for true, on the same advertisers of the same periods.

    Attributes:
        protocol, truth: Names of the tests.
        bias: By method, mean score under the protocol over that under the truth, minus 1.
        mean_bias: The same of the sums over all methods.
        rank_correlation: Spearman's, over the methods.
        ordered_alike: Share of the pairs of methods that both put in the same order; equal ones count half.
        first: The method that the protocol puts first.
        loss: What choosing the protocol's first costs: 1 minus its true score over the best method's.
    """

    protocol: str
    truth: str
    bias: dict[str, Estimate]
    mean_bias: Estimate
    rank_correlation: Estimate
    ordered_alike: Estimate
    first: str
    loss: Estimate


def agreement(paired: Paired, draws: Draws, protocol: str, truth: str) -> Agreement:
    """Compares two tests over all methods; intervals resample what `draws` does, alike for both tests.

    Resampled scores are noisier than the scores themselves, so that intervals of a correlation near 1 lie below it.

    Raises:
        ValueError: Fewer than two methods, or a method whose true score is not positive in every resample.
    """
    if len(paired.methods) < 2:
        raise ValueError(f"an order needs at least two methods, found {list(paired.methods)}")
    found = {
        test: [resampled_mean(paired, method, draws, test) for method in paired.methods] for test in (protocol, truth)
    }
    freedom = min(part.freedom for parts in found.values() for part in parts)
    value = {test: np.array([[part.value for part in parts]]) for test, parts in found.items()}  # (1, M)
    sample = {test: np.stack([part.sample for part in parts], axis=1) for test, parts in found.items()}  # (B, M)
    for method, column in zip(paired.methods, sample[truth].T, strict=True):
        if not (column > 0).all():
            rule = f"score of {method!r} in {truth!r} must be positive in every resample"
            raise ValueError(f"{rule}, found {column.min()}: too few episodes")
    n_episodes = len(paired.units[paired.task_indices(truth)[0]])

    def estimated(statistic: Callable[[Float, Float], Float], n_train_seeds: int = 0) -> Estimate:
        resampled = Resampled(
            float(statistic(value[protocol], value[truth])[0]), statistic(sample[protocol], sample[truth]), freedom
        )
        low, high = resampled.interval(draws.level)
        return Estimate(value=resampled.value, low=low, high=high, n_episodes=n_episodes, n_train_seeds=n_train_seeds)

    return Agreement(
        protocol=protocol,
        truth=truth,
        bias={
            method: estimated(lambda p, t, k=k: p[:, k] / t[:, k] - 1, paired.n_train_seeds(method))  # type: ignore[misc]
            for k, method in enumerate(paired.methods)
        },
        mean_bias=estimated(lambda p, t: p.sum(axis=1) / t.sum(axis=1) - 1),
        rank_correlation=_within(estimated(_spearman), -1.0),
        ordered_alike=_within(estimated(_ordered_alike), 0.0),
        first=paired.methods[int(value[protocol].argmax())],
        loss=_within(estimated(_loss), 0.0),
    )


def _within(found: Estimate, low: float) -> Estimate:
    """The interval cut to low..1, where the statistic lies."""
    return Estimate(
        value=found.value,
        low=max(found.low, low),
        high=min(found.high, 1.0),
        n_episodes=found.n_episodes,
        n_train_seeds=found.n_train_seeds,
    )


def _spearman(protocol: Float, truth: Float) -> Float:
    """Of each row of two (B, M), (B,); 0 where a row is constant."""
    x, y = (rankdata(part, axis=1) for part in (protocol, truth))
    x, y = (part - part.mean(axis=1, keepdims=True) for part in (x, y))
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    out: Float = np.divide((x * y).sum(axis=1), scale, out=np.zeros(len(x)), where=scale > 0)
    return out


def _ordered_alike(protocol: Float, truth: Float) -> Float:
    first, second = np.triu_indices(protocol.shape[1], 1)
    alike = np.sign(protocol[:, first] - protocol[:, second]) * np.sign(truth[:, first] - truth[:, second])
    out: Float = 0.5 + 0.5 * alike.mean(axis=1)
    return out


def _loss(protocol: Float, truth: Float) -> Float:
    chosen = np.take_along_axis(truth, protocol.argmax(axis=1)[:, None], axis=1)[:, 0]
    out: Float = 1 - chosen / truth.max(axis=1)
    return out
