"""A suite with its statistics, as its page and its picture read them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from benchmarks.statistics.analysis import VariantAnalysis
from benchmarks.statistics.bootstrap import Estimate
from benchmarks.suites.storage.store import SuiteRecord

MEASURES = {
    "share": "Share of the reference",
    "iqm": "Interquartile mean",
    "delta_m": "delta_m (%), lower is better",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A suite and its statistics.

    Attributes:
        record: What was run.
        variants: Statistics of the variants that have rows, by name, in the suite's order.
    """

    record: SuiteRecord
    variants: dict[str, VariantAnalysis]

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods with rows: a method's place gives its colour on every plot."""
        present = {method for analysis in self.variants.values() for method in analysis.methods}
        return tuple(name for name in self.labels if name in present)

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the methods; those that the suite does not name have their names."""
        others = {method: method for analysis in self.variants.values() for method in analysis.methods}
        return {
            **self.record.labels,
            **{name: label for name, label in others.items() if name not in self.record.labels},
        }

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks of all variants."""
        return tuple(dict.fromkeys(task for analysis in self.variants.values() for task in analysis.tasks))

    @property
    def measures(self) -> list[str]:
        """Keys of `MEASURES` that exist in any variant."""
        with_delta = any(analysis.delta_m for analysis in self.variants.values())
        return [name for name in MEASURES if name != "delta_m" or with_delta]

    @property
    def methods_on_axis(self) -> tuple[str, ...]:
        """Methods that have a number on the suite's axis."""
        return tuple(name for name in self.methods if self.x("methods", name) is not None)

    def label(self, variant: str) -> str:
        """Of a variant, for people."""
        return str(next(entry["label"] for entry in self.record.variants if entry["name"] == variant))

    def x(self, part: str, name: str) -> float | None:
        """Place of one of the `variants` or `methods` on the suite's axis."""
        entries: list[dict[str, Any]] = getattr(self.record, part)
        found = next((entry["x"] for entry in entries if entry["name"] == name), None)
        return None if found is None else float(found)


def measured(analysis: VariantAnalysis, measure: str) -> dict[str, Estimate]:
    """A measure of all methods that have it, the best first."""
    if measure == "delta_m":
        return dict(sorted(analysis.delta_m.items(), key=lambda item: item[1].value))
    found = {method: _of_all(analysis, method, measure) for method in analysis.methods}
    return dict(sorted(found.items(), key=lambda item: -item[1].value))


def _of_all(analysis: VariantAnalysis, method: str, measure: str) -> Estimate:
    """Over all tasks; a single task's interquartile mean is in units of the score: divided by the reference."""
    summary = analysis.summary(method, None)
    if measure == "share":
        return summary.share
    found = summary.interquartile_mean
    if len(analysis.tasks) > 1 or not summary.share.value:
        return found
    scale = summary.mean.value / summary.share.value
    return replace(found, value=found.value / scale, low=found.low / scale, high=found.high / scale)


def counted(analysis: VariantAnalysis, task: str | None = None) -> str:
    """What the figures of a variant rest on."""
    shares = [analysis.summary(method, task).share for method in analysis.methods]
    n_seeds = sorted({share.n_train_seeds for share in shares if share.n_train_seeds})
    seeds = "no training seeds" if not n_seeds else f"{n_seeds[0]} training seed{'s' * (n_seeds[0] != 1)}"
    if len(n_seeds) > 1:
        seeds = f"{n_seeds[0]} to {n_seeds[-1]} training seeds"
    return f"n = {shares[0].n_episodes:,} paired test episodes, {seeds}"


def counted_by_task(analysis: VariantAnalysis) -> str:
    """What a figure of one task rests on, where several tasks stand side by side: `counted`, of each."""
    per_task = list(dict.fromkeys(counted(analysis, task) for task in analysis.tasks))
    return f"each task: {per_task[0]}" if len(per_task) == 1 else f"all tasks together: {counted(analysis)}"
