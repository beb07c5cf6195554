"""What a report shows: plain arrays and tables, checked; and the statistics computed from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from benchmarks.statistics.bootstrap import Bootstrap, Draws, Estimate, difference, draw
from benchmarks.statistics.pairing import Paired, Rows, pair
from benchmarks.statistics.summaries import Comparison, Feasibility, Summary, compare, feasibility, summarise

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EpisodeTrace:
    """One method's campaign over the T ticks of an episode; arrays of shape (T,).

    Attributes:
        budget: Currency per episode.
        cost: Currency spent up to the end of each tick (cumulative).
        multiplier: Currency per conversion: the bid is multiplier x predicted value.
        impressions: Impressions of each tick.
        least_winning_cost: Mean over the tick's impressions, currency; NaN where there is none.
        conversions: Conversions up to the end of each tick (cumulative).
        win_rate: Share of the tick's impressions won; NaN where there is none.
    """

    budget: float
    cost: Float
    multiplier: Float
    impressions: Float
    least_winning_cost: Float
    conversions: Float
    win_rate: Float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.budget) and self.budget > 0):
            raise ValueError(f"`budget` of a trace must be positive, found {self.budget}")
        shape = np.shape(self.cost)
        if len(shape) != 1 or not shape[0]:
            raise ValueError(f"`cost` of a trace must have shape (T,), found {shape}")
        for name in [f.name for f in fields(self) if f.name != "budget"]:
            array = np.asarray(getattr(self, name), np.float64)
            if array.shape != shape:
                raise ValueError(f"`{name}` of a trace must have shape {shape} like `cost`, found {array.shape}")
            if name in ("cost", "conversions") and not np.isfinite(array).all():
                raise ValueError(f"`{name}` of a trace must be finite, found {array[~np.isfinite(array)][0]}")
            object.__setattr__(self, name, array)

    @property
    def even_plan(self) -> Float:
        """Cumulative spend (T,) of a budget split evenly over the ticks."""
        n_ticks = len(self.cost)
        return self.budget * np.arange(1, n_ticks + 1) / n_ticks

    @property
    def traffic_plan(self) -> Float:
        """Cumulative spend (T,) of a budget split in proportion to the impressions; even if there are none."""
        total = float(self.impressions.sum())
        return self.budget * np.cumsum(self.impressions) / total if total > 0 else self.even_plan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Episode:
    """The same campaign by several methods.

    Attributes:
        title: Names the task, market seed and advertiser.
        traces: Method -> its campaign; all of one budget and number of ticks.
    """

    title: str
    traces: Mapping[str, EpisodeTrace]

    def __post_init__(self) -> None:
        if not self.traces:
            raise ValueError(f"`traces` of episode {self.title!r} must not be empty, found none")
        found = {(trace.budget, len(trace.cost)) for trace in self.traces.values()}
        if len(found) > 1:
            rule = f"traces of episode {self.title!r} must share budget and number of ticks"
            raise ValueError(f"{rule}, found {sorted(found)}")

    @property
    def first(self) -> EpisodeTrace:
        """The first trace, for what all have in common."""
        return next(iter(self.traces.values()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingHistory:
    """Log of one training run at S steps, for K target and I source tasks.

    Attributes:
        targets: Names of the K target tasks.
        sources: Names of the I source tasks.
        step: Training step, (S,), increasing.
        validation_loss: (S, K); NaN where it was not measured.
        weights: Weight of source i for target k, (S, K, I), or None for a method without weights.
        alignments: Inner product of validation and source gradients, (S, K, I), or None.
    """

    targets: tuple[str, ...]
    sources: tuple[str, ...]
    step: Float
    validation_loss: Float
    weights: Float | None = None
    alignments: Float | None = None

    def __post_init__(self) -> None:
        n_steps, n_targets, n_sources = len(self.step), len(self.targets), len(self.sources)
        shapes = {
            "step": (n_steps,),
            "validation_loss": (n_steps, n_targets),
            "weights": (n_steps, n_targets, n_sources),
            "alignments": (n_steps, n_targets, n_sources),
        }
        for name, shape in shapes.items():
            if getattr(self, name) is None:
                continue
            array = np.asarray(getattr(self, name), np.float64)
            if array.shape != shape:
                raise ValueError(f"`{name}` of a history must have shape {shape}, found {array.shape}")
            object.__setattr__(self, name, array)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportData:
    """A benchmark run to report.

    Attributes:
        title: Heading of the page.
        intro: Paragraphs of plain text below it.
        machine: What it ran on, in words.
        command: Command line that reproduces the run.
        rows: Result rows (`benchmarks.statistics.pairing`), of one suite.
        baselines: Methods that all others are compared with.
        parameters: Name -> value of the run's settings.
        versions: Package -> version.
        episodes: Episodes to look into; may be empty.
        histories: Method -> its training; may be empty.
        metric: Column of `rows` that is the score.
        score_unit: What a score counts, for axes.
        tick_hours: Hours of the day that a tick stands for.
        bootstrap: How intervals are computed.
    """

    title: str
    machine: str
    command: str
    rows: Rows
    baselines: tuple[str, ...]
    intro: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    episodes: tuple[Episode, ...] = ()
    histories: Mapping[str, TrainingHistory] = field(default_factory=dict)
    metric: str = "score"
    score_unit: str = "conversions"
    tick_hours: float = 0.5
    bootstrap: Bootstrap = field(default_factory=Bootstrap)

    def __post_init__(self) -> None:
        if not self.title:
            raise ValueError("`title` of a report must not be empty")
        if not (np.isfinite(self.tick_hours) and self.tick_hours > 0):
            raise ValueError(f"`tick_hours` must be positive, found {self.tick_hours}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """The two methods with the highest share on a task (`None`: over all tasks) and their difference."""

    task: str | None
    best: Summary
    second: Summary
    gap: Estimate  # best minus second, in the unit of the task's mean


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysis:
    """All numbers of a report.

    Attributes:
        report: What they were computed from.
        paired: The scores, arranged.
        methods: Methods of the rows, then those that only episodes or histories have: fixes the colours.
        tasks: The tasks, and None for their average if there are several.
        summaries: By method and task.
        comparisons: By method, baseline and task.
        feasibility: By method, task and constraint.
        leads: One a task where there are two methods.
    """

    report: ReportData
    paired: Paired
    methods: tuple[str, ...]
    tasks: tuple[str | None, ...]
    summaries: dict[tuple[str, str | None], Summary]
    comparisons: dict[tuple[str, str, str | None], Comparison]
    feasibility: dict[tuple[str, str, str | None], Feasibility]
    leads: tuple[Lead, ...]


def analyse(report: ReportData) -> Analysis:
    """Computes the statistics; raises ValueError as `benchmarks.statistics.summaries` does."""
    paired = pair(report.rows, report.metric)
    draws = draw(paired, report.bootstrap)
    summaries = summarise(report.rows, report.metric, report.bootstrap)
    comparisons = compare(report.rows, report.baselines, report.metric, report.bootstrap)
    others = [method for episode in report.episodes for method in episode.traces]
    tasks: tuple[str | None, ...] = tuple(dict.fromkeys(summary.task for summary in summaries))
    by_key = {(s.method, s.task): s for s in summaries}
    return Analysis(
        report=report,
        paired=paired,
        methods=tuple(dict.fromkeys([*paired.methods, *others, *report.histories])),
        tasks=tasks,
        summaries=by_key,
        comparisons={(c.method, c.baseline, c.task): c for c in comparisons},
        feasibility={(f.method, f.task, f.constraint): f for f in feasibility(report.rows, report.bootstrap.level)},
        leads=tuple(_lead(paired, draws, by_key, task) for task in tasks if len(paired.methods) > 1),
    )


def _lead(paired: Paired, draws: Draws, summaries: Mapping[tuple[str, str | None], Summary], task: str | None) -> Lead:
    """The two best methods by share and their paired difference."""
    ranked = sorted((summaries[method, task] for method in paired.methods), key=lambda summary: -summary.share.value)
    scored = paired if task is not None else paired.normalised()
    gap = difference(scored, ranked[0].method, ranked[1].method, draws, task)
    return Lead(task=task, best=ranked[0], second=ranked[1], gap=gap)
