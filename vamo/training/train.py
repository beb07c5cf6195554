"""From data sets to a trained bidder: the entry point of training."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from agents.learning.checkpoint import AgentFile
from agents.learning.learner import Learner, Logs, Progress, Tasks, by_name
from agents.learning.learner import TrainResult as AnyResult
from agents.learning.run_state import RunFiles
from auction_env.data import TrajectoryData
from auction_env.tasks import Task
from vamo.agent import ReturnTable, VamoBidder
from vamo.alignment.sharing.rules import choose
from vamo.config import Config
from vamo.examples.batch import Batch
from vamo.examples.dagger import Dagger
from vamo.examples.episodes import Episodes
from vamo.examples.folds import Folds, with_validation
from vamo.examples.normalisation import normalisation
from vamo.examples.sampler import WindowSampler
from vamo.examples.sources import data_hash, task_of
from vamo.labels.relabel import relabel
from vamo.labels.response import Response
from vamo.model.losses import losses
from vamo.model.transformer import Vamo
from vamo.training.distributed import Processes, joined
from vamo.training.history import Record, best_of
from vamo.training.loop import Trainer, snapshot_steps
from vamo.training.monitor import Monitor
from vamo.training.run_state import restore, state_of
from vamo.training.tensorboard import ScalarWriter

SAVE_EVERY = 100  # steps between two states


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult(AnyResult[VamoBidder, Record]):
    """A finished run; the history has a record every `config.train.log_every` steps.

    Attributes:
        snapshots: By the number of steps done, the agent at the stages that `config.train.snapshots` asked for.
        targets: Names of the K targets, the order of the records' first axis.
        sources: Names of the I sources, the order of their second.
    """

    snapshots: dict[int, VamoBidder]
    targets: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def best_loss(self) -> float:
        """Lowest mean validation loss over the targets."""
        return best_of(self.history).mean_validation_loss

    @property
    def returned(self) -> Record:
        """The record of the parameters that the bidder has."""
        return self.history[-1] if self.bidder.config.train.select == "last" else best_of(self.history)


class VamoLearner(Learner):
    """VAMO by its name in the registry; `task` names the targets."""

    experience = "logs"
    needs_validation = True
    is_distributed = True

    def defaults(self) -> Config:
        """See `Learner`."""
        return Config()

    def restore(self, file: AgentFile, device: str) -> VamoBidder:
        """See `Learner`."""
        return VamoBidder.from_file(file, device)

    def load(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        device: str = "cpu",
        target_return: float | None = None,
        quantile: float | None = None,
        budget_ratio: float | None = None,
        limit_ratio: float | None = None,
    ) -> VamoBidder:
        """See `Learner`; what it is conditioned on as in `VamoBidder.conditioned_on`."""
        bidder: VamoBidder = super().load(path, name=name, device=device)
        return bidder.conditioned_on(
            target_return=target_return, quantile=quantile, budget_ratio=budget_ratio, limit_ratio=limit_ratio
        )

    def train(
        self,
        experience: Logs,
        *,
        task: Tasks = None,
        validation: Logs | None = None,
        settings: Config | None = None,
        seed: int | None = None,
        device: str = "cpu",
        out: Path | str | None = None,
        force: bool = False,
        save_every: int | None = None,
        progress: Progress | None = None,
        log_dir: Path | None = None,
    ) -> TrainResult:
        """See `Learner` and `train`; the processes of torchrun train together."""
        if validation is None:
            raise ValueError(f"`validation` must be given for agent {self.name!r}, found none")
        targets = None
        if task is not None:
            given = [task] if isinstance(task, Task | str) else task
            targets = [one.name if isinstance(one, Task) else one for one in given]
        with joined(device) as processes:
            return train(
                by_name(experience),
                by_name(validation),
                settings,
                targets=targets,
                seed=seed,
                out=out,
                force=force,
                save_every=SAVE_EVERY if save_every is None else save_every,
                progress=progress,
                log_dir=log_dir,
                processes=processes,
            )


def train(
    sources: Mapping[str, TrajectoryData],
    validation: Mapping[str, TrajectoryData],
    settings: Config | None = None,
    *,
    targets: Sequence[str] | None = None,
    seed: int | None = None,
    device: torch.device | str = "cpu",
    out: Path | str | None = None,
    force: bool = False,
    save_every: int = SAVE_EVERY,
    progress: Progress | None = None,
    log_dir: Path | None = None,
    processes: Processes | None = None,
    name: str | None = None,
) -> TrainResult:
    """Trains one model for all targets on all sources.

    Args:
        sources: Training trajectories by name, each of one task.
        validation: Held-out trajectories of the targets' own tasks by name.
        settings: All settings; the method is `settings.train.method`. The default ones if not given.
        targets: Names of the targets, keys of `validation`; all of them by default. Method `single` needs
            each of them in `sources` too and uses no other source.
        seed: Of everything that is drawn; None is `settings.train.seed`.
        device: Where to train; that of `processes` where they are given.
        out: File of the trained agent. The state of the run lies beside it (`OUT.run`) until it is done; if it is
            there, the run goes on from it, to the same numbers as a run that was never interrupted.
        force: Whether a finished `out` is replaced.
        save_every: Steps between two states.
        progress: Called with every new record of the history, in the first process.
        log_dir: Directory for TensorBoard's event files, one point a record; needs the package tensorboard.
        processes: Those that train together (`vamo.training.distributed.joined`), each calling this with equal
            arguments. All get the same result; only the first one writes files.
        name: Label of the bidder; the method by default.

    Returns:
        The trained bidder and the history.

    Raises:
        FileExistsError: `out` is finished and `force` is False.
        ValueError: Unknown target, data that break a rule, or the state of another run beside `out`.
        FloatingPointError: A loss or an alignment that is not finite.
        ProcessError: Another process failed, hangs, or trains something else.
    """
    processes = Processes(device=torch.device(device)) if processes is None else processes
    device = processes.device
    config = Config() if settings is None else settings
    if seed is not None:
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, seed=seed))
    targets = tuple(validation) if targets is None else tuple(targets)
    sources = _used_sources(sources, validation, targets, config)
    if save_every < 1:
        raise ValueError(f"`save_every` must be at least 1, found {save_every}")
    training, held_out = labelled(sources, validation, targets, config, device)
    pairs = [(k, i) for k in range(len(targets)) for i in range(len(training))]
    if config.train.method == "single":
        pairs = [(k, k) for k in range(len(targets))]
    tasks = {name: episodes.task for name, episodes in zip(targets, held_out, strict=True)}
    shared = choose(sources, validation, training, tasks, config)
    if shared is not None:
        pairs = shared.pairs
    statistics = normalisation(training, [episodes.task for episodes in held_out], pairs)
    model = Vamo(config.model, statistics, seed=config.train.seed).to(device)
    chosen = {} if shared is None else shared.chosen

    def model_at(step: int) -> Vamo:
        stage = Vamo(config.model, statistics).to(device)
        stage.load_state_dict({**stage.state_dict(), **trainer.snapshots[step]})
        return stage

    visits = None
    if config.data.dagger_rounds:
        wanted = [episodes.task for episodes in held_out]
        visits = Dagger(
            training, wanted, pairs, chosen, config, lambda step: VamoBidder(model_at(step), config, returns=())
        )
    folds = _folds(targets, tuple(sources), training, config)
    trainer: Trainer[Batch] = Trainer(
        model,
        partial(losses, model),
        WindowSampler(training, held_out, pairs, config, chosen, folds=folds, visits=visits),
        pairs=pairs,
        sizes=[episodes.n_episodes for episodes in training],
        n_targets=len(targets),
        config=config,
        processes=processes,
        monitor=_monitor(targets, tuple(sources), config),
        given_weights=None if shared is None else shared.weights,
    )
    digest = data_hash(sources, {name: validation[name] for name in targets})
    identity = {"agent": "vamo", "settings": config.to_dict(), "targets": list(targets), "data": digest}
    files = RunFiles(out, identity, force=force, is_writer=processes.is_first)
    files.resume(partial(restore, trainer))
    processes.check_equal("data, settings and state", json.dumps([identity, trainer.n_steps]))
    tell = None if progress is None else partial(_tell, progress, config.train.steps)
    with _recorder(trainer, log_dir, targets, tuple(sources)) as write:
        trainer.run(_told(processes, write, tell), partial(files.save, partial(state_of, trainer)), save_every)
    trainer.finish()
    tables = _return_tables(sources, validation, targets, config)

    def bidder_of(trained: Vamo) -> VamoBidder:
        label = config.train.method if name is None else name
        return VamoBidder(trained, config, tables, name=label, data_hash=digest)

    stages = snapshot_steps(config.train.steps, config.train.snapshots)
    snapshots = {step: bidder_of(model_at(step)) for step in sorted(trainer.snapshots) if step in stages}
    bidder = bidder_of(model)
    files.finish(bidder.to_file)
    return TrainResult(
        bidder=bidder,
        history=trainer.history,
        best=best_of(trainer.history),
        snapshots=snapshots,
        targets=targets,
        sources=tuple(sources),
    )


def _tell(progress: Progress, n_steps: int, record: Record) -> None:
    progress(record.step, n_steps, record)


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
    if config.train.cross_fit:
        sources = with_validation(sources, validation, targets)
    if config.train.method == "single":
        missing = [name for name in targets if name not in sources]
        if missing:
            raise ValueError(f"method 'single' must find its targets in `sources`, found no {missing}")
        return {name: sources[name] for name in targets}
    if not sources:
        raise ValueError("`sources` must hold at least one data set, found none")
    return dict(sources)


def _folds(
    targets: Sequence[str], sources: Sequence[str], training: Sequence[Episodes], config: Config
) -> list[Folds] | None:
    """Folds of the targets' own sources, for methods that would else be judged on what they trained on."""
    train = config.train
    is_validated = train.method == "agem" or (train.method == "vao" and config.weighting.gradient == "validation")
    if not train.cross_fit or not is_validated:
        return None
    own = [sources.index(name) for name in targets]
    return [Folds.deal(i, len(training[i].length), train.cross_fit, train.seed) for i in own]


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
    accumulated = config.weighting.is_accumulated
    return Monitor(targets, sources, refresh_every=every, is_weighted=is_weighted, is_accumulated=accumulated)


@contextmanager
def _recorder(
    trainer: Trainer[Batch], log_dir: Path | None, targets: Sequence[str], sources: Sequence[str]
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
