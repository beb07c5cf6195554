"""What a method of a suite gets and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from agents import Bidder
from benchmarks.suites.data.episodes import TaskEpisodes
from benchmarks.suites.data.variant import Logs, VariantData


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
        device: Where `vamo.train` trains.
    """

    data: VariantData
    settings: tuple[str, ...]
    training: tuple[str, ...]
    train_seed: int
    n_candidates: int
    device: str = "cpu"

    @property
    def targets(self) -> dict[str, TaskEpisodes]:
        """The tasks to return bidders for, each with its validation episodes."""
        return self.data.targets

    @cached_property
    def logs(self) -> tuple[Logs, Logs]:
        """Training and validation trajectories by task."""
        return self.data.load_logs()

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
