"""Estimates and their intervals from paired scores.

Intervals come from a stratified bootstrap (Agarwal et al. 2021, arXiv 2108.13264): the tasks count equally, and
what is drawn with replacement are market seeds, the same draw for every method, so that what the methods share
cancels in their differences. The episodes of one market seed, of whatever task and advertiser, meet the same
traffic: they are one cluster, drawn together or not at all. Tasks that were drawn apart would count their common
noise as independent, and intervals of averages over tasks would be too short. Where a method has several training
seeds they are drawn as well, crossed with the markets (the pigeonhole bootstrap, Owen 2007, arXiv 0712.1111: on the
wide side where the noise of single episodes dominates). They are few, so n - 1 of n are drawn and reweighted,
which keeps the variance of the mean unbiased (Rao and Wu 1988), and the ends of the interval, percentiles of the
resamples, move away from the estimate as Student's t does from the normal (Hesterberg 2015, arXiv 1411.5279), with
Satterthwaite's degrees of freedom: without that, intervals from three training seeds cover far too little.
With one training seed an interval says nothing about training.

Where a market seed has the episodes of several advertisers, as a logged period has, episodes are alike by both: the
period and the advertiser. Both are drawn, crossed, each as the training seeds are. A task that has one seed only is
resampled over its advertisers, and its interval says nothing about other periods.

A resample is a set of weights, so that every statistic here is a weighted one, for all B resamples at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from benchmarks.statistics.pairing import Paired

Float = NDArray[np.float64]

CHUNK_SIZE = 1 << 20  # weights held at a time by the interquartile mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number, its interval and what it rests on.

    Attributes:
        value: The statistic of the rows as they are.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n_episodes: Paired episodes, summed over the tasks.
        n_train_seeds: Training runs of the method, each evaluated on all of the episodes; 0 if untrained.
    """

    value: float
    low: float
    high: float
    n_episodes: int
    n_train_seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """How intervals are computed.

    Attributes:
        n_resamples: Number of resamples.
        seed: Seed of the resampling; the same rows and seed give the same numbers, whatever the rows' order.
        level: Coverage of the intervals.
    """

    n_resamples: int = 2000
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.n_resamples < 100:
            raise ValueError(f"`n_resamples` must be at least 100, found {self.n_resamples}")
        if self.seed < 0:
            raise ValueError(f"`seed` must not be negative, found {self.seed}")
        if not 0 < self.level < 1:
            raise ValueError(f"`level` must lie between 0 and 1, found {self.level}")


class Stratum(NamedTuple):
    """Market seeds that the same tasks have, among which is drawn."""

    tasks: tuple[int, ...]  # indices
    n_seeds: int


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Weights of B resamples, shared by every statistic so that what is paired stays paired.

    Attributes:
        units: Per task (B, n) float64: those of the episodes' market seeds.
        train: Per set of training seeds (B, R) float64: methods with equal sets share the draw.
        strata: What the market seeds are drawn within; one where all tasks have the same seeds.
        level: Coverage of the intervals.
    """

    units: tuple[Float, ...]
    train: dict[tuple[int, ...], Float]
    strata: tuple[Stratum, ...]
    level: float

    def of_training(self, paired: Paired, method: str) -> Float:
        """Weights of the method's training seeds, (B, R)."""
        return self.train[tuple(paired.train_seeds[method].tolist())]


def draw(paired: Paired, bootstrap: Bootstrap | None = None) -> Draws:
    """Weights of the resamples; raises ValueError where there is only one market seed to draw from."""
    bootstrap = Bootstrap() if bootstrap is None else bootstrap
    is_crossed = any(len(np.unique(episodes[:, 0])) < len(episodes) for episodes in paired.units)
    units, strata = (_draw_crossed if is_crossed else _draw_seeds)(paired, bootstrap)
    train = {}
    for train_seeds in paired.train_seeds.values():
        key, n = tuple(train_seeds.tolist()), len(train_seeds)
        rng = np.random.default_rng([bootstrap.seed, 1, *(seed % 2**32 for seed in key)])
        train[key] = _draw_few(rng, n, bootstrap.n_resamples)
    return Draws(units=units, train=train, strata=strata, level=bootstrap.level)


def _draw_few(rng: np.random.Generator, n: int, n_resamples: int) -> Float:
    """Weights of n - 1 of n, which keep the variance of a mean unbiased, (B, n); 1 where n is 1."""
    if n == 1:
        return np.ones((n_resamples, 1))
    counts = rng.multinomial(n - 1, np.full(n, 1 / n), size=n_resamples).astype(np.float64)
    return counts * (n / (n - 1))


def _draw_crossed(paired: Paired, bootstrap: Bootstrap) -> tuple[tuple[Float, ...], tuple[Stratum, ...]]:
    """Per task (B, n): the weight of the episode's market seed times that of its advertiser; tasks share the draws."""

    def drawn(stream: int, numbers: NDArray[np.int64]) -> tuple[Float, int]:
        distinct, position = np.unique(numbers, return_inverse=True)
        rng = np.random.default_rng([bootstrap.seed, stream, zlib.crc32(distinct.astype(np.int64).tobytes())])
        return _draw_few(rng, len(distinct), bootstrap.n_resamples)[:, position], len(distinct)

    units, strata = [], []
    for k, episodes in enumerate(paired.units):
        of_seed, n_seeds = drawn(0, episodes[:, 0])
        of_advertiser, n_advertisers = drawn(2, episodes[:, 1])
        if n_seeds == n_advertisers == 1:
            raise ValueError(f"an interval needs several market seeds or advertisers, found one of {paired.tasks[k]!r}")
        units.append(of_seed * of_advertiser)
        strata.append(Stratum((k,), n_seeds if n_seeds > 1 else n_advertisers))
    shared: dict[int, list[int]] = {}
    for stratum in strata:  # tasks with as many seeds have the same ones: one draw, its degrees of freedom count once
        shared.setdefault(stratum.n_seeds, []).extend(stratum.tasks)
    return tuple(units), tuple(Stratum(tuple(tasks), n) for n, tasks in shared.items())


def _draw_seeds(paired: Paired, bootstrap: Bootstrap) -> tuple[tuple[Float, ...], tuple[Stratum, ...]]:
    """Per task (B, n): the weight of the episode's market seed, drawn among those that the same tasks have."""
    n_resamples = bootstrap.n_resamples
    tasks_of: dict[int, list[int]] = {}
    for k, episodes in enumerate(paired.units):
        for seed in np.unique(episodes[:, 0]).tolist():
            tasks_of.setdefault(seed, []).append(k)
    seeds_of: dict[tuple[int, ...], list[int]] = {}
    for seed in sorted(tasks_of):
        seeds_of.setdefault(tuple(tasks_of[seed]), []).append(seed)
    units = [np.empty((n_resamples, len(episodes))) for episodes in paired.units]
    for tasks, seeds in seeds_of.items():
        n = len(seeds)
        if n < 2:
            names = ", ".join(repr(paired.tasks[k]) for k in tasks)
            raise ValueError(
                f"an interval needs at least 2 market seeds that the same tasks have, found {n} of {names}"
            )
        # seeded by the market seeds, so that neither the order nor the number of tasks changes the draw
        rng = np.random.default_rng([bootstrap.seed, 0, zlib.crc32(np.array(seeds, np.int64).tobytes())])
        counts = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64)
        for k in tasks:
            mine = np.isin(paired.units[k][:, 0], seeds)
            units[k][:, mine] = counts[:, np.searchsorted(seeds, paired.units[k][mine, 0])]
    return tuple(units), tuple(Stratum(tasks, len(seeds)) for tasks, seeds in seeds_of.items())


def mean(paired: Paired, method: str, draws: Draws, task: str | None = None) -> Estimate:
    """Mean over episodes and training seeds; for `task` None the average of the tasks' means."""
    return _estimate(paired, method, draws, task, lambda d: _mean(paired, method, d, task))


def interquartile_mean(paired: Paired, method: str, draws: Draws, task: str | None = None) -> Estimate:
    """Mean of the middle half of the episodes (arXiv 2108.13264, section 4.3).

    For `task` None the tasks are pooled, with equal weight each: give `paired.normalised()`.
    """
    tasks = paired.task_indices(task)
    grids = [paired.of(method)[k] for k in tasks]
    x = np.concatenate([grid.ravel() for grid in grids])
    order = np.argsort(x, kind="stable")
    # value i belongs to training seed run[i] and to column unit[i] of the tasks' units side by side
    run = np.concatenate([np.repeat(np.arange(len(grid)), grid.shape[1]) for grid in grids])[order]
    offsets = np.cumsum([0, *(grid.shape[1] for grid in grids)])
    unit = np.concatenate(
        [np.tile(start + np.arange(grid.shape[1]), len(grid)) for start, grid in zip(offsets, grids, strict=False)]
    )[order]

    def statistic(d: Draws) -> Float:
        train = d.of_training(paired, method)
        units = np.concatenate([d.units[k] / d.units[k].sum(axis=1, keepdims=True) for k in tasks], axis=1)
        out = np.empty(len(train))
        step = max(1, CHUNK_SIZE // len(x))
        for start in range(0, len(train), step):
            block = slice(start, start + step)
            weights = units[block, unit]
            if train.shape[1] > 1:
                weights *= train[block, run]
            out[block] = weighted_interquartile_mean(x[order], weights)
        return out

    return _estimate(paired, method, draws, task, statistic)


def weighted_interquartile_mean(x: Float, weights: Float) -> Float:
    """The mean of sorted values between their quartiles, for each row of weights.

    Args:
        x: Values in ascending order, (n,).
        weights: Weights, (B, n), each row of positive sum; overwritten. Equal ones give scipy's
            `trim_mean(x, 0.25)`, whole numbers of sum n that of x with repetitions (n / 4 is rounded down).

    Returns:
        (B,) float64.
    """
    cumulative = np.cumsum(weights, axis=1, out=weights)
    total = cumulative[:, -1:].copy()
    trim = total * ((len(x) // 4) / len(x))
    np.clip(cumulative, trim, total - trim, out=cumulative)
    # sum_i (c_i - c_(i-1)) x_i with c_(-1) = trim, summed by parts
    inside = cumulative[:, -1] * x[-1] - trim[:, 0] * x[0] - cumulative[:, :-1] @ np.diff(x)
    result: Float = inside / (total - 2 * trim)[:, 0]
    return result


def share_of_reference(paired: Paired, method: str, draws: Draws, task: str | None = None) -> Estimate:
    """Mean over the mean of the hindsight reference on the same episodes; `task` None averages over tasks.

    A ratio of means, not a mean of ratios, so that an episode whose reference is 0 counts. Both means are
    resampled together.
    """
    tasks = paired.task_indices(task)
    for k in tasks:
        paired.mean_reference(k)

    return _estimate(paired, method, draws, task, lambda d: _share(paired, method, d, tasks))


def delta_m(single: ArrayLike, method: ArrayLike) -> float:
    """(100 / K) sum_k (single_k - method_k) / single_k over K tasks' scores: per cent, lower is better.

    Source: arXiv 2510.07760. Raises ValueError for unequal shapes or a `single` that is not positive.
    """
    single, method = np.asarray(single, np.float64), np.asarray(method, np.float64)
    if single.shape != method.shape or single.ndim != 1:
        shapes = f"{single.shape} and {method.shape}"
        raise ValueError(f"`single` and `method` must have one shape (K,), found {shapes}")
    if not (np.isfinite(single).all() and (single > 0).all()):
        raise ValueError(f"`single` must be positive and finite, found {single.tolist()}")
    if not np.isfinite(method).all():
        raise ValueError(f"`method` must be finite, found {method.tolist()}")
    return float(100 * np.mean((single - method) / single))


def delta_m_estimate(paired: Paired, method: str, single: str, draws: Draws) -> Estimate:
    """`delta_m` of a method against the one that learns each task alone, with its interval.

    Raises:
        ValueError: The mean of `single` is not positive in every resample.
    """
    delta_m([grid.mean() for grid in paired.of(single)], [grid.mean() for grid in paired.of(method)])

    def statistic(d: Draws) -> Float:
        ratios = []
        for k, task in enumerate(paired.tasks):
            alone = _task_mean(paired, single, d, k)
            if not (alone > 0).all():
                rule = f"mean of {single!r} on task {task!r} must be positive in every resample"
                raise ValueError(f"{rule}, found {alone.min()}: too few episodes")
            ratios.append(_task_mean(paired, method, d, k) / alone)
        result: Float = 100 * (1 - np.mean(ratios, axis=0))
        return result

    return _estimate(paired, method, draws, None, statistic)


def difference(paired: Paired, method: str, baseline: str, draws: Draws, task: str | None = None) -> Estimate:
    """Mean of method minus baseline over the same episodes, averaged over tasks for `task` None."""
    return _estimate(paired, method, draws, task, lambda d: _gap(paired, method, baseline, d, task))


def recovered_share(paired: Paired, method: str, uniform: str, oracle: str, draws: Draws) -> Estimate | None:
    """(method - uniform) / (oracle - uniform), averages over the tasks: the share of what wrong sources cost.

    A ratio of means, both resampled together. None where the oracle is not above uniform sharing in every resample:
    there is nothing to recover beyond chance, and the ratio has no interval.
    """
    if not (resampled_difference(paired, oracle, uniform, draws).sample > 0).all():
        return None

    def statistic(d: Draws) -> Float:
        result: Float = _gap(paired, method, uniform, d, None) / _gap(paired, oracle, uniform, d, None)
        return result

    return _estimate(paired, method, draws, None, statistic)


def improvement(paired: Paired, method: str, baseline: str, draws: Draws, task: str | None = None) -> Estimate:
    """Probability that the method scores higher than the baseline in the same episode: see `Comparison`."""
    tasks = paired.task_indices(task)
    wins = []  # per task (R, R of the baseline, n)
    for k in tasks:
        x, y = paired.of(method)[k][:, None, :], paired.of(baseline)[k][None, :, :]
        wins.append((x > y) + 0.5 * (x == y))

    def statistic(d: Draws) -> Float:
        train, train_baseline = d.of_training(paired, method), d.of_training(paired, baseline)
        pairs = train[:, :, None] * train_baseline[:, None, :]  # (B, R, R of the baseline)
        pairs /= pairs.sum(axis=(1, 2), keepdims=True)
        out = []
        for k, won in zip(tasks, wins, strict=True):
            units = d.units[k] / d.units[k].sum(axis=1, keepdims=True)
            out.append((np.einsum("bn,ijn->bij", units, won, optimize=True) * pairs).sum(axis=(1, 2)))
        result: Float = np.mean(out, axis=0)
        return result

    found = _estimate(paired, method, draws, task, statistic)
    low, high = max(found.low, 0.0), min(found.high, 1.0)
    if np.isclose(found.value, (0.0, 1.0), atol=1e-12).any():  # resamples of equal outcomes have no width
        low, high = wilson(round(found.value), found.n_episodes, draws.level)
    return replace(found, low=low, high=high)


def p_value(
    paired: Paired,
    method: str,
    baseline: str,
    draws: Draws,
    task: str | None = None,
    test: Literal["bootstrap", "wilcoxon"] = "bootstrap",
) -> float:
    """Two-sided p value of no difference between a method and a baseline.

    `bootstrap` refers the mean difference over its bootstrap standard error to Student's t, as the interval
    does: training seeds count. `wilcoxon` is the signed-rank test (zeros as in Pratt 1959) on the episodes'
    differences averaged over training seeds: it says nothing of training.
    """
    if test == "wilcoxon":
        tasks, x, y = paired.task_indices(task), paired.of(method), paired.of(baseline)
        gap = np.concatenate([x[k].mean(axis=0) - y[k].mean(axis=0) for k in tasks])
        return float(scipy.stats.wilcoxon(gap, zero_method="pratt").pvalue) if gap.any() else 1.0
    if test != "bootstrap":
        raise ValueError(f"`test` must be 'bootstrap' or 'wilcoxon', found {test!r}")
    return resampled_difference(paired, method, baseline, draws, task).p_different()


def holm(p_values: ArrayLike) -> Float:
    """Holm's step-down adjustment of m p values, (m,): controls the family-wise error of all tests."""
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"`p_values` must be a vector of numbers from 0 to 1, found {p.tolist()}")
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def wilson(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a proportion from n trials: unlike the bootstrap's it has a width at 0 and 1."""
    z = scipy.stats.norm.ppf(0.5 + level / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


class Resampled(NamedTuple):
    """A statistic of the data, of each resample (B,), and the degrees of freedom of its variance."""

    value: float
    sample: Float
    freedom: float

    @property
    def error(self) -> float:
        """Standard error."""
        return float(self.sample.std())

    def p_different(self) -> float:
        """Two-sided p value of 0, by Student's t."""
        return p_different(self.value, self.error, self.freedom)

    def interval(self, level: float) -> tuple[float, float]:
        """Percentiles of the resamples, moved out from the value by Student's t over the normal's."""
        tails = [0.5 - level / 2, 0.5 + level / 2]
        widening = scipy.stats.t.ppf(tails[1], self.freedom) / scipy.stats.norm.ppf(tails[1])
        low, high = self.value + widening * (np.quantile(self.sample, tails) - self.value)
        return float(low), float(high)


def p_different(value: float, error: float, freedom: float) -> float:
    """Two-sided p value of no difference, by Student's t."""
    if error == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * scipy.stats.t.sf(abs(value) / error, freedom))


def p_equivalent(value: float, error: float, freedom: float, margin: float) -> float:
    """P value of a difference of `margin` or more, by two one-sided t tests (TOST, Schuirmann 1987).

    A small one says that the difference lies within -margin .. margin; at 0.05 that is so where the 90 % interval does.
    """
    if error == 0:
        return 0.0 if abs(value) < margin else 1.0
    above, below = (
        scipy.stats.t.sf((value + margin) / error, freedom),
        scipy.stats.t.cdf((value - margin) / error, freedom),
    )
    return float(max(above, below))


def resampled_mean(paired: Paired, method: str, draws: Draws, task: str | None = None) -> Resampled:
    """`mean` with its resamples."""
    return _resample(paired, draws, task, lambda d: _mean(paired, method, d, task))


def resampled_difference(
    paired: Paired, method: str, baseline: str, draws: Draws, task: str | None = None
) -> Resampled:
    """Mean of method minus baseline with its resamples."""
    return _resample(paired, draws, task, lambda d: _gap(paired, method, baseline, d, task))


def resampled_share(paired: Paired, method: str, draws: Draws, task: str | None = None) -> Resampled:
    """`share_of_reference` of a task, or over all, with its resamples."""
    return _resample(paired, draws, task, lambda d: _share(paired, method, d, paired.task_indices(task)))


def _resample(paired: Paired, draws: Draws, task: str | None, statistic: Callable[[Draws], Float]) -> Resampled:
    """Evaluates a statistic, and Satterthwaite's degrees of freedom of its variance.

    The variance has one part a set of training seeds, from leaving out one seed at a time, with R - 1 degrees
    of freedom each; the rest is the market seeds', with one less a stratum than there are seeds.
    """

    def at(key: tuple[int, ...], train: Float) -> Float:
        """The statistic with all weights 1 but those of one set of training seeds, (len(train),)."""
        units = tuple(np.ones((len(train), len(episodes))) for episodes in paired.units)
        others = {other: np.ones((len(train), len(other))) for other in draws.train}
        return statistic(replace(draws, units=units, train={**others, key: train}))

    sample = statistic(draws)
    total = rest = float(sample.var())
    spread = 0.0
    for key in draws.train:
        n = len(key)
        if n > 1:
            part = float((n - 1) * at(key, 1 - np.eye(n)).var())  # the jackknife's
            rest -= part
            spread += part**2 / (n - 1)
    wanted = set(paired.task_indices(task))
    spread += max(rest, 0.0) ** 2 / sum(n_seeds - 1 for tasks, n_seeds in draws.strata if wanted.intersection(tasks))
    any_key = next(iter(draws.train))
    value = float(at(any_key, np.ones((1, len(any_key))))[0])
    return Resampled(value, sample, total**2 / spread if spread > 0 else np.inf)


def _estimate(
    paired: Paired, method: str, draws: Draws, task: str | None, statistic: Callable[[Draws], Float]
) -> Estimate:
    """A statistic with its interval: percentiles, moved out from the value by Student's t over the normal's."""
    paired.of(method)
    found = _resample(paired, draws, task, statistic)
    low, high = found.interval(draws.level)
    return Estimate(
        value=found.value,
        low=low,
        high=high,
        n_episodes=sum(len(paired.units[k]) for k in paired.task_indices(task)),
        n_train_seeds=paired.n_train_seeds(method),
    )


def _share(paired: Paired, method: str, draws: Draws, tasks: Sequence[int]) -> Float:
    """Average over the tasks of mean over mean reference, (B,)."""
    ratios = [_task_mean(paired, method, draws, k) / _reference_mean(paired, draws, k) for k in tasks]
    result: Float = np.mean(ratios, axis=0)
    return result


def _gap(paired: Paired, method: str, baseline: str, draws: Draws, task: str | None) -> Float:
    """Mean of method minus baseline, (B,)."""
    return _mean(paired, method, draws, task) - _mean(paired, baseline, draws, task)


def _mean(paired: Paired, method: str, draws: Draws, task: str | None) -> Float:
    """Average over the tasks of `_task_mean`, (B,)."""
    result: Float = np.mean([_task_mean(paired, method, draws, k) for k in paired.task_indices(task)], axis=0)
    return result


def _task_mean(paired: Paired, method: str, draws: Draws, k: int) -> Float:
    """Weighted mean of a task's (R, n) values for each resample, (B,)."""
    per_run = draws.units[k] @ paired.of(method)[k].T  # (B, R)
    train = draws.of_training(paired, method)
    result: Float = (per_run * train).sum(axis=1) / (draws.units[k].sum(axis=1) * train.sum(axis=1))
    return result


def _reference_mean(paired: Paired, draws: Draws, k: int) -> Float:
    """Weighted mean of a task's reference for each resample, (B,); each must be positive."""
    out: Float = (draws.units[k] @ paired.reference[k]) / draws.units[k].sum(axis=1)
    if not (out > 0).all():
        rule = f"`reference` of task {paired.tasks[k]!r} must have a positive mean in every resample"
        raise ValueError(f"{rule}, found {out.min()}: too few episodes with a positive reference")
    return out
