"""`vamo train`: from data sets or a market to the file of a trained agent, whichever agent of the registry it is.

It imports what it needs only when it runs.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from benchmarks.commands import MARKET_OPTIONS, Commands, add_market, data_sets, read_market, task_or_name
from benchmarks.console import console, progress_bar

if TYPE_CHECKING:
    from agents.learning.learner import Learner, Tasks, TrainResult
    from agents.learning.progress import Record
    from auction_env.data import TrajectoryData
    from vamo import TrainResult as VamoResult

    Sources = dict[str, TrajectoryData]

_MOST_SOURCES = 4  # of a target, in the table


def add(commands: Commands) -> None:
    """Adds the command."""
    trainer = commands.add_parser(
        "train",
        help="train an agent, from logs or by playing in a market",
        description="Trains an agent of the registry. From logs: on the training part of each data set, validated on"
        " its validation part (vamo data split). In a market: by playing. Killed and started again with the same"
        " arguments, it goes on where it was. VAMO in several processes:"
        " torchrun --nproc-per-node N -m benchmarks.cli train ...",
        add_help=False,
    )
    option = trainer.add_argument
    option("-h", "--help", action=_Help, nargs=0, help="show this text and the agents that learn")
    option("--agent", default="vamo", metavar="NAME", help="default: %(default)s")
    option("--data", type=Path, action="append", default=[], metavar="DIR", help="data set or family; repeatable")
    option("--task", nargs="+", metavar="NAME", help="what is learned, by name or FILE.json; default: all of the data")
    option("--out", type=Path, required=True, metavar="FILE", help="file of the trained agent")
    option("--settings", type=Path, metavar="FILE", help="settings over the agent's own, TOML or JSON")
    option("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting (SECTION.KEY=VALUE); repeatable")
    option("--seed", type=int, metavar="S", help="default: that of the settings, or 0")
    option("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    add_market(trainer)
    option("--advertiser", type=int, metavar="I", help="who learns in the market; default: drawn for each episode")
    option("--save-every", type=int, metavar="N", help="steps between two states of the run")
    option("--log-dir", type=Path, metavar="DIR", help="write scalars for TensorBoard to DIR")
    option("--force", action="store_true", help="replace a finished file")
    trainer.set_defaults(run=_run, kept=_kept)


class _Help(argparse.Action):
    """Looks the agents up only when the help is shown."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> None:
        from agents.registry import entries

        learned = [entry for entry in entries().values() if entry.learner]
        logs, market = (", ".join(e.name for e in learned if e.kind == kind) for kind in ("offline", "online"))
        parser.epilog = f"From logs (--data): {logs}. In a market (--task): {market}."
        parser.print_help()
        parser.exit()


def _run(arguments: argparse.Namespace) -> None:
    from agents import registry
    from agents.learning.progress import words
    from agents.learning.run_state import check_out

    learner, out = registry.learner(arguments.agent), arguments.out
    is_first = os.environ.get("RANK", "0") == "0"  # of the processes of torchrun, which show one bar and one table
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not learner.is_distributed:
        raise ValueError(f"agent {learner.name!r} must train in one process, found {os.environ['WORLD_SIZE']}")
    settings = learner.settings(arguments.settings, arguments.set)
    check_out(out, force=arguments.force)
    wanted = arguments.task and [task_or_name(text) for text in arguments.task]
    experience, validation = _experience(learner, arguments, wanted)
    started = time.perf_counter()
    with progress_bar(learner.name, None, "steps", label_width=8, is_shown=is_first) as bar:

        def tell(step: int, n_steps: int, record: Record | None) -> None:
            bar.update(step, n_steps)
            if record is not None:
                bar.note(words(record))

        result = learner.train(
            experience,
            task=wanted,
            validation=validation,
            settings=settings,
            seed=arguments.seed,
            device=arguments.device,
            out=out,
            force=arguments.force,
            save_every=arguments.save_every,
            progress=tell,
            log_dir=arguments.log_dir,
        )
    if is_first:
        _report(learner, result, experience, time.perf_counter() - started)
        console.print(f"trained agent: {out}", soft_wrap=True)


def _kept(arguments: argparse.Namespace) -> str:
    """The steps of a stopped training that its next call need not do again."""
    from agents.learning.run_state import state_path

    state = state_path(arguments.out)
    return f"the steps up to the last state, {state}," if state.exists() else ""


def _experience(learner: Learner, arguments: argparse.Namespace, wanted: Tasks) -> tuple[Any, Any]:
    """What the agent learns from, and held-out logs where it validates on some."""
    if learner.experience == "logs":
        for name in (*MARKET_OPTIONS, "advertiser"):
            if getattr(arguments, name) is not None:
                raise ValueError(f"`--{name}` must not be given for agent {learner.name!r}, which learns from logs")
        if not arguments.data:
            raise ValueError(f"`--data` must be given for agent {learner.name!r}, which learns from logs")
        sources, validation = read_logs(arguments.data, needs_validation=learner.needs_validation)
        return sources, validation if learner.needs_validation else None
    from agents.learning.learner import MarketExperience, one_task
    from auction_env.market.params import MarketParams

    if arguments.data:
        raise ValueError(f"`--data` must not be given for agent {learner.name!r}, which learns in a market")
    task = one_task(learner.name, wanted)
    market = read_market(arguments, funnel=MarketParams.for_task(task).funnel)
    return MarketExperience(**market._asdict(), advertiser=arguments.advertiser), None


def read_logs(directories: Iterable[Path], *, needs_validation: bool) -> tuple[Sources, Sources]:
    """Training and validation trajectories by task, of all data sets; a family's directory counts as its members.

    A data set without a split is training data as a whole, for an agent that needs no validation. What a log lacks is
    estimated from its training part where that can be done, and said.

    Raises:
        ValueError: A data set without the split that is needed, or a task that two data sets have.
        OSError: No data set.
    """
    from agents.labels.completion import Completion, describe
    from auction_env import data
    from auction_env.data.splits import TRAIN, VALIDATION
    from vamo import by_task

    found: dict[str, tuple[Path, TrajectoryData]] = {}
    validation: Sources = {}
    for directory in (member for given in directories for member in data_sets(given)):
        is_split = data.read_manifest(directory).splits is not None
        if needs_validation and not is_split:
            raise ValueError(f"{directory} must be split into training and validation: vamo data split {directory}")
        logs = data.load(directory, split=TRAIN) if is_split else data.load(directory)
        completion = Completion.fit(logs) if logs.missing else None
        if completion is not None:
            logs = completion.apply(logs)
            console.print(f"{directory}: {describe(logs.metadata)}", markup=False, highlight=False, soft_wrap=True)
        for name, log in by_task(logs).items():
            if name in found:
                raise ValueError(f"task {name!r} must be in one data set, found it in {found[name][0]} and {directory}")
            found[name] = (directory, log)
        if needs_validation:
            held_out = data.load(directory, split=VALIDATION)
            validation |= by_task(held_out if completion is None else completion.apply(held_out))
    return {name: log for name, (_, log) in found.items()}, validation


def _report(learner: Learner, result: TrainResult[Any, Any], experience: Any, seconds: float) -> None:
    table = Table("what", "value", title=f"{learner.name} for {_tasks(result)}", title_justify="left", box=box.SIMPLE)
    rows = [("steps", f"{result.history[-1].step:,}"), ("seconds of this call", f"{seconds:.1f}")]
    if isinstance(experience, dict):
        rows.insert(0, ("trajectories", f"{sum(log.n_episodes for log in experience.values()):,}"))
    if result.best is not None:
        rows.append(("best after step", f"{result.best.step:,}"))
    label = "last" if result.best is None else "best"
    shown: Record = result.history[-1] if result.best is None else result.best
    rows += [(f"{label} {name}", f"{value:.4g}") for name, value in shown.numbers.items()]
    chosen = getattr(result, "chosen", None)
    if chosen is not None:
        rows.append((f"chosen of {chosen.n_candidates} by estimate", f"step {chosen.step:,}, {chosen.condition}"))
        rows += [(f"estimated score, {name}", f"{score:.4g}") for name, score in chosen.scores.items()]
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if learner.name == "vamo":
        _report_targets(result, experience)  # type: ignore[arg-type]  # that of VAMO, by its name


def _tasks(result: TrainResult[Any, Any]) -> str:
    from auction_env.tasks import Task

    names = [Task.from_json(text).name for text in result.bidder.to_file().tasks]
    return names[0] if len(names) == 1 else f"{len(names)} tasks"


def _report_targets(result: VamoResult, sources: Sources) -> None:
    record = result.returned
    title = f"Validation losses, effective sources and largest weights after step {record.step:,}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for name in ("target", "episodes", "loss", "sources", "weights"):
        table.add_column(name, justify="left" if name in ("target", "weights") else "right", overflow="fold")
    for k, name in enumerate(result.targets):
        n = sources[name].n_episodes if name in sources else 0
        values = f"{n:,}", f"{record.validation_loss[k]:.4f}", f"{record.effective_sources[k]:.2f}"
        table.add_row(name, *values, _largest(record.weights[k], result.sources))
    console.print(table)
    n_warnings = sum(len(line.warnings) for line in result.history)
    if n_warnings:
        console.print(f"warnings: {n_warnings}, see above")


def _largest(weights: Sequence[float], sources: Sequence[str]) -> str:
    order = sorted(zip(weights, sources, strict=True), key=lambda pair: -pair[0])
    return "\n".join(f"{weight:.2f} {name}" for weight, name in order[:_MOST_SOURCES])
