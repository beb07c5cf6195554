"""The training of all offline learners: batches, steps, state.

What a step draws depends on (seed, step) alone: torch's generator is seeded before each, and given back to the caller
as it was. So a run that was killed goes on from its state to the same numbers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict  # type: ignore[import-untyped]
from torch import Tensor

from agents.learning.checkpoint import AgentFile
from agents.learning.learner import (
    Learner,
    Logs,
    Numbers,
    Tasks,
    TrainResult,
    by_name,
    check_cpu,
    check_seed,
    joined,
    one_task,
)
from agents.learning.observation import scale_of
from agents.learning.policy import Policy
from agents.learning.policy_bidder import PolicyBidder
from agents.learning.progress import Progress, shown
from agents.learning.run_state import RunFiles, State, below, load_optimizer, optimizer_tensors
from agents.learning.scalars import scalar_writer
from agents.offline.algorithm import Algorithm
from agents.offline.settings import OfflineSettings, packaged_settings, settings_class
from agents.offline.transitions import Transitions, read_transitions

LEAST_EPISODES = 8
ACTION_MARGIN = 0.05  # of the range, on each side: logged actions stay away from the ends of a tanh
LEAST_RANGE = 0.02  # of the log multiplier: logs of one constant give a policy of about this constant
LOG_EVERY = 20  # steps between two records
SAVE_EVERY = 500  # steps between two states

OfflineResult = TrainResult[PolicyBidder, Numbers]


class OfflineLearner(Learner):
    """An algorithm of `settings.ALGORITHMS` by its name; learns one task from logs of any tasks."""

    experience = "logs"

    def defaults(self) -> OfflineSettings:
        """See `Learner`."""
        return packaged_settings(self.name)

    def restore(self, file: AgentFile, device: str) -> PolicyBidder:
        """See `Learner`."""
        check_cpu(self.name, device)
        settings = settings_class(file.kind).from_dict(file.settings)
        return PolicyBidder.from_file(file, settings, algorithm_module(file.kind).build_actor(settings))

    def train(
        self,
        experience: Logs,
        *,
        task: Tasks = None,
        validation: None = None,
        settings: OfflineSettings | None = None,
        seed: int | None = None,
        device: str = "cpu",
        out: Path | str | None = None,
        force: bool = False,
        save_every: int | None = None,
        progress: Progress | bool | None = None,
        log_dir: Path | None = None,
    ) -> OfflineResult:
        """See `Learner`; the logs may be of any tasks that count what `task` needs, and nothing is validated.

        Raises:
            ValueError: Settings of another algorithm, a log without what the task counts, too few episodes, or a loss
                that is no finite number any more.
        """
        check_cpu(self.name, device)
        settings = self.defaults() if settings is None else settings
        if type(settings) is not settings_class(self.name):
            raise ValueError(f"`settings` must be those of {self.name!r}, found {type(settings).__name__}")
        logs = by_name(experience)
        learned = one_task(self.name, task, logs)
        data = joined(list(logs.values()))
        if data.n_episodes < LEAST_EPISODES:
            raise ValueError(f"`data` must hold at least {LEAST_EPISODES} trajectories, found {data.n_episodes}")
        transitions = read_transitions(
            data,
            learned,
            signal=settings.signal,
            scale=settings.reward_scale,
            discount=settings.discount,
            n_step=settings.n_step,
            action_label=settings.action_label,
        )
        seed, digest = check_seed(seed), _data_hash(transitions)
        identity = {"agent": self.name, "settings": settings.to_dict(), "task": learned.to_json()}
        files = RunFiles(out, identity | {"seed": seed, "data": digest}, force=force)
        with torch.random.fork_rng(devices=[]), shown(progress, self.name) as tell:
            run = _Run(self.name, settings, seed, transitions)
            run.train(files, SAVE_EVERY if save_every is None else save_every, tell, log_dir)
        bidder = PolicyBidder(run.policy.eval(), self.name, settings, learned, data_hash=digest)
        files.finish(bidder.to_file)
        return TrainResult(bidder=bidder, history=run.history, best=None)


class _Run:
    """Weights, optimizers and history of one training."""

    def __init__(self, name: str, settings: OfflineSettings, seed: int, transitions: Transitions) -> None:
        self._name, self._settings, self._seed = name, settings, seed
        _seed(seed, -1)
        self._algorithm: Algorithm = algorithm_module(name).ALGORITHM(settings)
        self.policy = make_policy(self._algorithm.actor, transitions, settings.action_share)
        self._batches = as_tensors(transitions, self.policy)
        _seed(seed, -2)
        self._algorithm.prepare(self._batches, self.policy)
        self.n_steps = 0
        self.history: list[Numbers] = []

    def train(self, files: RunFiles, save_every: int, progress: Progress | None, log_dir: Path | None) -> None:
        """Steps until all are done."""
        files.resume(self._restore)
        total = self._settings.steps
        with ExitStack() as stack:
            writer = None if log_dir is None else stack.enter_context(scalar_writer(log_dir, self.n_steps))
            while self.n_steps < total:
                losses = self._step()
                record = None
                if self.n_steps % LOG_EVERY == 0 or self.n_steps == total:
                    record = Numbers(step=self.n_steps, numbers=losses)
                    self.history.append(record)
                    if writer is not None:
                        for name, value in losses.items():
                            writer.add_scalar(f"loss/{name}", value, self.n_steps)
                if self.n_steps % save_every == 0 or self.n_steps == total:
                    files.save(self._state)
                if progress is not None:
                    progress(self.n_steps, total, record)

    def _step(self) -> dict[str, float]:
        _seed(self._seed, self.n_steps)
        rows = torch.randint(len(self._batches), (self._settings.batch_size,))
        updated = self._algorithm.update(self._batches[rows], self.n_steps)
        losses = {name: float(loss) for name, loss in updated.items()}
        if not all(map(np.isfinite, losses.values())):
            raise ValueError(f"the losses of {self._name!r} must stay finite, found {losses} in step {self.n_steps}")
        self.n_steps += 1
        return losses

    def _state(self) -> State:
        tensors = {f"weights/{name}": tensor for name, tensor in self._algorithm.state_dict().items()}
        for name, optimizer in self._algorithm.optimizers.items():
            tensors |= optimizer_tensors(f"optimizer/{name}", optimizer)
        return tensors, {"step": self.n_steps, "history": [dataclasses.asdict(line) for line in self.history]}

    def _restore(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        self._algorithm.load_state_dict(below("weights", tensors))
        for name, optimizer in self._algorithm.optimizers.items():
            load_optimizer(f"optimizer/{name}", optimizer, tensors)
        self.n_steps = int(record["step"])
        self.history = [Numbers(**line) for line in record["history"]]


def algorithm_module(name: str) -> Any:
    """The module of an algorithm."""
    return importlib.import_module(f"agents.offline.{name}")


def make_policy(actor: torch.nn.Module, transitions: Transitions, action_share: float) -> Policy:
    """The policy around an actor, with the normalisation of a log, and a range of its share of the actions."""
    mean, std = scale_of(transitions.observation)
    low, high = np.quantile(transitions.action, (0.5 - action_share / 2, 0.5 + action_share / 2))
    margin = max(ACTION_MARGIN * (high - low), LEAST_RANGE / 2)
    return Policy(actor, torch.from_numpy(mean), torch.from_numpy(std), float(low - margin), float(high + margin))


def as_tensors(transitions: Transitions, policy: Policy) -> TensorDict:
    """All transitions as a batch of torchrl's losses, (m,); see `algorithm.Algorithm`."""

    def column(values: Any, dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(values, dtype=dtype)[:, None]

    ended = column(transitions.terminated, torch.bool)
    after = {
        "observation": policy.normalise(torch.from_numpy(transitions.next_observation)),
        "reward": column(transitions.reward, torch.float32),
        "terminated": ended,
        "done": ended,
    }
    size = [len(transitions.action)]
    return TensorDict(
        {
            "observation": policy.normalise(torch.from_numpy(transitions.observation)),
            "action": policy.to_action(torch.from_numpy(transitions.action)),
            "steps_to_next_obs": column(transitions.steps, torch.int64),
            "has_next": column(transitions.has_next, torch.bool),
            "next": TensorDict(after, batch_size=size),
        },
        batch_size=size,
    )


def _seed(seed: int, step: int) -> None:
    """Seeds what a step draws; -1 and -2 are before the first."""
    drawn = int(np.random.SeedSequence([seed, step + 2]).generate_state(1, np.uint64)[0] >> 1)
    # `torch.manual_seed` tells the accelerators, too, on which nothing is drawn: a quarter of a step of `bc`
    torch.default_generator.manual_seed(drawn)


def _data_hash(transitions: Transitions) -> str:
    """SHA-256 of all transitions."""
    digest = hashlib.sha256()
    for part in transitions:
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
