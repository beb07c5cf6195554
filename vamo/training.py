"""From data sets to a trained bidder: the entry point of training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from auction_env.data import TrajectoryData
from vamo import checkpoint as checkpoints
from vamo.agent import ReturnTable, VamoBidder
from vamo.config import Config
from vamo.dataset import Episodes, WindowSampler, data_hash, normalisation, task_of
from vamo.model import Batch, Vamo, losses
from vamo.relabel import relabel
from vamo.response import Response
from vamo.trainer import Record, Trainer

logger = logging.getLogger(__name__)

_TRAINING = "vamo-training"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """A finished run.

    Attributes:
        bidder: The trained agent, with the parameters that `config.train.select` asked for.
        history: One record every `config.train.log_every` steps.
        targets: Names of the K targets, the order of the records' first axis.
        sources: Names of the I sources, the order of their second.
        best_loss: Lowest mean validation loss over the targets.
    """

    bidder: VamoBidder
    history: list[Record]
    targets: tuple[str, ...]
    sources: tuple[str, ...]
    best_loss: float


def train(
    sources: Mapping[str, TrajectoryData],
    validation: Mapping[str, TrajectoryData],
    config: Config | None = None,
    *,
    targets: Sequence[str] | None = None,
    callback: Callable[[Record], None] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    device: torch.device | str = "cpu",
    name: str | None = None,
) -> TrainResult:
    """Trains one model for all targets on all sources.

    Args:
        sources: Training trajectories by name, each of one task.
        validation: Held-out trajectories of the targets' own tasks by name.
        config: All settings; the method is `config.train.method`. The default one if not given.
        targets: Names of the targets, keys of `validation`; all of them by default. Method `single` needs
            each of them in `sources` too and uses no other source.
        callback: Gets every new record of the history; show progress here.
        checkpoint: File of the run's state. If it exists the run goes on from it, to the same numbers as a
            run that was never interrupted.
        checkpoint_every: Steps between two writes of that file.
        device: Where to train.
        name: Label of the bidder; the method by default.

    Returns:
        The trained bidder and the history.

    Raises:
        ValueError: Unknown target, data that break a rule, or a checkpoint of another run.
        FloatingPointError: A loss or an alignment that is not finite.
    """
    config = Config() if config is None else config
    targets = tuple(validation) if targets is None else tuple(targets)
    sources = _used_sources(sources, validation, targets, config)
    if checkpoint_every < 1:
        raise ValueError(f"`checkpoint_every` must be at least 1, found {checkpoint_every}")
    response = Response.fit(sources.values()) if config.data.action_label == "hindsight" else None
    training = [Episodes(name, data, config, device, response=response) for name, data in sources.items()]
    held_out = [
        Episodes(f"{name} (validation)", validation[name], config, device, response=response) for name in targets
    ]
    pairs = [(k, i) for k in range(len(targets)) for i in range(len(training))]
    if config.train.method == "single":
        pairs = [(k, k) for k in range(len(targets))]
    statistics = normalisation(training, [episodes.task for episodes in held_out], pairs)
    model = Vamo(config.model, statistics, seed=config.train.seed).to(device)
    trainer: Trainer[Batch] = Trainer(
        model,
        partial(losses, model),
        WindowSampler(training, held_out, pairs, config),
        pairs=pairs,
        sizes=[episodes.n_episodes for episodes in training],
        n_targets=len(targets),
        config=config,
    )
    digest = data_hash(sources, {name: validation[name] for name in targets})
    save = _saver(trainer, checkpoint, {"config": config.to_dict(), "data_hash": digest})
    trainer.run(callback, save, checkpoint_every)
    trainer.finish()
    bidder = VamoBidder(
        model,
        config,
        _return_tables(sources, validation, targets, config),
        name=config.train.method if name is None else name,
        data_hash=digest,
    )
    return TrainResult(
        bidder=bidder,
        history=trainer.history,
        targets=targets,
        sources=tuple(sources),
        best_loss=trainer.best_loss,
    )


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
            raise ValueError(f"checkpoint {str(path)!r} must be of the same run, found other {differing}")
        trainer.restore(tensors, record["trainer"])
        logger.info("goes on from step %d of %s", trainer.n_steps, path)

    def save() -> None:
        tensors, record = trainer.state()
        checkpoints.write(path, _TRAINING, tensors, {"run": run, "trainer": record})

    return save
