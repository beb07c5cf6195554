"""Registered contrasts: the few comparisons that a suite names before it is run, corrected by Holm over them alone.

Every other comparison of the suite is exploratory. A contrast is answered once for each kind of variant that it names.
Variants of one group are families that were drawn alike, and the answer is about the mean over families. A variant
without a group answers for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, cast

from benchmarks.statistics.bootstrap import (
    Bootstrap,
    Estimate,
    Resampled,
    draw,
    holm,
    p_equivalent,
    resampled_difference,
)
from benchmarks.statistics.families import over_families
from benchmarks.statistics.pairing import Paired
from benchmarks.statistics.profiles import same_seeds

EQUIVALENCE_LEVEL = 0.90
"""Level of the interval that lies within the margin where two one-sided tests at 5 % reject."""


class ContrastRecord(TypedDict):
    """A registered contrast as `suite.json` has it (`benchmarks.suites.spec.Contrast`)."""

    name: str
    first: str
    second: str
    variants: list[str]
    kind: Literal["difference", "equivalence"]
    margin: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The answer to a registered contrast, for one kind of variants.

    Attributes:
        name, first, second, kind, margin: Of the contrast.
        variants: That it is about: the families of a group, or one variant.
        group: Name of that group; empty for a variant that stands for itself.
        difference: Mean of first minus second over the tasks' mean references, with its interval: 95 % for a
            difference, 90 % for an equivalence. None where rows are missing.
        p_value: Of no difference; of an equivalence, of a difference of `margin` or more (two one-sided tests). 1 where
            rows are missing, so that a contrast that was not run does not relax the correction of the others.
        p_holm: `p_value` adjusted for all registered contrasts of the suite.
    """

    name: str
    first: str
    second: str
    kind: Literal["difference", "equivalence"]
    margin: float | None
    variants: tuple[str, ...]
    group: str
    difference: Estimate | None
    p_value: float
    p_holm: float

    @property
    def level(self) -> float:
        """Coverage of the interval of a contrast of this kind."""
        return EQUIVALENCE_LEVEL if self.kind == "equivalence" else 0.95

    @property
    def holds(self) -> bool:
        """Whether the corrected test rejects at 5 %: there is a difference, or the methods are equivalent."""
        return self.p_holm < 0.05


def groups(variants: Sequence[Mapping[str, object]]) -> dict[str, tuple[str, ...]]:
    """Variants by group, in the suite's order; a variant without one is a group of its own, under its own name."""
    out: dict[str, tuple[str, ...]] = {}
    for variant in variants:
        key = str(variant["group"]) or str(variant["name"])
        out[key] = (*out.get(key, ()), str(variant["name"]))
    return out


def registered(
    contrasts: Sequence[Mapping[str, object]],
    variants: Sequence[Mapping[str, object]],
    paired: Mapping[str, Paired],
    bootstrap: Bootstrap | None = None,
) -> tuple[Registered, ...]:
    """The registered contrasts of a suite, each once a group of the variants that it names.

    Args:
        contrasts: Records of the contrasts.
        variants: Records of the suite's variants, `name` and `group`.
        paired: Scores by variant, of those that have rows.
        bootstrap: How intervals are computed; its level is not used.
    """
    found = []
    for record in (cast(ContrastRecord, entry) for entry in contrasts):
        for group, names in groups(variants).items():
            wanted = tuple(name for name in names if not record["variants"] or name in record["variants"])
            if wanted:
                is_group = any(variant["group"] == group for variant in variants)
                found.append((record, group if is_group else "", wanted, _test(record, wanted, paired, bootstrap)))
    adjusted = holm([p for *_, (_, p) in found])
    return tuple(
        Registered(
            name=record["name"],
            first=record["first"],
            second=record["second"],
            kind=record["kind"],
            margin=record["margin"],
            variants=wanted,
            group=group,
            difference=estimate,
            p_value=p,
            p_holm=float(p_holm),
        )
        for (record, group, wanted, (estimate, p)), p_holm in zip(found, adjusted, strict=True)
    )


def _test(
    record: ContrastRecord, variants: Sequence[str], paired: Mapping[str, Paired], bootstrap: Bootstrap | None
) -> tuple[Estimate | None, float]:
    """The difference with its interval, and the p value; without rows of all of the variants nothing and 1."""
    pairs = (record["first"], record["second"])
    of_families: list[Resampled] = []
    n_episodes, n_train_seeds = 0, []
    for variant in variants:
        if variant not in paired or not set(pairs) <= set(paired[variant].methods):
            return None, 1.0
        both = same_seeds(paired[variant].normalised(), pairs)
        if both is None:
            return None, 1.0
        of_families.append(resampled_difference(both, *pairs, draw(both, bootstrap)))
        n_episodes += sum(len(units) for units in both.units)
        n_train_seeds.append(max(both.n_train_seeds(name) for name in pairs))
    found = of_families[0] if len(of_families) == 1 else over_families(of_families)
    is_equivalence = record["margin"] is not None
    low, high = found.interval(EQUIVALENCE_LEVEL if is_equivalence else 0.95)
    estimate = Estimate(value=found.value, low=low, high=high, n_episodes=n_episodes, n_train_seeds=min(n_train_seeds))
    if record["margin"] is None:
        return estimate, found.p_different()
    return estimate, p_equivalent(found.value, found.error, found.freedom, record["margin"])
