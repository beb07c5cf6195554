"""From data sets to a trained bidder: the entry point of training."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.labels.relabel import relabel
from agents.labels.response import Response
from agents.learning.checkpoint import AgentFile
from agents.learning.learner import Learner, Logs, Tasks, by_name
from agents.learning.learner import TrainResult as AnyResult
from agents.learning.progress import Progress, shown
from agents.learning.run_state import RunFiles
from agents.learning.settings import require
from auction_env.data import TrajectoryData
from auction_env.notebook import data_frame
from auction_env.tasks import Task
from vamo.agent import LearnedFrom, ReturnTable, VamoBidder
from vamo.alignment.sharing.own_sharing import SharingRule, find_rule
from vamo.alignment.sharing.rules import candidates, choose
from vamo.alignment.weighting import Weighting, make_weighting
from vamo.conditions import Chosen, Judge
from vamo.config import Config, ModelConfig
from vamo.examples.batch import Batch
from vamo.examples.dagger import Dagger, default_rounds
from vamo.examples.episodes import Episodes
from vamo.examples.folds import Folds, with_validation
from vamo.examples.normalisation import normalisation
from vamo.examples.sampler import WindowSampler
from vamo.examples.sources import data_hash, n_ticks_of, task_of
from vamo.extensions import name_of
from vamo.model.losses import losses
from vamo.model.making import load_parameters, make_ensemble, make_policy
from vamo.model.policy import Policy
from vamo.model.ridge import Ridge, WeightedTicks, fit_ridge
from vamo.training.distributed import Processes, joined
from vamo.training.history import Record, best_of
from vamo.training.loop import Trainer, snapshot_steps
from vamo.training.members import Members, member_configs
from vamo.training.monitor import Monitor
from vamo.training.tensorboard import ScalarWriter

SAVE_EVERY = 100  # steps between two states

_N_NAMED = 3
"""Sources that a warning names."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TrainResult(AnyResult[VamoBidder, Record]):
    """A finished run; the history has a record every `config.train.log_every` steps.

    Attributes:
        snapshots: By the number of steps done, the agent at the stages that `config.train.snapshots` asked for.
        targets: Names of the K targets, the order of the records' first axis.
        sources: Names of the I sources, the order of their second.
        chosen: What `train.select` 'estimate' chose; None for the others.
    """

    snapshots: dict[int, VamoBidder]
    targets: tuple[str, ...]
    sources: tuple[str, ...]
    chosen: Chosen | None = None

    @property
    def best_loss(self) -> float:
        """Lowest mean validation loss over the targets."""
        return best_of(self.history).mean_validation_loss

    @property
    def returned(self) -> Record:
        """The record of the parameters that the bidder has."""
        return _returned(self.history, self.bidder.config, self.chosen)

    def weights_to_pandas(self) -> Any:
        """A data frame of the source weights: a row a record, target and source.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        rows = [
            (record.step, target, source, record.weights[k][i])
            for record in self.history
            for k, target in enumerate(self.targets)
            for i, source in enumerate(self.sources)
        ]
        names = ("step", "target", "source", "weight")
        return data_frame(dict(zip(names, zip(*rows, strict=True), strict=True)))


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
        progress: Progress | bool | None = None,
        log_dir: Path | None = None,
    ) -> TrainResult:
        """See `Learner` and `train`; the processes of torchrun train together."""
        if validation is None:
            raise ValueError(f"`validation` must be given for agent {self.name!r}, found none")
        targets = None
        if task is not None:
            given = [task] if isinstance(task, Task | str) else task
            targets = [one.name if isinstance(one, Task) else one for one in given]
            logs = by_name(validation)
            for own in (one for one in given if isinstance(one, Task) and one.name in logs):
                known = task_of(own.name, logs[own.name])
                if known != own:
                    raise ValueError(f"`task` {own.name!r} must be that of the data, {known}, found {own}")
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
    progress: Progress | bool | None = None,
    log_dir: Path | None = None,
    processes: Processes | None = None,
    name: str | None = None,
    weighting: Weighting | None = None,
    sharing: SharingRule | None = None,
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
        progress: Called with every new record of the history, in the first process; or whether a bar is shown, as of
            `agents.learning.learner.Learner.train`.
        log_dir: Directory for TensorBoard's event files, one point a record; needs the package tensorboard.
        processes: Those that train together (`vamo.training.distributed.joined`), each calling this with equal
            arguments. All get the same result; only the first one writes files.
        name: Label of the bidder; the method by default.
        weighting: A weighting of your own, in place of the one that `settings.weighting.kind` names, for method `vao`.
            It maps `vamo.alignment.weighting.Evidence` to weights and keeps nothing between two calls.
        sharing: A sharing rule of your own (`vamo.alignment.sharing.own_sharing`), in place of `settings.train.method`.

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
    if weighting is not None and sharing is not None:
        raise ValueError("`weighting` and `sharing` must not be given both: a sharing rule fixes the weights")
    if sharing is not None:
        config = _with_own_rule(config, sharing)
    elif weighting is not None:
        config = _with_own_weighting(config, weighting)
    elif config.train.method == "vao":
        make_weighting(config.train, config.weighting)  # an unknown name is an error before the data are read
    elif config.train.method == "sharing_rule":
        find_rule(config.sharing)
    targets = tuple(validation) if targets is None else tuple(targets)
    sources = _used_sources(sources, validation, targets, config)
    if save_every < 1:
        raise ValueError(f"`save_every` must be at least 1, found {save_every}")
    config = _with_ticks(
        config, n_ticks_of({**sources, **{f"{name} (validation)": validation[name] for name in targets}})
    )
    training, held_out = labelled(sources, validation, targets, config, device)
    tasks = {name: episodes.task for name, episodes in zip(targets, held_out, strict=True)}
    judge = Judge(validation, tasks) if config.train.select == "estimate" else None
    pairs = [(k, i) for k in range(len(targets)) for i in range(len(training))]
    if config.train.method == "single":
        pairs = [(k, k) for k in range(len(targets))]
    shared = choose(sources, validation, training, tasks, config, sharing)
    if shared is not None:
        pairs = shared.pairs
    among = candidates(sources, validation, training, tasks, config)
    if among is not None and processes.is_first:
        _tell_of_left_out(among.weights > 0, targets, tuple(sources))
    trained = pairs if among is None else among.pairs
    if config.data.dagger_rounds is None:
        rounds = default_rounds(config, len(pairs))
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, dagger_rounds=rounds))
    statistics = normalisation(training, [episodes.task for episodes in held_out], trained)
    chosen = next((rule.chosen for rule in (shared, among) if rule is not None), {})
    folds = _folds(targets, tuple(sources), training, config)

    def policy_of(members: Sequence[Mapping[str, Tensor]]) -> Policy:
        policy = make_ensemble(config.model, statistics, n_members=len(members)).to(device)
        load_parameters(policy, members)
        return policy

    def trainer_of(own: Config) -> Trainer[Batch]:
        model = make_policy(own.model, statistics, seed=own.train.seed).to(device)
        visits = None
        if own.data.dagger_rounds:

            def bidder_at(step: int) -> VamoBidder:
                return VamoBidder(policy_of([trainer.snapshots[step]]), own, returns=())

            wanted = [episodes.task for episodes in held_out]
            visits = Dagger(training, wanted, pairs, chosen, own, bidder_at)
        sampler = WindowSampler(training, held_out, pairs, own, chosen, folds=folds, visits=visits)
        trainer: Trainer[Batch] = Trainer(
            model,
            partial(losses, model),
            sampler,
            pairs=trained,
            sizes=[episodes.n_episodes for episodes in training],
            n_targets=len(targets),
            config=own,
            processes=processes,
            monitor=_monitor(targets, tuple(sources), own, None if among is None else among.weights > 0),
            given_weights=None if shared is None else shared.weights,
            weighting=weighting,
            candidates=None if among is None else among.weights > 0,
            solver=partial(_solve, model, sampler, pairs) if isinstance(model, Ridge) else None,
        )
        return trainer

    run = Members([trainer_of(own) for own in member_configs(config)])
    digest = data_hash(sources, {name: validation[name] for name in targets})
    identity = {"agent": "vamo", "settings": config.to_dict(), "targets": list(targets), "data": digest}
    files = RunFiles(out, identity, force=force, is_writer=processes.is_first)
    files.resume(run.restore)
    processes.check_equal("data, settings and state", json.dumps([identity, run.n_steps]))
    label = config.train.method if name is None else name
    is_shown = progress if processes.is_first else False
    with shown(is_shown, label) as bar, _recorder(run, log_dir, targets, tuple(sources)) as write:
        tell = None if bar is None else partial(_tell, bar, run.total_steps)
        run.run(_told(processes, write, tell), partial(files.save, run.state), save_every)
    tables = _return_tables(sources, validation, targets, config)

    def bidder_of(members: Sequence[Mapping[str, Tensor]], record: Record | None = None) -> VamoBidder:
        learned_from = None if record is None else LearnedFrom(targets, tuple(sources), np.asarray(record.weights))
        return VamoBidder(policy_of(members), config, tables, name=label, data_hash=digest, learned_from=learned_from)

    stages = snapshot_steps(config.train.steps, config.train.snapshots)
    snapshots: dict[int, Sequence[Mapping[str, Tensor]]] = {
        step: members for step, members in run.snapshots.items() if step in stages
    }
    last: list[Mapping[str, Tensor]] = [trainer.parameters for trainer in run.trainers]
    if judge is None:
        chosen_stage, bidder = None, bidder_of(last, _returned(run.history, config))
    else:
        kept = snapshots or {run.history[-1].step: last}
        chosen_stage = judge.choose({step: bidder_of(own, _at(run.history, step)) for step, own in kept.items()})
        bidder = chosen_stage.bidder
    files.finish(bidder.to_file)
    return TrainResult(
        bidder=bidder,
        history=run.history,
        best=best_of(run.history),
        snapshots={step: bidder_of(members) for step, members in snapshots.items()},
        targets=targets,
        sources=tuple(sources),
        chosen=chosen_stage,
    )


def _returned(history: Sequence[Record], config: Config, chosen: Chosen | None = None) -> Record:
    """The record of the parameters that a run returns."""
    if chosen is not None:
        return _at(history, chosen.step)
    return history[-1] if config.train.select == "last" else best_of(history)


def _at(history: Sequence[Record], step: int) -> Record:
    """The last record up to a step, or the first one."""
    return next((record for record in reversed(history) if record.step <= step), history[0])


def _with_own_weighting(config: Config, weighting: Weighting) -> Config:
    """The settings with the name and the numbers of a user's weighting, so that another one does not resume its run."""
    require(config.train.method == "vao", "train.method", "'vao' for a weighting of your own", config.train.method)
    names = (
        (field.name for field in dataclasses.fields(weighting))
        if dataclasses.is_dataclass(weighting)
        else vars(weighting)
    )
    values = {name: getattr(weighting, name) for name in names}
    numbers = {name: value for name, value in values.items() if isinstance(value, bool | int | float | str)}
    own = dataclasses.replace(config.weighting, kind=name_of(weighting), options=numbers)
    return dataclasses.replace(config, weighting=own)


def _with_own_rule(config: Config, rule: SharingRule) -> Config:
    """The settings with the name of a user's sharing rule."""
    named = dataclasses.replace(config.sharing, rule=name_of(rule))
    return dataclasses.replace(config, sharing=named, train=dataclasses.replace(config.train, method="sharing_rule"))


def _solve(model: Ridge, sampler: WindowSampler, pairs: Sequence[tuple[int, int]], weights: Tensor) -> Tensor:
    """The closed form of the ridge regression on all ticks of all pairs; see `vamo.training.loop.Solver`."""
    parts = (WeightedTicks(k, float(weights[k, i]), sampler.every_tick(k, i)) for k, i in pairs)
    return fit_ridge(model, parts, len(weights))


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
    response = Response.fit(sources.values(), is_trimmed=config.data.trimmed_response) if is_pooled else None
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


def _with_ticks(config: Config, n_ticks: int) -> Config:
    """The settings for data of this number of ticks; ValueError where they were given another one."""
    if config.model.n_ticks not in (n_ticks, ModelConfig().n_ticks):
        raise ValueError(
            f"`model.n_ticks` must be that of the data, {n_ticks}, found {config.model.n_ticks}: leave it out"
        )
    return dataclasses.replace(config, model=dataclasses.replace(config.model, n_ticks=n_ticks))


def _tell_of_left_out(among: Tensor, targets: Sequence[str], sources: Sequence[str]) -> None:
    """Warns of sources that are no candidates of some targets, those of most targets first."""
    left_out = {name: [targets[k] for k in (~among[:, i]).nonzero()[:, 0]] for i, name in enumerate(sources)}
    named = sorted((name for name in sources if left_out[name]), key=lambda name: -len(left_out[name]))
    if not named:
        return
    parts = [
        f"{name!r} for {repr(left_out[name][0]) if len(left_out[name]) == 1 else f'{len(left_out[name])} targets'}"
        for name in named[:_N_NAMED]
    ]
    more = f" and {len(named) - _N_NAMED} more" if len(named) > _N_NAMED else ""
    logger.warning(
        "the response check leaves out %s%s: what these logs cost contradicts the targets' responses (`vamo data check"
        " --responses`); `weighting.candidates=all` leaves it to the weights",
        ", ".join(parts),
        more,
    )


def _monitor(targets: Sequence[str], sources: Sequence[str], config: Config, among: Tensor | None) -> Monitor:
    """What warns of signs of trouble; one source alone is no such sign where it is asked for."""
    is_weighted = config.train.method == "vao" and config.weighting.kind != "top1"
    every = config.weighting.refresh_every
    accumulated = config.weighting.is_accumulated
    return Monitor(
        targets,
        sources,
        refresh_every=every,
        is_weighted=is_weighted,
        is_accumulated=accumulated,
        candidates=None if among is None else among.tolist(),
    )


@contextmanager
def _recorder(
    run: Members[Batch], log_dir: Path | None, targets: Sequence[str], sources: Sequence[str]
) -> Iterator[Callable[[Record], None] | None]:
    """What writes records for TensorBoard, in the first process."""
    trainer = run.trainers[0]
    if log_dir is None or not trainer.processes.is_first:
        yield None
        return
    model, train, n_pairs = trainer.config.model, trainer.config.train, trainer.sources.n_step_pairs
    n_windows = train.batch_size // n_pairs * n_pairs
    amount = n_windows * model.window / model.n_ticks
    with ScalarWriter(log_dir, targets, sources, trajectories_per_step=amount, first_step=run.n_steps) as writer:
        yield writer.write


def _told(processes: Processes, *listeners: Callable[[Record], None] | None) -> Callable[[Record], None]:
    """A callback that tells all listeners, in the first process only."""

    def tell(record: Record) -> None:
        for listener in listeners:
            if listener is not None and processes.is_first:
                listener(record)

    return tell
