"""Trains a baseline on one task with the trainer of `vamo`; the bidder, and its checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from auction_env.control.bidder import Campaigns, TickView
from auction_env.data import TrajectoryData
from auction_env.tasks import RATIO_BASES, REQUIREMENT_NAMES, Targets, Task
from vamo.agent import N_QUANTILES
from vamo.baselines.backbone import Learner
from vamo.baselines.cdt import ConstrainedDecisionTransformer, pareto_targets
from vamo.baselines.diffbid import DiffBid
from vamo.baselines.dt import DecisionTransformer
from vamo.baselines.gas import Gas
from vamo.baselines.gave import Gave
from vamo.baselines.reader import COST, Player, Statistics, Tape, TapeBatches, Windows
from vamo.baselines.settings import CdtSettings, DiffbidSettings, GasSettings, Settings
from vamo.checkpoint import CheckpointError, read, write
from vamo.examples.dataset import data_hash
from vamo.labels.relabel import Float
from vamo.training.history import Record
from vamo.training.loop import Trainer
from vamo.training.run_state import restore, state_of
from vamo.training.tensorboard import ScalarWriter

LEARNERS: dict[str, type[Learner]] = {
    "dt": DecisionTransformer,
    "cdt": ConstrainedDecisionTransformer,
    "diffbid": DiffBid,
    "gave": Gave,
    "gas": Gas,
}
_FLAGS = [column for column, name in enumerate(REQUIREMENT_NAMES) if name.startswith(("has_", "wants_"))]
_UNIT = Targets.of(1.0, 1.0, 1.0, 1.0, 1.0)
_AGENT, _RUN = "vamo-baseline", "vamo-baseline-training"
_FEWEST = 2  # episodes


class GenerativeBidder:
    """Implements `auction_env.control.bidder.Bidder` with a trained baseline, for the task that it was trained on.

    Args:
        learner: The trained model.
        task: Its task.
        quantiles: (N_QUANTILES, C) of the training episodes' totals.
        name: Label in results.
        data_hash: Of the training data.
    """

    def __init__(self, learner: Learner, task: Task, quantiles: Float, *, name: str, data_hash: str = "") -> None:
        self.learner, self.task, self.quantiles = learner, task, quantiles
        self.name, self.data_hash = name, data_hash
        self.settings = learner.settings
        self._player: Player | None = None

    def asking(
        self,
        *,
        quantile: float | None = None,
        cost: float | None = None,
        search_sd: float | None = None,
        name: str | None = None,
    ) -> GenerativeBidder:
        """The same model as a fresh bidder that asks for something else; what is not given stays.

        Args:
            quantile: Of the training returns or scores, in [0, 1].
            cost: Of CDT and DiffBid: excess over the limit, as a share of the budget.
            search_sd: Of GAS: of the search's first round, in standard deviations of the logged actions.
            name: Label in results.

        Raises:
            ValueError: A number out of range, or one for an algorithm that does not know it.
        """
        own = self.settings.algorithm
        if cost is not None and not isinstance(own, CdtSettings | DiffbidSettings):
            raise ValueError(f"`cost` must not be given for {self.settings.name!r}, found {cost}")
        if search_sd is not None:
            if not isinstance(own, GasSettings):
                raise ValueError(f"`search_sd` must not be given for {self.settings.name!r}, found {search_sd}")
            own = dataclasses.replace(own, search_sd=search_sd)
        given = {"quantile": quantile, "cost": cost}
        agent = dataclasses.replace(self.settings.agent, **{k: v for k, v in given.items() if v is not None})
        return GenerativeBidder(
            self.learner.with_settings(dataclasses.replace(self.settings, agent=agent, algorithm=own)),
            self.task,
            self.quantiles,
            name=self.name if name is None else name,
            data_hash=self.data_hash,
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> GenerativeBidder:
        """A fresh bidder with the same model, which is not changed by playing; in an episode, one that is not."""
        return self.asking()

    def ask(self, n: int) -> Float:
        """(n, C) totals asked for: the quantile of return and scores, and the limit on the cost."""
        share = np.linspace(0, 1, N_QUANTILES)
        total = np.array([np.interp(self.settings.agent.quantile, share, q) for q in self.quantiles.T])
        is_limited = any(kind in RATIO_BASES for kind in _limits_of(self.task))
        total[COST] = (0.0 if is_limited else 1.0) + self.settings.agent.cost
        return np.tile(total, (n, 1))

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes; raises ValueError for another task or day than those of the training."""
        n_ticks = self.settings.backbone.n_ticks
        if campaigns.n_ticks != n_ticks:
            raise ValueError(f"`n_ticks` must be that of the training data, {n_ticks}, found {campaigns.n_ticks}")
        flags = np.asarray(campaigns.requirements)[:, _FLAGS] > 0
        if (flags != (self.task.requirements(_UNIT)[_FLAGS] > 0)).any():
            raise ValueError(f"the campaigns must be of the task trained on, {self.task.name!r}, found another's")
        self._player = Player(campaigns, self.ask(len(campaigns.base)), self.settings)

    def act(self, view: TickView) -> Float:
        """Multipliers for this tick, shape (n,), within the range of the logged ones relative to the base."""
        if self._player is None:
            raise RuntimeError("`reset` must be called before `act`")
        with torch.inference_mode():
            action = self.learner.multiplier(self.learner.decide(self._player.observe(view)))
        self._player.note(action)
        multiplier: Float = self._player.base * np.exp(action.numpy().astype(np.float64))
        return multiplier


def _limits_of(task: Task) -> list[str]:
    vector = task.requirements(_UNIT)
    return [
        name.removeprefix("has_").removesuffix("_limit")
        for name, value in zip(REQUIREMENT_NAMES, vector, strict=True)
        if name.startswith("has_") and value > 0
    ]


def train_baseline(
    training: TrajectoryData,
    validation: TrajectoryData,
    settings: Settings,
    *,
    callback: Callable[[Record], None] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    log_dir: str | Path | None = None,
    name: str | None = None,
) -> GenerativeBidder:
    """Trains a baseline on the trajectories of one task.

    Args:
        training: Trajectories, all of one task.
        validation: Held-out trajectories of that task.
        settings: Of `vamo.baselines.settings.read`.
        callback: Gets every new record of the history.
        checkpoint: File of the run's state; if it exists the run goes on from it, to the same numbers.
        checkpoint_every: Steps between two writes of that file.
        log_dir: Directory for TensorBoard's event files.
        name: Label of the bidder; the algorithm by default.

    Raises:
        ValueError: Too little data, data of several tasks, of another task in validation, of days of another length
            than `backbone.n_ticks`, or a checkpoint of another run.
        FloatingPointError: A loss that is not finite.
    """
    if training.n_episodes < _FEWEST:
        raise ValueError(f"`training` must hold at least {_FEWEST} episodes, found {training.n_episodes}")
    n_ticks = int(training.tick.max()) + 1
    if n_ticks < settings.backbone.n_ticks:  # more are the reader's error
        raise ValueError(f"`backbone.n_ticks` must be that of the data, {n_ticks}, found {settings.backbone.n_ticks}")
    tape, held_out = Tape("training", training, settings), Tape("validation", validation, settings)
    if tape.task != held_out.task:
        raise ValueError(f"`validation` must be of task {tape.task.name!r}, found {held_out.task.name!r}")
    share = 0.0
    if isinstance(settings.algorithm, CdtSettings):
        tape.extra, share = pareto_targets(tape, settings.train.seed), settings.algorithm.augmented_share
    learner = make_learner(settings, tape.statistics())

    def losses(parameters: Mapping[str, Tensor], batch: Windows) -> Tensor:
        out: Tensor = functional_call(learner, dict(parameters), (batch,))
        return out

    trainer: Trainer[Windows] = Trainer(
        learner,
        losses,
        TapeBatches(tape, held_out, settings, share),
        pairs=[(0, 0)],
        sizes=[tape.episodes.n_episodes],
        n_targets=1,
        config=settings.config(),
    )
    digest = data_hash({"training": training}, {"validation": validation})
    save_state = _saver(trainer, checkpoint, {"settings": settings.to_dict(), "data_hash": digest})
    if log_dir is None:
        trainer.run(callback, save_state, checkpoint_every)
    else:
        amount = settings.train.batch_size * settings.backbone.context / settings.backbone.n_ticks
        task = [tape.task.name]
        with ScalarWriter(log_dir, task, task, trajectories_per_step=amount, first_step=trainer.n_steps) as writer:

            def tell(record: Record) -> None:
                writer.write(record)
                if callback is not None:
                    callback(record)

            trainer.run(tell, save_state, checkpoint_every)
    trainer.finish()
    quantiles = np.quantile(tape.total.numpy(), np.linspace(0, 1, N_QUANTILES), axis=0)
    label = settings.name if name is None else name
    return GenerativeBidder(learner.eval(), tape.task, quantiles, name=label, data_hash=digest)


def make_learner(settings: Settings, statistics: Statistics) -> Learner:
    """The untrained model; its parameters depend on `train.seed` alone, and global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(settings.train.seed)
        return LEARNERS[settings.name](settings, statistics)


def _saver(trainer: Trainer[Windows], path: str | Path | None, run: dict[str, Any]) -> Callable[[], None]:
    """What writes the run's state; first restores it where the file exists."""
    if path is None:
        return lambda: None
    path = Path(path)
    if path.exists():
        tensors, record = read(path, _RUN)
        if record["run"] != _plain(run):
            raise ValueError(f"checkpoint {str(path)!r} must be of the same data and settings: delete it to start anew")
        restore(trainer, tensors, record["trainer"])

    def save_state() -> None:
        tensors, record = state_of(trainer)
        write(path, _RUN, tensors, {"run": run, "trainer": record})

    return save_state


def _plain(value: Any) -> Any:
    """The value as JSON gives it back: lists for tuples."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def save_baseline(path: str | Path, bidder: GenerativeBidder) -> None:
    """Writes a trained baseline: weights, statistics, settings, task, quantiles and data hash."""
    record = {
        "settings": bidder.settings.to_dict(),
        "task": bidder.task.to_json(),
        "quantiles": bidder.quantiles.tolist(),
        "data_hash": bidder.data_hash,
        "name": bidder.name,
    }
    write(path, _AGENT, bidder.learner.state_dict(), record)


def load_baseline(path: str | Path, *, algo: str | None = None) -> GenerativeBidder:
    """The baseline that `save_baseline` wrote.

    Raises:
        FileNotFoundError: No such file.
        CheckpointError: Foreign, damaged, of another version, or of another algorithm than `algo`.
    """
    tensors, record = read(path, _AGENT)
    try:
        settings = Settings.from_dict(record["settings"])
        if algo is not None and settings.name != algo:
            raise CheckpointError(f"{str(path)!r} must hold a {algo!r} agent, found {settings.name!r}")
        learner = make_learner(settings, Statistics(*(tensors[name].numpy() for name in Statistics._fields)))
        learner.load_state_dict(tensors)
        quantiles = np.asarray(record["quantiles"], np.float64)
        task = Task.from_json(record["task"])
        name, digest = record["name"], record["data_hash"]
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{str(path)!r} must hold a complete baseline, found {error}") from error
    return GenerativeBidder(learner.eval(), task, quantiles, name=name, data_hash=digest)
