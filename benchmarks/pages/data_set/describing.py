"""What is in a trajectory data set: sizes, tasks, policies, ranges, returns, constraints and actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from auction_env import data
from auction_env.data import COLUMNS, Manifest, TrajectoryData
from auction_env.tasks import Task
from benchmarks.pages.text import number, percent

Float = NDArray[np.float64]

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
_GROUPS_A_TABLE = 4
_MOST_POLICIES = 12  # shown; "unknown" stands for logs that do not say


class Outcome(NamedTuple):
    """Score and, by constraint (the budget aside), realised over limit; (n_trajectories,) each."""

    score: Float
    ratios: dict[str, Float]


@dataclass(frozen=True)
class Group:
    """The trajectories of a task, or of one of its policies; arrays are (n_trajectories,).

    Attributes:
        objective: Of the task, as the log realised it.
        spent: Share of the budget; NaN where the log does not know the whole cost.
        sampled, expected: Outcomes with sampled and with expected conversions; NaN there, too.
        action: (n_ticks_with_a_bid,) multiplier over the worth of a unit of the objective.
        idle: Share of the ticks without a bid.
    """

    task: Task
    policy: str
    objective: Float
    spent: Float
    sampled: Outcome
    expected: Outcome
    action: Float
    idle: float

    @property
    def n(self) -> int:
        return len(self.objective)


@dataclass(frozen=True)
class Description:
    """What `describe` finds.

    Attributes:
        path: The data set.
        manifest: Its manifest.
        n_bytes: Of the shards.
        sizes: Numbers of things by name.
        tasks: A group a task.
        policies: A group a task and policy; empty if the log names no policies.
        ranges: Column -> quantiles (`QUANTILES`) over the rows; None where nothing is recorded.
        pace: Task name -> (n_ticks + 1,) mean share of the budget spent before each tick.
    """

    path: Path
    manifest: Manifest
    n_bytes: int
    sizes: dict[str, int]
    tasks: tuple[Group, ...]
    policies: tuple[Group, ...]
    ranges: dict[str, Float | None]
    pace: dict[str, Float]


def describe(directory: Path) -> Description:
    """Reads a data set into memory and describes it; the errors are those of `auction_env.data.load`."""
    manifest, log = data.read_manifest(directory), data.load(directory)
    first = log.episode_starts[:-1]
    policy = np.array(log.labels["policy"])[log.policy[first]]
    task_of = log.task[first]
    tasks, policies, pace = [], [], {}
    for code in np.unique(task_of):
        task = log.tasks[code]
        episodes = log.select(np.flatnonzero(task_of == code))
        tasks.append(_group(task, "all", episodes))
        pace[task.name] = _pace(episodes)
        for name in np.unique(policy[task_of == code])[:_MOST_POLICIES]:
            if name:
                chosen = np.flatnonzero((task_of == code) & (policy == name))
                policies.append(_group(task, str(name), log.select(chosen)))
    sizes = {
        "trajectories": log.n_episodes,
        "ticks": len(log),
        "periods": len(np.unique(log.period)),
        "advertisers": len(np.unique(log.advertiser)),
        "tasks": len(tasks),
        "shards": len(manifest.shards),
    }
    n_unknown = int(np.isnan(log.totals().cost).sum())
    if n_unknown:
        sizes["trajectories whose whole cost is unknown"] = n_unknown
    numbers = [column.name for column in COLUMNS if column.dtype == "float64"]
    return Description(
        path=directory,
        manifest=manifest,
        n_bytes=sum(shard.n_bytes for shard in manifest.shards),
        sizes=sizes,
        tasks=tuple(tasks),
        policies=tuple(policies),
        ranges={name: _quantiles(log[name]) for name in numbers},
        pace=pace,
    )


def _group(task: Task, policy: str, log: TrajectoryData) -> Group:
    starts, totals = log.episode_starts[:-1], log.totals()
    targets = log.targets.at(starts)
    is_bid = log.action > 0

    def outcome(expected: bool) -> Outcome:
        ratios = task.ratios(totals, targets, expected=expected)
        kept = {name: ratio for name, ratio in ratios.items() if name != "budget"}
        return Outcome(task.score(totals, targets, expected=expected), kept)

    return Group(
        task=task,
        policy=policy,
        objective=task.reward(totals),
        spent=totals.cost / targets.budget,
        sampled=outcome(expected=False),
        expected=outcome(expected=True),
        action=log.action[is_bid] / log.base[is_bid],
        idle=float(1 - is_bid.mean()),
    )


def _pace(log: TrajectoryData) -> Float:
    """Mean share of the budget spent before each tick, and at the end; ticks that a log lacks spend nothing.

    Without the end where the log does not know what some last ticks cost.
    """
    n_ticks = int(log.tick.max()) + 1
    share = np.bincount(log.tick, np.nan_to_num(log.cost) / log.budget, n_ticks) / log.n_episodes
    return np.concatenate([[0.0], np.cumsum(share)])[: n_ticks if np.isnan(log.cost).any() else n_ticks + 1]


def _quantiles(values: Float) -> Float | None:
    recorded = values[np.isfinite(values)]
    return np.quantile(recorded, QUANTILES) if len(recorded) else None


def tables(found: Description) -> list[Table]:
    """The description for the terminal."""
    tasks = _groups("Tasks", found.tasks, has_policy=False)
    return [_sizes(found), *tasks, *_groups("Logging policies", found.policies, has_policy=True), _ranges(found)]


def size_rows(found: Description) -> dict[str, str]:
    """Names and values of what the whole data set has."""
    manifest = found.manifest
    rows = {name: f"{count:,}" for name, count in found.sizes.items()}
    rows |= {
        "megabytes": f"{found.n_bytes / 1e6:,.1f}",
        "schema version": str(manifest.schema_version),
        "written by version": manifest.code_version,
        "split": split_text(manifest),
    }
    return rows


def split_text(manifest: Manifest) -> str:
    """The split in a few words."""
    if manifest.splits is None:
        return "none"
    counts = ", ".join(f"{name} {n:,}" for name, n in manifest.splits["n_episodes"].items())
    kind = "last periods held out" if manifest.splits["contiguous"] else f"seed {manifest.splits['seed']}"
    return f"{counts} ({kind})"


def group_head(groups: Sequence[Group], *, has_policy: bool) -> list[str]:
    """Column names of `group_row`."""
    limits = constraint_names(groups)
    head = ["task", "policy"] if has_policy else ["task"]
    head += ["trajectories", "objective", "score", "score, expected", "spent"]
    head += [label for name in limits for label in (f"{name} kept", f"{name} kept, expected")]
    return [*head, "multiplier, 5 %", "multiplier, median", "multiplier, 95 %", "idle ticks"]


def group_row(group: Group, limits: Sequence[str], *, has_policy: bool) -> list[str]:
    """The numbers of a group; actions are over the worth of a unit."""
    row = [group.task.name, group.policy] if has_policy else [group.task.name]
    is_known = ~np.isnan(group.spent)
    means = (group.objective, group.sampled.score[is_known], group.expected.score[is_known])
    row += [f"{group.n:,}", *(number(_mean(values)) for values in means), percent(_mean(group.spent[is_known]))]
    for name in limits:
        for outcome in (group.sampled, group.expected):
            row.append(percent(_mean(outcome.ratios[name][is_known] <= 1)) if name in outcome.ratios else "–")
    if not len(group.action):
        return [*row, "–", "–", "–", percent(group.idle)]
    return [*row, *(number(x) for x in np.quantile(group.action, [0.05, 0.5, 0.95])), percent(group.idle)]


def _mean(values: NDArray[np.float64] | NDArray[np.bool_]) -> float:
    """NaN, which is shown as a dash, where there is nothing."""
    return float(np.mean(values)) if len(values) else float("nan")


def constraint_names(groups: Sequence[Group]) -> list[str]:
    """The constraints that any of the groups has."""
    return list(dict.fromkeys(name for group in groups for name in group.sampled.ratios))


def range_rows(found: Description) -> list[list[str]]:
    """A row a column of numbers: its name (s: state feature, y: requirement) and quantiles."""
    return [
        [
            name.replace("requirement_", "y: ").replace("feature_", "s: "),
            *(["not recorded"] + ["–"] * (len(QUANTILES) - 1) if q is None else map(_short, q)),
        ]
        for name, q in found.ranges.items()
    ]


def _short(x: float) -> str:
    return f"{x:.2g}" if abs(x) < 10 else f"{x:,.0f}"


def range_head() -> list[str]:
    """Column names of `range_rows`."""
    names = {0.0: "min", 0.5: "median", 1.0: "max"}
    return ["column", *(names.get(q, f"{100 * q:g} %") for q in QUANTILES)]


def _sizes(found: Description) -> Table:
    table = Table(title=str(found.path), show_header=False, title_justify="left")
    for name, value in size_rows(found).items():
        table.add_row(name, value)
    return table


def _groups(title: str, groups: Sequence[Group], *, has_policy: bool) -> list[Table]:
    """A column a group, a few to a table: there are more numbers of a group than fit side by side."""
    limits, out = constraint_names(groups), []
    for first in range(0, len(groups), _GROUPS_A_TABLE):
        chosen = groups[first : first + _GROUPS_A_TABLE]
        table = Table(title=title, title_justify="left", show_header=False)
        table.add_column(no_wrap=True)
        for _ in chosen:
            table.add_column(justify="right", overflow="fold")
        columns = [group_row(group, limits, has_policy=has_policy) for group in chosen]
        for name, *numbers in zip(group_head(groups, has_policy=has_policy), *columns, strict=True):
            table.add_row(name, *numbers)
        out.append(table)
    return out


def _ranges(found: Description) -> Table:
    table = Table(title="Ranges", title_justify="left")
    for index, name in enumerate(range_head()):
        table.add_column(name, justify="right" if index else "left", no_wrap=index == 0)
    for row in range_rows(found):
        table.add_row(*row)
    return table
