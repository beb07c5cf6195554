"""Tasks: what an advertiser wants (objective) and what limits it (constraints).

A task names an objective and the constraints that bind it; the numbers behind a constraint come from
the advertiser (every advertiser has a budget and a target CPA) unless the task fixes them. So one task
serves all advertisers of a market, and the requirement vector y tells a model which numbers apply.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]

OBJECTIVES = ("conversions", "value")
"""`conversions`: sampled conversions of exposed impressions. `value`: the sum of their predicted values
(expected or "continuous" conversions: the same expectation, far less noise)."""

CONSTRAINT_KINDS = ("cpa",)
"""Constraints beside the budget, which every task has. `cpa`: cost per conversion."""

REQUIREMENT_NAMES = ("budget", "cpa_limit", "has_cpa_limit")
"""Layout of the requirement vector y. A limit that does not apply is 0 and its mask `has_*` is 0, so that
an irrelevant constraint never leaks its number into a model (METHOD.md, relabelling)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A limit on a realised ratio of the episode.

    Attributes:
        kind: One of `CONSTRAINT_KINDS`.
        scale: The limit as a multiple of the advertiser's own target; used when `limit` is None.
        limit: An absolute limit, the same for every advertiser; currency per conversion for `cpa`.
    """

    kind: Literal["cpa"]
    scale: float = 1.0  # multiple of the advertiser's target CPA
    limit: float | None = None  # currency per conversion

    def __post_init__(self) -> None:
        if self.kind not in CONSTRAINT_KINDS:
            raise ValueError(f"`kind` must be one of {CONSTRAINT_KINDS}, found {self.kind!r}")
        for name in ("scale", "limit"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise ValueError(f"`{name}` of constraint {self.kind!r} must be positive, found {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An objective under a budget and further constraints.

    The score of an episode is AuctionNet's: the objective times, for every constraint,
    min(1, limit / realised) ** beta (arXiv 2412.10798, section 3; beta = 2).

    Attributes:
        name: Label of the task in logs and tables.
        objective: One of `OBJECTIVES`.
        constraints: Constraints beside the budget, at most one of a kind.
        beta: Exponent of the penalty.
    """

    name: str
    objective: Literal["conversions", "value"] = "conversions"
    constraints: tuple[Constraint, ...] = ()
    beta: float = 2.0

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("`name` of a task must not be empty")
        if self.objective not in OBJECTIVES:
            raise ValueError(f"`objective` must be one of {OBJECTIVES}, found {self.objective!r}")
        kinds = [constraint.kind for constraint in self.constraints]
        if len(kinds) != len(set(kinds)):
            raise ValueError(f"`constraints` must hold at most one of a kind, found {kinds}")
        if not (np.isfinite(self.beta) and self.beta >= 0):
            raise ValueError(f"`beta` must be finite and not negative, found {self.beta}")

    def limits(self, budget: ArrayLike, cpa_target: ArrayLike) -> dict[str, Float]:
        """The limit of every constraint, by name, for advertisers with these budgets and target CPAs."""
        budget, cpa_target = np.broadcast_arrays(np.asarray(budget, np.float64), np.asarray(cpa_target, np.float64))
        limits: dict[str, Float] = {"budget": budget.copy()}
        for constraint in self.constraints:
            if constraint.limit is None:
                limits[constraint.kind] = constraint.scale * cpa_target
            else:
                limits[constraint.kind] = np.full(budget.shape, constraint.limit)
        return limits

    def requirements(self, budget: ArrayLike, cpa_target: ArrayLike) -> Float:
        """The requirement vector y, shape (..., len(REQUIREMENT_NAMES)), in currency units."""
        limits = self.limits(budget, cpa_target)
        out = np.zeros((*limits["budget"].shape, len(REQUIREMENT_NAMES)))
        out[..., 0] = limits["budget"]
        if "cpa" in limits:
            out[..., 1] = limits["cpa"]
            out[..., 2] = 1.0
        return out

    def reward(self, *, conversions: ArrayLike, value: ArrayLike) -> Float:
        """The objective earned in a tick (or any span): same shape as the arguments."""
        chosen = conversions if self.objective == "conversions" else value
        return np.asarray(chosen, np.float64)

    def ratios(
        self, *, cost: ArrayLike, objective: ArrayLike, budget: ArrayLike, cpa_target: ArrayLike
    ) -> dict[str, Float]:
        """Realised over limit for each constraint of finished episodes: at most 1 is feasible.

        A CPA without any conversion is infinite if money was spent and 0 otherwise.
        """
        cost, objective = np.asarray(cost, np.float64), np.asarray(objective, np.float64)
        limits = self.limits(budget, cpa_target)
        ratios = {"budget": cost / limits["budget"]}
        if "cpa" in limits:
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios["cpa"] = np.where(cost > 0, cost / (objective * limits["cpa"]), 0.0)
        return ratios

    def score(self, *, cost: ArrayLike, objective: ArrayLike, budget: ArrayLike, cpa_target: ArrayLike) -> Float:
        """Score of finished episodes: objective x product of min(1, limit / realised) ** beta."""
        ratios = self.ratios(cost=cost, objective=objective, budget=budget, cpa_target=cpa_target)
        out = np.asarray(objective, np.float64)
        for ratio in ratios.values():
            out = out * np.maximum(ratio, 1.0) ** -self.beta
        return out

    def to_json(self) -> str:
        """One line of JSON, from which `Task.from_json` rebuilds an equal task."""
        constraints = [{"kind": c.kind, "scale": c.scale, "limit": c.limit} for c in self.constraints]
        record = {
            "name": self.name,
            "objective": self.objective,
            "constraints": constraints,
            "beta": self.beta,
        }
        return json.dumps(record, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Rebuilds a task; raises ValueError naming the unknown or missing key."""
        record: Mapping[str, Any] = json.loads(text)
        known = {"name", "objective", "constraints", "beta"}
        if not isinstance(record, dict) or set(record) != known:
            raise ValueError(f"a task's JSON must have exactly the keys {sorted(known)}, found {text!r}")
        constraints = tuple(Constraint(**constraint) for constraint in record["constraints"])
        return cls(
            name=record["name"],
            objective=record["objective"],
            constraints=constraints,
            beta=record["beta"],
        )


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(name="MaxConversions"),
        Task(name="TargetCPA", constraints=(Constraint(kind="cpa"),)),
    )
}
"""The registered tasks, by name."""


def get_task(task: str | Task) -> Task:
    """A registered task by name, or the task itself; raises ValueError that lists the known names."""
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise ValueError(f"`task` must be a Task or one of {sorted(TASKS)}, found {task!r}")
    return TASKS[task]
