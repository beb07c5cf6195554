"""The contract of every agent that learns: what it learns from, how it is trained, what comes out.

`agents.learning` describes the contract as a whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from agents.learning.checkpoint import AgentFile, CheckpointError, read_agent
from agents.learning.progress import Progress, Record
from agents.learning.settings import Settings, read_settings
from auction_env.control.bidder import Bidder
from auction_env.data import TrajectoryData
from auction_env.market.params import MarketParams
from auction_env.market.population import Population
from auction_env.notebook import data_frame, html_table
from auction_env.tasks import TASKS, Task, get_task

Logs = TrajectoryData | Mapping[str, TrajectoryData]
"""Trajectories of one data set, or of several by task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketExperience:
    """The market that an agent learns in by playing.

    Attributes:
        params, population: Of the market; None is the default of the environment.
        advertiser: Who learns; None draws one for each episode.
    """

    params: MarketParams | None = None
    population: Population | None = None
    advertiser: int | None = None


Experience = Logs | MarketExperience
"""What an agent learns from."""

Tasks = Task | str | Sequence[Task | str] | None
"""What is learned: a task, its name, or several; None is all tasks of the logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The plain record."""

    step: int
    numbers: dict[str, float] = field(default_factory=dict)


BidderT = TypeVar("BidderT", bound=Bidder, covariant=True)
RecordT = TypeVar("RecordT", bound=Record, covariant=True)


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainResult(Generic[BidderT, RecordT]):
    """A finished training.

    Attributes:
        bidder: The trained agent.
        history: Records in the order of their steps.
        best: The record with the best validation, the first of equal ones; None where nothing is validated.
    """

    bidder: BidderT
    history: Sequence[RecordT]
    best: RecordT | None

    def __repr__(self) -> str:
        step = self.history[-1].step if self.history else 0
        best = "" if self.best is None else f", best after step {self.best.step:,}"
        return f"TrainResult({self.bidder!r}, {step:,} steps, {len(self.history)} records{best})"

    def _repr_html_(self) -> str:
        last = self.history[-1:]
        lines = [("last", record) for record in last] + [("best", self.best)] * (self.best is not None)
        rows = [(which, r.step, *r.numbers.values()) for which, r in lines if r is not None]
        names = list(last[0].numbers) if last else []
        return html_table(repr(self), ("record", "step", *names), rows)

    def to_pandas(self) -> Any:
        """A data frame with a row a record of the history: the step and its numbers.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        names = dict.fromkeys(name for record in self.history for name in record.numbers)
        numbers = {name: [record.numbers.get(name) for record in self.history] for name in names}
        return data_frame({"step": [record.step for record in self.history], **numbers})


class Learner(ABC):
    """An agent that learns, by the name it has in the registry.

    Attributes:
        name: Of the agent; also the kind of its files.
        experience: What it learns from: "logs" or "market".
        needs_validation: Whether logs must have a held-out part.
        is_distributed: Whether the processes of torchrun train together.
    """

    experience: Literal["logs", "market"]
    needs_validation: bool = False
    is_distributed: bool = False

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def defaults(self) -> Settings:
        """The packaged settings."""

    @abstractmethod
    def train(
        self,
        experience: Any,
        *,
        task: Tasks = None,
        validation: Any = None,
        settings: Any = None,
        seed: int | None = None,
        device: str = "cpu",
        out: Path | str | None = None,
        force: bool = False,
        save_every: int | None = None,
        progress: Progress | bool | None = None,
        log_dir: Path | None = None,
    ) -> TrainResult[Any, Any]:
        """Trains a bidder.

        Args:
            experience: What is learned from: `Logs` or a `MarketExperience`, as `experience` says.
            task: What is learned.
            validation: Held-out logs, of an agent that needs them.
            settings: Of `settings`; None takes the packaged ones.
            seed: Of everything that is drawn; None is the one of the settings where they have one, else 0.
            device: Where to train, "cpu" or "cuda".
            out: File of the trained agent. The state of the run lies beside it until it is done (`OUT.run`): called
                again with the same arguments, a killed run goes on from there to the same result.
            force: Whether a finished `out` is replaced.
            save_every: Steps between two states; None is the agent's own number.
            progress: True shows a bar, a callback is called as the training goes on, False is silent. None shows a
                bar in a notebook and in an interactive session (`agents.learning.progress`).
            log_dir: Directory of event files for TensorBoard.

        Raises:
            FileExistsError: `out` is finished and `force` is False.
            ValueError: Settings, data or a task that break a rule, or the state of another run beside `out`.
        """

    @abstractmethod
    def restore(self, file: AgentFile, device: str) -> Bidder:
        """The bidder of a file; may raise what incomplete content raises, which `load` names."""

    def settings(self, file: Path | None = None, assignments: Iterable[str] = ()) -> Any:
        """The packaged settings, a file over them, and assignments over both, see `agents.learning.settings`."""
        return read_settings(self.defaults(), file, assignments)

    def load(self, path: str | Path, *, name: str | None = None, device: str = "cpu") -> Any:
        """The bidder of a file.

        Args:
            path: The file.
            name: Another label than the stored one.
            device: Where it decides.

        Raises:
            FileNotFoundError: No such file.
            CheckpointError: A foreign or damaged file, one of another agent, or one that does not fit its settings.
        """
        file = read_agent(path, self.name)
        if name is not None:
            file = file.renamed(name)
        try:
            return self.restore(file, device)
        except CheckpointError as error:
            raise CheckpointError(f"{str(path)!r} {error}") from error
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{str(path)!r} must hold a complete agent, found {error}") from error


def one_task(agent: str, task: Tasks, logs: Mapping[str, TrajectoryData] | None = None) -> Task:
    """The one task that an agent is to learn: by name one of the logs' or a registered one, by default the logs' one.

    Raises:
        ValueError: None or several, or no such task.
    """
    known = {t.name: t for log in ({} if logs is None else logs).values() for t in log.tasks}
    if task is None:
        if len(known) != 1:
            raise ValueError(f"`task` must be given for agent {agent!r}, one of {sorted(known) or sorted(TASKS)}")
        return next(iter(known.values()))
    given = [task] if isinstance(task, Task | str) else list(task)
    if len(given) != 1:
        raise ValueError(f"`task` must be one task for agent {agent!r}, found {given}")
    one = given[0]
    if isinstance(one, Task):
        return one
    return known[one] if one in known else get_task(one)


def by_name(logs: Logs, task: Task | None = None) -> Mapping[str, TrajectoryData]:
    """Logs by name; a data set alone has the name of the task."""
    return logs if isinstance(logs, Mapping) else {"data" if task is None else task.name: logs}


def joined(logs: Sequence[TrajectoryData]) -> TrajectoryData:
    """The trajectories of several logs; the periods of each are moved behind those of the one before.

    Logs of different tasks number their periods from 0 and may have advertisers in common.
    """
    parts, after = [logs[0]], int(logs[0].period.max(initial=-1)) + 1
    for log in logs[1:]:
        moved = replace(log, period=log.period + (after - int(log.period.min(initial=0))))
        parts.append(moved)
        after = int(moved.period.max(initial=after - 1)) + 1
    return parts[0] if len(parts) == 1 else TrajectoryData.concat(parts)


def check_cpu(agent: str, device: str) -> None:
    """ValueError for a device that an agent does not train on."""
    if device != "cpu":
        raise ValueError(f"`device` must be 'cpu' for agent {agent!r}, found {device!r}")


def check_seed(seed: int | None) -> int:
    """The seed, 0 for None; ValueError if it is negative."""
    seed = 0 if seed is None else seed
    if seed < 0:
        raise ValueError(f"`seed` must not be negative, found {seed}")
    return seed
