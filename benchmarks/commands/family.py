"""`vamo family`: a synthetic family of data-scarce tasks with its logs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import Commands, add_market, add_workers, read_market
from benchmarks.commands.warm_up import MARKET, prepare
from benchmarks.console import console, progress_bar

if TYPE_CHECKING:
    from rich.table import Table

    from agents.families.distances import Distance
    from agents.families.family import TaskFamily
    from agents.families.measurement import MeasuredHarm
    from agents.families.shift import Shift


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "family",
        help="make a synthetic family of data-scarce tasks and log its trajectories",
        description="Makes K related tasks with very unequal amounts of data, and records which source tasks help and"
        " which harm which target task.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets a data set a task")
    parser.add_argument("--tasks", type=int, default=6, metavar="K", help="2 to 128; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default: %(default)s")
    shift = "distance between groups of tasks: a level in [0, 1], or knobs as market=0.5,policy=1; default: %(default)s"
    parser.add_argument("--shift", default="0.5", metavar="X", help=shift)
    parser.add_argument("--most", type=int, default=5000, metavar="N", help="trajectories of the largest task")
    parser.add_argument("--fewest", type=int, default=20, metavar="N", help="trajectories of the smallest task")
    parser.add_argument("--groups", type=int, metavar="G", help="default: half the tasks")
    harms = "harm of the logs: none, harm/v1, or kind=strength,kind=strength@share,...; default: %(default)s"
    parser.add_argument("--harms", default="none", metavar="H", help=harms)
    parser.add_argument(
        "--measure", action="store_true", help="play the market to measure what each harm costs; kept in DIR"
    )
    add_market(parser)
    for name in ("validation", "test"):
        parser.add_argument(f"--{name}", type=int, default=50, metavar="N", help="trajectories of each task")
    add_workers(parser)
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.set_defaults(run=_run, kept="finished data sets and blocks")


def _run(arguments: argparse.Namespace) -> None:
    from agents import collect_family, data_distance, load_family, make_task_family, parse_harms

    family = make_task_family(
        arguments.tasks,
        arguments.seed,
        parse_shift(arguments.shift),
        (arguments.most, arguments.fewest),
        n_groups=arguments.groups,
        harms=parse_harms(arguments.harms),
        **read_market(arguments)._asdict(),
    )
    prepare(MARKET)
    n_held_out = arguments.validation + arguments.test
    n = sum(member.n_trajectories + n_held_out for member in family.members)
    with progress_bar(f"collecting {len(family)} tasks", n, "traj") as bar:
        collect_family(
            family,
            arguments.out,
            n_validation=arguments.validation,
            n_test=arguments.test,
            n_workers=arguments.workers,
            ray=arguments.ray,
            force=arguments.force,
            progress=bar.advance,
        )
    held_out = load_family(arguments.out, "validation")  # as many of every task, so that distances compare
    first = held_out[family.names[0]]
    distances = {name: data_distance(first, data) for name, data in held_out.items()}
    for table in family_tables(family, distances):
        console.print(table)
    if arguments.measure:
        console.print(measured_table(family, measured(arguments.out, force=arguments.force)))
    console.print(f"logs, splits and family.json: {arguments.out}")


def parse_shift(text: str) -> Shift:
    """A level for all knobs ("0.5"), or some knobs by name ("market=0.5,policy=1"); the others are 0.

    Raises:
        ValueError: An unknown knob or a level out of range; it is named.
    """
    from agents.families.shift import Shift

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


def family_tables(family: TaskFamily, distances: dict[str, Distance]) -> list[Table]:
    """What the family is and how far its tasks lie apart, a row a task; the page of the family says more."""
    from rich import box
    from rich.table import Table

    from agents.families.distances import Distance

    tasks, apart = (
        Table(title=title, box=box.SIMPLE, title_justify="left")
        for title in (f"{len(family)} tasks", "distance from the first task (validation data)")
    )
    tasks.add_column("task", no_wrap=True)
    tasks.add_column("harm", overflow="fold")
    for name in ("group", "logs", "sound", "helpful sources", "harmful sources"):
        tasks.add_column(name, justify="right")
    apart.add_column("task")
    for name in Distance._fields:
        apart.add_column(name, justify="right")
    for member, relations in zip(family.members, family.relations, strict=True):
        n_sound = int(family.sound_episodes(member.name).sum())
        counts = (member.n_trajectories, n_sound, int((relations > 0).sum()) - 1, int((relations < 0).sum()))
        about = (member.name, str(member.harm or ""), str(member.group))
        tasks.add_row(*about, *(f"{count:,}" for count in counts))
        apart.add_row(member.name, *(f"{value:.2f}" for value in distances[member.name]))
    return [tasks, apart]


def measured(directory: Path, *, force: bool = False) -> MeasuredHarm:
    """The measured harm of a family, which is kept beside it; `force` measures it again."""
    from agents import measure_harm, read_family, read_harm, save_harm

    known = None if force else read_harm(directory)
    if known is not None:
        return known
    with progress_bar("measuring harm", None, "episodes") as bar:
        found = measure_harm(read_family(directory), progress=bar.advance)
    save_harm(directory, found)
    return found


def measured_table(family: TaskFamily, found: MeasuredHarm) -> Table:
    """What the harm of each harmed source (column) costs each target (row), as a share of the target's score."""
    from rich.table import Table

    harmed, mean = [i for i, member in enumerate(family.members) if member.is_harmful], found.mean
    table = Table(title="share of the score that a source's harm costs a target (best constants)")
    table.add_column("target", overflow="fold")
    for i in harmed:
        table.add_column(f"{family.names[i]}\n{family.members[i].harm}", justify="right")
    for k, name in enumerate(family.names):
        table.add_row(name, *(f"{mean[k, i]:.3f}" for i in harmed))
    return table
