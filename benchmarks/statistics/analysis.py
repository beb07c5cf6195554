"""What a suite's rows say: statistics of every variant, from rows alone. A figure is computed when it is first read.

The best baseline of a task is the one with the highest mean on the very test episodes, among all methods that are not
`ours`. That choice flatters the baseline, the more so the more there are, so that a gain over it is understated.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from benchmarks.statistics.bootstrap import (
    Bootstrap,
    Draws,
    Estimate,
    delta_m_estimate,
    difference,
    draw,
    holm,
    improvement,
    p_value,
    recovered_share,
    resampled_difference,
    resampled_share,
    share_of_reference,
)
from benchmarks.statistics.contrasts import Registered, groups, registered
from benchmarks.statistics.families import FamilyMean, over_families, ratio_over_families
from benchmarks.statistics.pairing import Paired, in_order, pair
from benchmarks.statistics.profiles import Profile, profile, same_seeds
from benchmarks.statistics.summaries import Comparison, Feasibility, Summary, feasibility, summary
from benchmarks.suites.storage.store import Store, SuiteRecord

logger = logging.getLogger(__name__)

METRIC = "score_expected"
SAMPLED = "score_sampled"
"""Column of sampled scores, which are shown beside the expected ones."""
UNIFORM, ORACLE = "uniform", "oracle"
"""Methods between which the recovered share counts: uniform sharing, and sharing of sound sources only. Both may have a
suffix, "uniform-mlp" and "oracle-mlp": they are those of the methods with the same suffix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Training seeds of the suite that a method lacks in a variant, with the errors of those that failed."""

    variant: str
    method: str
    seeds: tuple[int, ...]
    errors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class VariantAnalysis:
    """Statistics of one variant, each computed at its first use.

    Attributes:
        variant: Its name.
        paired: The scores, arranged.
        draws: Resamples behind all intervals but those of `comparisons`.
        rows: What the scores come from; feasibility reads the ratios.
        baseline: The method against which delta_m counts; empty where there is none.
        ours: Methods that are compared with the best of all others.
        bootstrap: How intervals are computed.
        missing: Methods without all seeds; comparisons with them are on the seeds that both have.
    """

    variant: str
    paired: Paired
    draws: Draws
    rows: pa.Table
    baseline: str
    ours: tuple[str, ...]
    bootstrap: Bootstrap | None
    missing: tuple[Missing, ...]
    _summaries: dict[tuple[str, str | None], Summary] = field(default_factory=dict, init=False, repr=False)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks in the suite's order."""
        return self.paired.tasks

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods that have rows, in the suite's order."""
        return self.paired.methods

    def summary(self, method: str, task: str | None) -> Summary:
        """Scores of a method on a task; None is all tasks, also where there is one."""
        wanted = task if task is not None or len(self.tasks) > 1 else self.tasks[0]
        if (method, wanted) not in self._summaries:
            self._summaries[method, wanted] = summary(self.paired, self.draws, method, wanted)
        return self._summaries[method, wanted]

    @cached_property
    def deviation(self) -> dict[str, float]:
        """By method, standard deviation over training seeds of the mean share of the reference; NaN for one seed."""
        return {method: _deviation(self.paired, method) for method in self.methods}

    @cached_property
    def delta_m(self) -> dict[str, Estimate]:
        """By method against the suite's baseline; empty without one, or where it scores nothing in a resample."""
        return _delta_m(self.paired, self.baseline, self.draws)

    @cached_property
    def sampled(self) -> dict[str, Estimate]:
        """By method, share of the reference of sampled scores; empty where rows have none, or those are the scores."""
        if SAMPLED not in self.rows.column_names or self.paired.metric == SAMPLED:
            return {}
        paired = pair(self.rows, SAMPLED)
        return {method: share_of_reference(paired, method, self.draws) for method in paired.methods}

    @cached_property
    def recovered(self) -> dict[str, Estimate]:
        """By method, the share of the way from uniform sharing to the oracle; empty where the two are not told apart.

        Of a method that lacks training seeds all its seeds count, and all of uniform sharing and of the oracle.
        """
        ends = recovered_between(self.methods)
        if not ends:
            return {}
        paired = self.paired.normalised()
        found = {method: recovered_share(paired, method, *pair, self.draws) for method, pair in ends.items()}
        return {method: share for method, share in found.items() if share is not None}

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """`ours` with the best baseline, per task and over all; Holm's correction spans them."""
        return compare_with_best(self.paired, [name for name in self.ours if name in self.methods], self.bootstrap)

    @cached_property
    def feasibility(self) -> tuple[Feasibility, ...]:
        """Per method and task; constraint None is all together."""
        return feasibility(self.rows)

    @cached_property
    def profiles(self) -> tuple[Profile, ...]:
        """Performance profile of every method."""
        return tuple(profile(self.paired.normalised(), method, self.draws) for method in self.methods)


def analyse(store: Store, metric: str = METRIC, bootstrap: Bootstrap | None = None) -> dict[str, VariantAnalysis]:
    """The statistics of every variant that has rows, by name.

    Raises:
        ValueError: No rows at all, or rows that are not paired.
    """
    record, rows, runs = store.suite(), store.rows(), store.runs()
    if not rows.num_rows:
        raise ValueError(f"{store.path} must hold rows, found none: no run has finished without an error")
    out = {}
    for name, of_variant in _by_variant(record, rows):
        missing = _missing(record, runs.filter(pc.equal(runs["variant"], name)), name)
        out[name] = analyse_variant(of_variant, record, name, metric, bootstrap, missing)
    return out


def recovered_between(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """By method, the uniform sharing and the oracle with its suffix; methods without both are left out."""
    suffixes = [name.removeprefix(UNIFORM) for name in methods if name == UNIFORM or name.startswith(f"{UNIFORM}-")]
    out = {}
    for method in methods:
        own = max((suffix for suffix in suffixes if method.endswith(suffix)), key=len, default=None)
        if own is not None and ORACLE + own in methods and method not in (UNIFORM + own, ORACLE + own):
            out[method] = (UNIFORM + own, ORACLE + own)
    return out


def registered_contrasts(
    record: SuiteRecord, found: Mapping[str, VariantAnalysis], bootstrap: Bootstrap | None = None
) -> tuple[Registered, ...]:
    """The suite's registered contrasts on the scores of its variants."""
    paired = {name: analysis.paired for name, analysis in found.items()}
    return registered(record.contrasts, record.variants, paired, bootstrap)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyGroup:
    """Means over the families of a group, with the family as a random effect.

    Attributes:
        name: Of the group.
        variants: Families of it that have rows.
        share: By method with rows in all of them, the share of the reference.
        recovered: By method, the share of the way from uniform sharing to the oracle; empty without these two, or where
            they are not told apart.
    """

    name: str
    variants: tuple[str, ...]
    share: dict[str, Estimate]
    recovered: dict[str, Estimate]


def family_groups(record: SuiteRecord, found: Mapping[str, VariantAnalysis]) -> tuple[FamilyGroup, ...]:
    """The groups of at least two families with rows."""
    out = []
    for name, variants in groups(record.variants).items():
        families = [found[variant] for variant in variants if variant in found]
        if len(families) > 1:
            out.append(_family_group(name, families))
    return tuple(out)


def _family_group(name: str, families: Sequence[VariantAnalysis]) -> FamilyGroup:
    in_all = [method for method in families[0].methods if all(method in family.methods for family in families)]
    recovered = {}
    scored = [(family.paired.normalised(), family.draws) for family in families]
    for method, (uniform, oracle) in recovered_between(in_all).items():
        whole = [resampled_difference(paired, oracle, uniform, draws) for paired, draws in scored]
        gained = [resampled_difference(paired, method, uniform, draws) for paired, draws in scored]
        mean = ratio_over_families(gained, whole)
        if mean is not None:
            recovered[method] = _of_families(families, method, mean)
    variants = tuple(family.variant for family in families)
    return FamilyGroup(name=name, variants=variants, share=_shares(families, in_all, None), recovered=recovered)


def shares_by_task(group: FamilyGroup, found: Mapping[str, VariantAnalysis]) -> dict[str, dict[str, Estimate]]:
    """By task and method, the share of the reference over the families of a group.

    Empty where they do not have the same tasks, or one only.
    """
    families = [found[variant] for variant in group.variants]
    tasks = families[0].tasks
    if len(tasks) == 1 or any(family.tasks != tasks for family in families):
        return {}
    return {task: _shares(families, list(group.share), task) for task in tasks}


def _shares(families: Sequence[VariantAnalysis], methods: Sequence[str], task: str | None) -> dict[str, Estimate]:
    means = {
        method: over_families([resampled_share(f.paired, method, f.draws, task) for f in families])
        for method in methods
    }
    return {method: _of_families(families, method, mean, task) for method, mean in means.items()}


def _of_families(
    families: Sequence[VariantAnalysis], method: str, mean: FamilyMean, task: str | None = None
) -> Estimate:
    n_episodes = sum(len(family.paired.units[k]) for family in families for k in family.paired.task_indices(task))
    n_train_seeds = min(family.paired.n_train_seeds(method) for family in families)
    return mean.estimate(families[0].draws.level, n_episodes, n_train_seeds)


def _by_variant(record: SuiteRecord, rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The variants that have rows, in the suite's order, with their rows."""
    for variant in record.variants:
        of_variant = rows.filter(pc.equal(rows["variant"], variant["name"]))
        if of_variant.num_rows:
            yield variant["name"], of_variant


def analyse_variant(
    rows: pa.Table,
    record: SuiteRecord,
    variant: str,
    metric: str = METRIC,
    bootstrap: Bootstrap | None = None,
    missing: tuple[Missing, ...] = (),
) -> VariantAnalysis:
    """The statistics of one variant's rows."""
    rows = ordered(rows, record)
    paired = pair(rows, metric)
    return VariantAnalysis(
        variant=variant,
        paired=paired,
        draws=draw(paired, bootstrap),
        rows=rows,
        baseline=record.baseline,
        ours=tuple(record.ours),
        bootstrap=bootstrap,
        missing=missing,
    )


def ordered(rows: pa.Table, record: SuiteRecord) -> pa.Table:
    """Rows with the methods in the suite's order; those that it does not name come last."""
    methods = [method["name"] for method in record.methods]
    names = rows["method"].to_numpy(zero_copy_only=False)
    place = {name: k for k, name in enumerate([*methods, *in_order(names)][::-1])}
    return rows.take(np.argsort([-place[str(name)] for name in names], kind="stable"))


def compare_with_best(paired: Paired, ours: list[str], bootstrap: Bootstrap | None = None) -> tuple[Comparison, ...]:
    """Each of our methods with the best of all others, per task and, over several tasks, on their average."""
    others = [method for method in paired.methods if method not in ours]
    if not ours or not others:
        return ()
    normalised = paired.normalised()
    pairs = []
    for task in _scopes(paired):
        best = max(others, key=lambda method: _mean(normalised, method, task))
        pairs += [(method, best, task) for method in ours]
    return compare_pairs(paired, pairs, bootstrap)


def compare_with(
    store: Store,
    baseline: str,
    metric: str = METRIC,
    bootstrap: Bootstrap | None = None,
    variant: str | None = None,
) -> dict[str, tuple[Comparison, ...]]:
    """All other methods with a named one, per task and, over several tasks, on their average, by variant.

    Variants without rows of that method are left out; `variant` leaves out all others but this one.

    Raises:
        ValueError: No variant has any.
    """
    record, rows = store.suite(), store.rows()
    out = {}
    for name, of_variant in _by_variant(record, rows):
        if variant in (None, name) and baseline in pc.unique(of_variant["method"]).to_pylist():
            paired = pair(ordered(of_variant, record), metric)
            others = [method for method in paired.methods if method != baseline]
            pairs = [(method, baseline, task) for task in _scopes(paired) for method in others]
            out[name] = compare_pairs(paired, pairs, bootstrap)
    if not out:
        names = sorted(set(rows["method"].to_pylist()))
        raise ValueError(f"`against` must be a method with rows, one of {names}, found {baseline!r}")
    return out


def compare_pairs(
    paired: Paired, pairs: Sequence[tuple[str, str, str | None]], bootstrap: Bootstrap | None = None
) -> tuple[Comparison, ...]:
    """Comparisons of (method, baseline, task); task None is the average over tasks, Holm's correction spans all.

    Differences are in units of the task's mean reference. A pair of methods is compared on the training seeds that both
    have; those that share none are left out.
    """
    normalised = paired.normalised()
    found = []
    draws_of: dict[tuple[int, ...], Draws] = {}  # by training seeds, on which alone they depend
    for method, baseline, task in pairs:
        both = same_seeds(normalised, (method, baseline))
        if both is not None:
            seeds = tuple(seed for name in (method, baseline) for seed in both.train_seeds[name].tolist())
            if seeds not in draws_of:
                draws_of[seeds] = draw(both, bootstrap)
            found.append((method, baseline, task, both, draws_of[seeds]))
    p_values = [p_value(both, method, baseline, draws, task) for method, baseline, task, both, draws in found]
    return tuple(
        Comparison(
            method=method,
            baseline=baseline,
            task=task,
            difference=difference(both, method, baseline, draws, task),
            improvement=improvement(both, method, baseline, draws, task),
            p_value=p,
            p_holm=float(adjusted),
            test="bootstrap",
        )
        for (method, baseline, task, both, draws), p, adjusted in zip(found, p_values, holm(p_values), strict=True)
    )


def _scopes(paired: Paired) -> tuple[str | None, ...]:
    return (*paired.tasks, None) if len(paired.tasks) > 1 else paired.tasks


def _delta_m(paired: Paired, baseline: str, draws: Draws) -> dict[str, Estimate]:
    """Of every method but the baseline; empty without one, and where its scores are too close to 0 to divide by."""
    others = [method for method in paired.methods if method != baseline]
    if len(others) == len(paired.methods):
        return {}
    try:
        return {method: delta_m_estimate(paired, method, baseline, draws) for method in others}
    except ValueError as error:
        logger.warning("no delta_m: %s", error)
        return {}


def _mean(paired: Paired, method: str, task: str | None) -> float:
    return float(np.mean([paired.of(method)[k].mean() for k in paired.task_indices(task)]))


def _deviation(paired: Paired, method: str) -> float:
    grids: tuple[NDArray[np.float64], ...] = paired.normalised().of(method)
    by_seed = np.mean([grid.mean(axis=1) for grid in grids], axis=0)  # (R,)
    return float(by_seed.std(ddof=1)) if len(by_seed) > 1 else float("nan")


def _missing(record: SuiteRecord, runs: pa.Table, variant: str) -> tuple[Missing, ...]:
    """Methods of the suite that have begun in this variant but lack seeds."""
    done: dict[str, set[int]] = {}
    errors: dict[str, list[str]] = {}
    for run in runs.select(["method", "train_seed", "failed"]).to_pylist():
        finished = done.setdefault(run["method"], set())
        if run["failed"]:
            errors.setdefault(run["method"], []).append(run["failed"])
        else:
            finished.add(run["train_seed"])
    out = []
    for method in (entry["name"] for entry in record.methods if entry["name"] in done):
        is_trained = next(entry for entry in record.methods if entry["name"] == method)["is_trained"]
        wanted = record.train_seeds if is_trained else [-1]
        lacking = tuple(seed for seed in wanted if seed not in done[method])
        if lacking:
            failed = tuple(dict.fromkeys(errors.get(method, [])))
            out.append(Missing(variant=variant, method=method, seeds=lacking, errors=failed))
    return tuple(out)
