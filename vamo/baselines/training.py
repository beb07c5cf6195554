"""Trains a generative baseline on the logs of one task with the trainer of `vamo`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.func import functional_call

from agents.learning.checkpoint import AgentFile
from agents.learning.learner import Learner, Logs, Tasks, TrainResult, by_name, check_cpu, one_task
from agents.learning.progress import Progress, shown
from agents.learning.run_state import RunFiles
from auction_env.data import TrajectoryData
from vamo.agent import N_QUANTILES
from vamo.baselines.backbone import Baseline
from vamo.baselines.bidder import GenerativeBidder, make_model
from vamo.baselines.cdt import pareto_targets
from vamo.baselines.settings import CdtSettings, GenerativeSettings, packaged_settings
from vamo.baselines.windows import Tape, TapeBatches, Windows
from vamo.examples.sources import data_hash, n_ticks_of
from vamo.training.history import Record, best_of
from vamo.training.loop import Trainer
from vamo.training.run_state import restore, state_of
from vamo.training.tensorboard import ScalarWriter

GenerativeResult = TrainResult[GenerativeBidder, Record]

_FEWEST = 2  # episodes
SAVE_EVERY = 100  # steps between two states


class GenerativeLearner(Learner):
    """An algorithm of `settings.ALGORITHMS` by its name; learns one task from logs of this task."""

    experience = "logs"
    needs_validation = True

    def defaults(self) -> GenerativeSettings:
        """See `Learner`."""
        return packaged_settings(self.name)

    def restore(self, file: AgentFile, device: str) -> GenerativeBidder:
        """See `Learner`."""
        check_cpu(self.name, device)
        return GenerativeBidder.from_file(file)

    def load(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        device: str = "cpu",
        quantile: float | None = None,
        cost: float | None = None,
        budget_ratio: float | None = None,
        search_sd: float | None = None,
    ) -> GenerativeBidder:
        """See `Learner`; what it is conditioned on as in `GenerativeBidder.conditioned_on`."""
        bidder: GenerativeBidder = super().load(path, name=name, device=device)
        return bidder.conditioned_on(quantile=quantile, cost=cost, budget_ratio=budget_ratio, search_sd=search_sd)

    def train(
        self,
        experience: Logs,
        *,
        task: Tasks = None,
        validation: Logs | None = None,
        settings: GenerativeSettings | None = None,
        seed: int | None = None,
        device: str = "cpu",
        out: Path | str | None = None,
        force: bool = False,
        save_every: int | None = None,
        progress: Progress | bool | None = None,
        log_dir: Path | None = None,
    ) -> GenerativeResult:
        """See `Learner`; of logs of several tasks those of `task` are read.

        Raises:
            ValueError: Settings of another algorithm, too little data, data of several tasks, of another task in
                validation, or of days of another length than a `backbone.n_ticks` that was given.
            FloatingPointError: A loss that is not finite.
        """
        check_cpu(self.name, device)
        settings = self.defaults() if settings is None else settings
        if settings.name != self.name:
            raise ValueError(f"`settings` must be those of {self.name!r}, found {settings.name!r}")
        if seed is not None:
            settings = dataclasses.replace(settings, train=dataclasses.replace(settings.train, seed=seed))
        if validation is None:
            raise ValueError(f"`validation` must be given for agent {self.name!r}, found none")
        training, held_out = (self._log_of(task, logs) for logs in (experience, validation))
        settings = self._with_ticks(settings, n_ticks_of({"training": training, "validation": held_out}))
        run = _Run(training, held_out, settings)
        identity = {"agent": self.name, "settings": settings.to_dict(), "data": run.data_hash}
        files = RunFiles(out, identity, force=force)
        trainer = run.trainer
        files.resume(partial(restore, trainer))
        with ExitStack() as stack:
            write = None if log_dir is None else stack.enter_context(run.writer(log_dir)).write
            save = partial(files.save, partial(state_of, trainer))
            tell = stack.enter_context(shown(progress, self.name))
            trainer.run(_listener(tell, write, settings), save, SAVE_EVERY if save_every is None else save_every)
        trainer.finish()
        bidder = run.bidder()
        files.finish(bidder.to_file)
        return TrainResult(bidder=bidder, history=trainer.history, best=best_of(trainer.history))

    def _with_ticks(self, settings: GenerativeSettings, n_ticks: int) -> GenerativeSettings:
        """The settings for data of this number of ticks; ValueError where they were given another one."""
        size, usual = settings.backbone, self.defaults().backbone
        if size.n_ticks not in (n_ticks, usual.n_ticks):
            rule = f"`backbone.n_ticks` must be that of the data, {n_ticks}"
            raise ValueError(f"{rule}, found {size.n_ticks}: leave it out")
        # a window of a whole day stays one
        context = n_ticks if usual.context == usual.n_ticks and size.context == size.n_ticks else size.context
        return dataclasses.replace(settings, backbone=dataclasses.replace(size, n_ticks=n_ticks, context=context))

    def _log_of(self, task: Tasks, logs: Logs) -> TrajectoryData:
        """The log of one task; a log alone is taken as it is."""
        by_task = by_name(logs)
        if len(by_task) == 1 and task is None:
            return next(iter(by_task.values()))
        wanted = one_task(self.name, task, by_task)
        found = [log for name, log in by_task.items() if name == wanted.name or log.tasks == (wanted,)]
        if not found:
            raise ValueError(f"`task` must be one of the logs', {sorted(by_task)}, found {wanted.name!r}")
        return found[0]


class _Run:
    """Data, model and trainer of one training."""

    def __init__(self, training: TrajectoryData, validation: TrajectoryData, settings: GenerativeSettings) -> None:
        if training.n_episodes < _FEWEST:
            raise ValueError(f"`training` must hold at least {_FEWEST} episodes, found {training.n_episodes}")
        self._settings = settings
        self._tape, held_out = Tape("training", training, settings), Tape("validation", validation, settings)
        if self._tape.task != held_out.task:
            raise ValueError(f"`validation` must be of task {self._tape.task.name!r}, found {held_out.task.name!r}")
        share = 0.0
        if isinstance(settings.algorithm, CdtSettings):
            self._tape.extra = pareto_targets(self._tape, settings.train.seed)
            share = settings.algorithm.augmented_share
        self._model = make_model(settings, self._tape.statistics())
        self.trainer: Trainer[Windows] = Trainer(
            self._model,
            partial(_losses, self._model),
            TapeBatches(self._tape, held_out, settings, share),
            pairs=[(0, 0)],
            sizes=[self._tape.episodes.n_episodes],
            n_targets=1,
            config=settings.config(),
        )
        self.data_hash = data_hash({"training": training}, {"validation": validation})

    def writer(self, log_dir: Path) -> ScalarWriter:
        """Of event files."""
        size = self._settings.backbone
        amount = self._settings.train.batch_size * size.context / size.n_ticks
        task, first = [self._tape.task.name], self.trainer.n_steps
        return ScalarWriter(log_dir, task, task, trajectories_per_step=amount, first_step=first)

    def bidder(self) -> GenerativeBidder:
        """The trained agent."""
        quantiles = np.quantile(self._tape.total.numpy(), np.linspace(0, 1, N_QUANTILES), axis=0)
        name = self._settings.name
        return GenerativeBidder(self._model.eval(), self._tape.task, quantiles, name=name, data_hash=self.data_hash)


def _losses(model: Baseline, parameters: Mapping[str, Tensor], batch: Windows) -> Tensor:
    out: Tensor = functional_call(model, dict(parameters), (batch,))
    return out


def _listener(
    progress: Progress | None, write: Callable[[Record], None] | None, settings: GenerativeSettings
) -> Callable[[Record], None]:
    """What gets each new record."""

    def listen(record: Record) -> None:
        if write is not None:
            write(record)
        if progress is not None:
            progress(record.step, settings.train.steps, record)

    return listen
