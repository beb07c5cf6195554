"""From data sets to a trained bidder: the entry point of training."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from auction_env.data import TrajectoryData
from vamo import checkpoint as checkpoints
from vamo.agent import ReturnTable, VamoBidder
from vamo.alignment.sharing import choose
from vamo.config import Config
from vamo.examples.batch import Batch
from vamo.examples.episodes import Episodes
from vamo.examples.normalisation import normalisation
from vamo.examples.sampler import WindowSampler
from vamo.examples.sources import data_hash, task_of
from vamo.labels.relabel import relabel
from vamo.labels.response import Response
from vamo.model.losses import losses
from vamo.model.transformer import Vamo
from vamo.training.distributed import Processes
from vamo.training.history import Record
from vamo.training.loop import Trainer
from vamo.training.monitor import Monitor
from vamo.training.run_state import restore, state_of
from vamo.training.tensorboard import ScalarWriter

logger = logging.getLogger(__name__)

_TRAINING = "vamo-training"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """A finished run.

    Attributes:
        bidder: The trained agent, with the parameters that `config.train.select` asked for.
        snapshots: By the number of steps done, the agent at the stages that `config.train.snapshots` asked for.
        history: One record every `config.train.log_every` steps.
        targets: Names of the K targets, the order of the records' first axis.
        sources: Names of the I sources, the order of their second.
        best_loss: Lowest mean validation loss over the targets.
    """

    bidder: VamoBidder
    snapshots: dict[int, VamoBidder]
    history: list[Record]
    targets: tuple[str, ...]
    sources: tuple[str, ...]
    best_loss: float

    @property
    def returned(self) -> Record:
        """The record of the parameters that the bidder has."""
        if self.bidder.config.train.select == "last":
            return self.history[-1]
        return min(self.history, key=lambda record: record.mean_validation_loss)


def train(
    sources: Mapping[str, TrajectoryData],
    validation: Mapping[str, TrajectoryData],
    config: Config | None = None,
    *,
    targets: Sequence[str] | None = None,
    callback: Callable[[Record], None] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    log_dir: str | Path | None = None,
    device: torch.device | str = "cpu",
    processes: Processes | None = None,
    name: str | None = None,
) -> TrainResult:
    """Trains one model for all targets on all sources.

    Args:
        sources: Training trajectories by name, each of one task.
        validation: Held-out trajectories of the targets' own tasks by name.
        config: All settings; the method is `config.train.method`. The default one if not given.
        targets: Names of the targets, keys of `validation`; all of them by default. Method `single` needs
            each of them in `sources` too and uses no other source.
        callback: Gets every new record of the history, in the first process; show progress here.
        checkpoint: File of the run's state. If it exists the run goes on from it, to the same numbers as a
            run that was never interrupted.
        checkpoint_every: Steps between two writes of that file.
        log_dir: Directory for TensorBoard's event files, one point a record; needs the package tensorboard.
        device: Where to train; that of `processes` where they are given.
        processes: Those that train together (`vamo.training.distributed.joined`), each calling this with equal
            arguments. All get the same result; only the first one writes files.
        name: Label of the bidder; the method by default.

    Returns:
        The trained bidder and the history.

    Raises:
        ValueError: Unknown target, data that break a rule, or a checkpoint of another run.
        FloatingPointError: A loss or an alignment that is not finite.
        ProcessError: Another process failed, hangs, or trains something else.
    """
    processes = Processes(device=torch.device(device)) if processes is None else processes
    device = processes.device
    config = Config() if config is None else config
    targets = tuple(validation) if targets is None else tuple(targets)
    sources = _used_sources(sources, validation, targets, config)
    if checkpoint_every < 1:
        raise ValueError(f"`checkpoint_every` must be at least 1, found {checkpoint_every}")
    training, held_out = labelled(sources, validation, targets, config, device)
    pairs = [(k, i) for k in range(len(targets)) for i in range(len(training))]
    if config.train.method == "single":
        pairs = [(k, k) for k in range(len(targets))]
    tasks = {name: episodes.task for name, episodes in zip(targets, held_out, strict=True)}
    shared = choose(sources, training, tasks, config)
    if shared is not None:
        pairs = shared.pairs
    statistics = normalisation(training, [episodes.task for episodes in held_out], pairs)
    model = Vamo(config.model, statistics, seed=config.train.seed).to(device)
    trainer: Trainer[Batch] = Trainer(
        model,
        partial(losses, model),
        WindowSampler(training, held_out, pairs, config, None if shared is None else shared.chosen),
        pairs=pairs,
        sizes=[episodes.n_episodes for episodes in training],
        n_targets=len(targets),
        config=config,
        processes=processes,
        monitor=_monitor(targets, tuple(sources), config),
        given_weights=None if shared is None else shared.weights,
    )
    digest = data_hash(sources, {name: validation[name] for name in targets})
    described = {"config": config.to_dict(), "data_hash": digest}
    save = _saver(trainer, checkpoint, described)
    processes.check_equal("data, configuration and checkpoint", json.dumps([described, trainer.n_steps]))
    with _recorder(trainer, log_dir, targets, tuple(sources)) as write:
        trainer.run(_told(processes, write, callback), save, checkpoint_every)
    trainer.finish()
    tables = _return_tables(sources, validation, targets, config)

    def bidder_of(trained: Vamo) -> VamoBidder:
        label = config.train.method if name is None else name
        return VamoBidder(trained, config, tables, name=label, data_hash=digest)

    snapshots = {}
    for step, parameters in sorted(trainer.snapshots.items()):
        stage = Vamo(config.model, statistics).to(device)
        stage.load_state_dict({**stage.state_dict(), **parameters})
        snapshots[step] = bidder_of(stage)
    return TrainResult(
        bidder=bidder_of(model),
        snapshots=snapshots,
        history=trainer.history,
        targets=targets,
        sources=tuple(sources),
        best_loss=trainer.best_loss,
    )


def labelled(
    sources: Mapping[str, TrajectoryData],
    validation: Mapping[str, TrajectoryData],
    targets: tuple[str, ...],
    config: Config,
    device: torch.device | str = "cpu",
) -> tuple[list[Episodes], list[Episodes]]:
    """Training and validation episodes, with the response models that `data.response` asks for."""
    is_pooled = (config.data.action_label, config.data.response) == ("hindsight", "all")
    response = Response.fit(sources.values()) if is_pooled else None
    training = [Episodes(name, data, config, device, response=response) for name, data in sources.items()]
    held_out = [
        Episodes(f"{name} (validation)", validation[name], config, device, response=response) for name in targets
    ]
    return training, held_out


def _used_sources(
    sources: Mapping[str, TrajectoryData],
    validation: Mapping[str, TrajectoryData],
    targets: tuple[str, ...],
    config: Config,
) -> dict[str, TrajectoryData]:
    """The sources that the method learns from, in order; raises ValueError for missing data."""
    if not targets:
        raise ValueError("`targets` must name at least one task, found none")
    unknown = [name for name in targets if name not in validation]
    if unknown:
        raise ValueError(f"`targets` must be keys of `validation`, {sorted(validation)}, found {unknown}")
    if config.train.method == "single":
        missing = [name for name in targets if name not in sources]
        if missing:
            raise ValueError(f"method 'single' must find its targets in `sources`, found no {missing}")
        return {name: sources[name] for name in targets}
    if not sources:
        raise ValueError("`sources` must hold at least one data set, found none")
    return dict(sources)


def _return_tables(
    sources: Mapping[str, TrajectoryData],
    validation: Mapping[str, TrajectoryData],
    targets: tuple[str, ...],
    config: Config,
) -> list[ReturnTable]:
    """Returns of each target's own training episodes, or of its validation episodes if it has none."""
    tables = []
    for name in targets:
        data = sources.get(name, validation[name])
        task = task_of(name, validation[name])
        tables.append(ReturnTable.of(task, relabel(data, task, config.data.reward_signal).returns))
    return tables


def _monitor(targets: Sequence[str], sources: Sequence[str], config: Config) -> Monitor:
    """What warns of signs of trouble; one source alone is no such sign where it is asked for."""
    is_weighted = config.train.method == "vao" and config.weighting.kind != "top1"
    every = config.weighting.refresh_every
    return Monitor(targets, sources, refresh_every=every, is_weighted=is_weighted)


@contextmanager
def _recorder(
    trainer: Trainer[Batch], log_dir: str | Path | None, targets: Sequence[str], sources: Sequence[str]
) -> Iterator[Callable[[Record], None] | None]:
    """What writes records for TensorBoard, in the first process."""
    if log_dir is None or not trainer.processes.is_first:
        yield None
        return
    model, train, n_pairs = trainer.config.model, trainer.config.train, trainer.sources.n_step_pairs
    n_windows = train.batch_size // n_pairs * n_pairs
    amount = n_windows * model.context / model.n_ticks
    with ScalarWriter(log_dir, targets, sources, trajectories_per_step=amount, first_step=trainer.n_steps) as writer:
        yield writer.write


def _told(processes: Processes, *listeners: Callable[[Record], None] | None) -> Callable[[Record], None]:
    """A callback that tells all listeners, in the first process only."""

    def tell(record: Record) -> None:
        for listener in listeners:
            if listener is not None and processes.is_first:
                listener(record)

    return tell


def _saver(trainer: Trainer[Batch], path: str | Path | None, run: dict[str, Any]) -> Callable[[], None]:
    """What writes the run's state; first restores it where the file exists.

    Raises:
        ValueError: The file is no training checkpoint, or one of other data or another configuration.
    """
    if path is None:
        return lambda: None
    path = Path(path)
    if path.exists():
        tensors, record = checkpoints.read(path, _TRAINING)
        differing = [key for key, value in run.items() if record["run"].get(key) != value]
        if differing:
            raise ValueError(
                f"checkpoint {str(path)!r} must be of the same run, found other {differing}: delete it to start anew"
            )
        try:
            restore(trainer, tensors, record["trainer"])
        except (KeyError, TypeError, RuntimeError) as error:
            raise checkpoints.CheckpointError(f"{str(path)!r} must hold a whole run, found {error!r}") from error
        logger.info("goes on from step %d of %s", trainer.n_steps, path)

    def save() -> None:
        if not trainer.processes.is_first:
            return
        tensors, record = state_of(trainer)
        checkpoints.write(path, _TRAINING, tensors, {"run": run, "trainer": record})

    return save
