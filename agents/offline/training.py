"""The training loop of all offline learners: batches, steps, state.

What a step draws depends on (seed, step) alone: torch's generator is seeded before each, and given back to the caller
as it was. So a run that was killed goes on from its state to the same numbers.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict  # type: ignore[import-untyped]
from torch import Tensor

from agents.learning.checkpoint import read, write
from agents.learning.observation import scale_of
from agents.learning.optimizer_state import below, load_tensors, tensors_of
from agents.offline.bidder import OfflineBidder
from agents.offline.learner import Learner
from agents.offline.networks import Policy
from agents.offline.settings import Settings, check_algorithm, read_settings, settings_class
from agents.offline.transitions import Transitions, read_transitions
from auction_env.data import TrajectoryData
from auction_env.tasks import Task

Progress = Callable[[int, Mapping[str, float]], None]

LEAST_EPISODES = 8
ACTION_QUANTILES = (0.005, 0.995)  # of the logged actions: the range in which a policy may bid, but for the margin
ACTION_MARGIN = 0.05  # of the range, on each side: logged actions stay away from the ends of a tanh
LEAST_RANGE = 0.02  # of the log multiplier: logs of one constant give a policy of about this constant
_STATE = "offline-run"


def train(
    algo: str,
    data: TrajectoryData,
    task: Task,
    *,
    settings: Settings | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 500,
) -> OfflineBidder:
    """Trains a bidder from logs.

    Args:
        algo: One of `settings.ALGORITHMS`.
        data: Trajectories, of any task that counts what `task` needs.
        task: What is to be learned.
        settings: Of the algorithm; None takes its packaged ones.
        seed: Of everything that is drawn.
        progress: Called after each step with the steps done and the losses.
        checkpoint: File of the run's state, written every `checkpoint_every` steps and at the end. If it is there, the
            run goes on from it; with more `steps` than before, a finished one too.
        checkpoint_every: Steps.

    Raises:
        ValueError: Unknown algorithm, settings of another one, a log without what the task counts, too few episodes,
            the state of another run at `checkpoint`, or a loss that is no finite number any more.
    """
    check_algorithm(algo)
    settings = read_settings(algo) if settings is None else settings
    if type(settings) is not settings_class(algo):
        raise ValueError(f"`settings` must be those of {algo!r}, found {type(settings).__name__}")
    if seed < 0:
        raise ValueError(f"`seed` must not be negative, found {seed}")
    if data.n_episodes < LEAST_EPISODES:
        raise ValueError(f"`data` must hold at least {LEAST_EPISODES} trajectories, found {data.n_episodes}")
    transitions = read_transitions(
        data,
        task,
        signal=settings.signal,
        scale=settings.reward_scale,
        discount=settings.discount,
        n_step=settings.n_step,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_draw(seed, -1))
        learner: Learner = importlib.import_module(f"agents.offline.{algo}").LEARNER(settings)
        policy = make_policy(learner.actor, transitions)
        batches = as_tensors(transitions, policy)
        torch.manual_seed(_draw(seed, -2))
        learner.prepare(batches, policy)
        run = _Run(learner, checkpoint, _identity(algo, settings, task, seed, transitions))
        for step in range(run.resume(), settings.steps):
            torch.manual_seed(_draw(seed, step))
            rows = torch.randint(len(batches), (settings.batch_size,))
            losses = {name: float(loss) for name, loss in learner.update(batches[rows], step).items()}
            if not all(map(np.isfinite, losses.values())):
                raise ValueError(f"the losses of {algo!r} must stay finite, found {losses} in step {step}")
            if progress is not None:
                progress(step + 1, losses)
            if (step + 1) % checkpoint_every == 0 or step + 1 == settings.steps:
                run.save(step + 1)
    return OfflineBidder(policy.eval(), algo, settings, task)


def make_policy(actor: torch.nn.Module, transitions: Transitions) -> Policy:
    """The policy around an actor, with the normalisation and the range of actions of a log."""
    mean, std = scale_of(transitions.observation)
    low, high = np.quantile(transitions.action, ACTION_QUANTILES)
    margin = max(ACTION_MARGIN * (high - low), LEAST_RANGE / 2)
    return Policy(actor, torch.from_numpy(mean), torch.from_numpy(std), float(low - margin), float(high + margin))


def as_tensors(transitions: Transitions, policy: Policy) -> TensorDict:
    """All transitions as a batch of torchrl's losses, (m,); see `learner.Learner`."""

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


def _draw(seed: int, step: int) -> int:
    """The seed of a step; -1 and -2 are before the first."""
    return int(np.random.SeedSequence([seed, step + 2]).generate_state(1, np.uint64)[0] >> 1)


def _identity(algo: str, settings: Settings, task: Task, seed: int, transitions: Transitions) -> dict[str, Any]:
    """JSON values that two runs share if one can continue the other."""
    digest = hashlib.sha256()
    for part in transitions:
        digest.update(np.ascontiguousarray(part).tobytes())
    others = {key: value for key, value in settings.to_dict().items() if key != "steps"}
    return {"algo": algo, "settings": others, "task": task.to_json(), "seed": seed, "data": digest.hexdigest()}


class _Run:
    """The state of a training in a file."""

    def __init__(self, learner: Learner, path: Path | None, identity: dict[str, Any]) -> None:
        self._learner, self._path, self._identity = learner, path, identity

    def resume(self) -> int:
        """Restores the state if there is one; returns the steps done."""
        if self._path is None or not self._path.exists():
            return 0
        tensors, record = read(self._path, _STATE)
        for name, value in self._identity.items():
            if record["run"][name] != value:
                found = record["run"][name]
                raise ValueError(
                    f"{self._path} must be of a run with the same {name}, found {found!r} and {value!r}: remove it to"
                    " begin anew"
                )
        self._learner.load_state_dict(below("weights", tensors))
        for name, optimizer in self._learner.optimizers.items():
            load_tensors(f"optimizer/{name}", optimizer, tensors)
        return int(record["step"])

    def save(self, step: int) -> None:
        if self._path is None:
            return
        tensors = {f"weights/{name}": tensor for name, tensor in self._learner.state_dict().items()}
        for name, optimizer in self._learner.optimizers.items():
            tensors |= tensors_of(f"optimizer/{name}", optimizer)
        write(self._path, _STATE, tensors, {"run": self._identity, "step": step})
