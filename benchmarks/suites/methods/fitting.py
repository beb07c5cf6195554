"""What a method of a suite gets and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from agents import Bidder
from agents.learning.learner import joined
from auction_env.data import TrajectoryData
from benchmarks.suites.data.episodes import TaskEpisodes
from benchmarks.suites.data.variant import Logs, VariantData
from benchmarks.suites.numbers import Package
from benchmarks.suites.spec import LogsChoice


class Curve(NamedTuple):
    """What a training left behind: `vamo.TrainResult` without its bidders."""

    targets: tuple[str, ...]
    sources: tuple[str, ...]
    records: Sequence[Any]  # vamo.Record


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a method gets.

    Attributes:
        data: Logs and validation episodes. Its test episodes are not for methods.
        settings: "key=value" of the suite's method, in which later ones win.
        training: The suite's overrides of `vamo.Config`.
        train_seed: Seed of the training; -1 for what is not trained.
        n_candidates: Settings that a rule is tuned over.
        learns_from: Which logs are for training, see `benchmarks.suites.spec.Arm`.
        device: Where `vamo.train` trains.
    """

    data: VariantData
    settings: tuple[str, ...]
    training: tuple[str, ...]
    train_seed: int
    n_candidates: int
    learns_from: LogsChoice = "training"
    device: str = "cpu"

    @property
    def targets(self) -> dict[str, TaskEpisodes]:
        """The tasks to return bidders for, each with its validation episodes."""
        return self.data.targets

    @cached_property
    def logs(self) -> tuple[Logs, Logs]:
        """Trajectories to train on, as `learns_from` says, and validation trajectories, by task.

        Raises:
            ValueError: "sound" where nobody knows which logs are.
        """
        training, validation = self.data.load_logs()
        if self.learns_from == "validation":
            return validation, validation
        if self.learns_from == "both":
            both = {name: joined([log, validation[name]]) for name, log in training.items() if name in validation}
            return {**training, **both}, validation
        if self.learns_from == "sound":
            return self._sound(training), validation
        return training, validation

    def _sound(self, training: Logs) -> Logs:
        if self.data.is_sound is None:
            raise ValueError("`logs` must not be 'sound' on data whose truth nobody knows, found it on these")
        kept: dict[str, TrajectoryData] = {}
        for name, log in training.items():
            is_sound = self.data.is_sound(name, log)
            if is_sound.any():
                kept[name] = log.select(np.flatnonzero(is_sound))
        return kept

    def option(self, key: str) -> str:
        """A setting by name; ValueError if the suite's method has none."""
        found = dict(setting.split("=", 1) for setting in self.settings)
        if key not in found:
            raise ValueError(f"`settings` of the method must have {key!r}, found {list(self.settings)}")
        return found[key]


@dataclass(kw_only=True)
class Fitted:
    """What a method returns.

    Attributes:
        bidders: By target.
        chosen: By target, JSON values: what was tuned, and how stable the choice is.
        train_seconds, tune_seconds: Wall time.
        n_steps: Of training, all models together.
        step_seconds: Mean of a training step; NaN where there are none.
        curves: Of the trainings.
    """

    bidders: dict[str, Bidder]
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)
    train_seconds: float = 0.0
    tune_seconds: float = 0.0
    n_steps: int = 0
    step_seconds: float = float("nan")
    curves: list[Curve] = field(default_factory=list)


Fit: TypeAlias = Callable[[Setting], Fitted]
Resolve: TypeAlias = Callable[[tuple[str, ...], tuple[str, ...]], Mapping[str, Any]]


def nothing_resolved(settings: tuple[str, ...], training: tuple[str, ...]) -> Mapping[str, Any]:
    """Of a method whose own settings are all that it has."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A kind of method.

    Attributes:
        fit: Trains and tunes it.
        resolve: From its own settings and the suite's for training, all settings that it has then, with packaged
            defaults and search spaces, as JSON values: what the hash of a run covers.
        packages: Whose numbers version its rows depend on.
        has_logs: Whether it learns from logs, so that an arm may choose which.
    """

    fit: Fit
    resolve: Resolve = nothing_resolved
    packages: tuple[Package, ...] = ("auction_env", "agents", "benchmarks")
    has_logs: bool = True
