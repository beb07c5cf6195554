"""`vamo train`: from data sets on disk to a checkpoint, with a progress bar and a table at the end."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from agents.families.storage import FAMILY_FILE, read_family
from auction_env import data
from auction_env.data import TrajectoryData
from auction_env.data.splits import TRAIN, VALIDATION
from benchmarks.console import console, progress_bar
from vamo import Config, Record, TrainResult, by_task, override, save, train
from vamo.training.distributed import joined

Sources = dict[str, TrajectoryData]

_MOST_SOURCES = 4  # of a target, in the table


def run(
    directories: Sequence[Path],
    out: Path,
    *,
    config: Config,
    targets: Sequence[str] | None = None,
    log_dir: Path | None = None,
    device: str = "cpu",
    checkpoint_every: int = 100,
    force: bool = False,
) -> None:
    """Trains, saves the bidder and prints what came out; every process of torchrun calls this.

    The state of the run lies beside `out` until it is done: killed and started again with the same arguments the
    run goes on where it was.

    Raises:
        FileExistsError: `out` exists and `force` is False.
        ValueError: Bad settings or data.
        OSError: A data set that cannot be read, another process that failed.
    """
    if out.exists() and not force:
        raise FileExistsError(f"{out} must not exist unless --force is given, found a file")
    sources, validation = load(directories)
    state = out.with_name(f"{out.name}.run")
    with joined(device) as processes:
        if processes.is_first:
            out.parent.mkdir(parents=True, exist_ok=True)
        processes.wait()
        with progress_bar("training", config.train.steps, None, label_width=8, is_shown=processes.is_first) as bar:

            def tell(record: Record) -> None:
                bar.update(record.step, config.train.steps)
                bar.note(progress_note(record))

            result = train(
                sources,
                validation,
                config,
                targets=targets,
                callback=tell,
                checkpoint=state,
                checkpoint_every=checkpoint_every,
                log_dir=log_dir,
                processes=processes,
            )
        if processes.is_first:
            save(out, result.bidder)
            state.unlink()
            _report(result, sources, out)


def load(directories: Iterable[Path]) -> tuple[Sources, Sources]:
    """Training and validation trajectories by task, of all data sets; a family's directory counts as its members.

    Raises:
        ValueError: A data set without a split, or a task that two data sets have.
        OSError: No data set.
    """
    found: dict[str, tuple[Path, TrajectoryData]] = {}
    validation: Sources = {}
    for directory in (member for given in directories for member in _members(given)):
        splits = data.read_manifest(directory).splits
        if splits is None:
            raise ValueError(f"{directory} must be split into training and validation: vamo data split {directory}")
        for name, log in by_task(data.load(directory, split=TRAIN)).items():
            if name in found:
                raise ValueError(f"task {name!r} must be in one data set, found it in {found[name][0]} and {directory}")
            found[name] = (directory, log)
        validation |= by_task(data.load(directory, split=VALIDATION))
    return {name: log for name, (_, log) in found.items()}, validation


def _members(directory: Path) -> list[Path]:
    """The data sets at a directory: those of a family, or itself."""
    if not (directory / FAMILY_FILE).is_file():
        return [directory]
    return [directory / name for name in read_family(directory).names]


def read_config(path: Path | None, assignments: Iterable[str]) -> Config:
    """The settings of a TOML or JSON file, and the assignments over them.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Neither TOML nor JSON, an unknown key, or a value that breaks a rule.
    """
    record: Mapping[str, Any] = {}
    if path is not None:
        readers = {".toml": tomllib.loads, ".json": json.loads}
        if path.suffix not in readers:
            raise ValueError(f"`--config` must be a .toml or a .json file, found {str(path)!r}")
        try:
            record = readers[path.suffix](path.read_text(encoding="utf-8"))
        except ValueError as error:  # of TOML, JSON or UTF-8
            raise ValueError(f"{path} must be a {path.suffix[1:].upper()} file: {error}") from error
    return override(Config.from_dict(record), assignments)


def progress_note(record: Record) -> str:
    """What stands beside the progress bar: validation loss, effective sources and rate."""
    sources = sum(record.effective_sources) / len(record.effective_sources)
    return f"loss {record.mean_validation_loss:.4f}  sources {sources:.1f}  {1 / record.step_time:,.1f} steps/s"


def _report(result: TrainResult, sources: Sources, out: Path) -> None:
    record = result.returned
    title = f"Validation losses, effective sources and largest weights after step {record.step:,}"
    table = Table(title=title, title_justify="left")
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
    console.print(f"checkpoint: {out}", soft_wrap=True)


def _largest(weights: Sequence[float], sources: Sequence[str]) -> str:
    order = sorted(zip(weights, sources, strict=True), key=lambda pair: -pair[0])
    return "\n".join(f"{weight:.2f} {name}" for weight, name in order[:_MOST_SOURCES])
