"""Collects the logs of a task family with a progress bar and shows what was made; needs no torch."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from agents.families.distances import Distance, data_distance
from agents.families.family import Shift, TaskFamily
from agents.families.storage import collect_family, load_family
from benchmarks.console import progress_bar


def parse_shift(text: str) -> Shift:
    """A level for all knobs ("0.5"), or some knobs by name ("market=0.5,policy=1"); the others are 0.

    Raises:
        ValueError: An unknown knob or a level out of range; it is named.
    """
    try:
        return Shift.of(float(text))
    except ValueError as error:
        if "=" not in text:
            raise ValueError(f"`shift` must be a level in [0, 1] or knob=level pairs, found {text!r}") from error
    levels = {}
    for pair in text.split(","):
        name, _, level = pair.partition("=")
        if name not in Shift.__dataclass_fields__:
            raise ValueError(f"`shift` must name knobs of {sorted(Shift.__dataclass_fields__)}, found {name!r}")
        try:
            levels[name] = float(level)
        except ValueError as error:
            raise ValueError(f"`shift` must give {name!r} a level in [0, 1], found {level!r}") from error
    return Shift(**levels)


def collect(
    family: TaskFamily, out: Path, *, n_validation: int, n_test: int, n_workers: int, force: bool
) -> dict[str, Distance]:
    """Collects the family; returns each task's distance from the one with the most data."""
    n = sum(member.n_trajectories + n_validation + n_test for member in family.members)
    with progress_bar(f"collecting {len(family)} tasks", n, "traj") as bar:
        collect_family(
            family, out, n_validation=n_validation, n_test=n_test, n_workers=n_workers, force=force,
            progress=bar.advance,
        )  # fmt: skip
    held_out = load_family(out, "validation")  # as many of every task, so that distances compare
    first = held_out[family.names[0]]
    return {name: data_distance(first, data) for name, data in held_out.items()}


def family_tables(family: TaskFamily, distances: dict[str, Distance]) -> list[Table]:
    """What the family is and how far its tasks lie apart, a row a task."""
    tasks, apart = Table(title=f"{len(family)} tasks"), Table(title="distance from the first task (validation data)")
    for name in ("task", "policy"):
        tasks.add_column(name, overflow="fold")
    for name in ("group", "train", "helped by", "hurt by"):
        tasks.add_column(name, justify="right")
    apart.add_column("task")
    for name in Distance._fields:
        apart.add_column(name, justify="right")
    for member, truth in zip(family.members, family.relations, strict=True):
        counts = (member.n_trajectories, int((truth > 0).sum()) - 1, int((truth < 0).sum()))
        tasks.add_row(member.name, member.policy, str(member.group), *(f"{count:,}" for count in counts))
        apart.add_row(member.name, *(f"{value:.2f}" for value in distances[member.name]))
    return [tasks, apart]
