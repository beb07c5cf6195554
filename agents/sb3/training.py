"""Trains Stable-Baselines3's algorithms on `Bidding-v0` and returns the bidder that validated best.

Needs the extra `sb3`; `agents` does not import this module. The training goes in stretches of whole episodes. Before
each, all generators are seeded by (seed, number of the stretch) and all environments begin anew; after each, the policy
is validated and the state of the run is written, with the best policy so far, from which it can go on to the same
numbers. Stable-Baselines3 draws from the global generators of torch and NumPy, which this therefore seeds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch import Tensor

import auction_env  # noqa: F401 - registers the environment
from agents.learning.checkpoint import AgentFile
from agents.learning.learner import (
    Learner,
    MarketExperience,
    Numbers,
    Tasks,
    TrainResult,
    check_cpu,
    check_seed,
    one_task,
)
from agents.learning.observation import observe, scale_of
from agents.learning.progress import Progress, shown
from agents.learning.run_state import RunFiles, State, below
from agents.rollouts import rollout
from agents.rules.random_multiplier import RandomMultiplierBidder
from agents.sb3.bidder import Sb3Bidder
from agents.sb3.policy import algorithm_class, policy_kwargs
from agents.sb3.reward import LearningReward
from agents.sb3.settings import Sb3Settings, algorithm_defaults, packaged_settings
from agents.sb3.state import restore, state_of
from agents.sb3.vector_env import NativeVecEnv
from auction_env.envs.live import LiveEnvMarket, live_spec
from auction_env.envs.spec import BiddingSpec
from auction_env.tasks import Task

Float = NDArray[np.float64]
Sb3Result = TrainResult[Sb3Bidder, Numbers]
"""The policy of the best validation; records are validations on fixed episodes, the first before training.

Their numbers: `score`, the mean of predicted amounts, and `share`, of what the budget buys at the worth of a unit.
"""

VALIDATION_SEED, SCALING_SEED = 1_000_000, 3_000_000  # first of the episodes; training draws its own below 2**62


class Sb3Learner(Learner):
    """An algorithm of `settings.ALGORITHMS` by its name; learns one task by playing in a market."""

    experience = "market"

    def defaults(self) -> Sb3Settings:
        """See `Learner`."""
        return packaged_settings(self.name)

    def restore(self, file: AgentFile, device: str) -> Sb3Bidder:
        """See `Learner`."""
        check_cpu(self.name, device)
        return Sb3Bidder.from_file(file)

    def train(
        self,
        experience: MarketExperience,
        *,
        task: Tasks = None,
        validation: None = None,
        settings: Sb3Settings | None = None,
        seed: int | None = None,
        device: str = "cpu",
        out: Path | str | None = None,
        force: bool = False,
        save_every: int | None = None,
        progress: Progress | bool | None = None,
        log_dir: Path | None = None,
    ) -> Sb3Result:
        """See `Learner`; a state is written after each validation, every `run.validate_every` steps.

        Raises:
            ValueError: Settings of another algorithm or that the algorithm refuses, or a `save_every`.
        """
        check_cpu(self.name, device)
        if save_every is not None:
            raise ValueError(f"`save_every` must not be given for {self.name!r}: set `run.validate_every`")
        settings = self.defaults() if settings is None else settings
        if settings.name != self.name:
            raise ValueError(f"`settings` must be those of {self.name!r}, found {settings.name!r}")
        job = TrainingJob(
            settings=settings, task=one_task(self.name, task), seed=check_seed(seed), experience=experience
        )
        files = RunFiles(out, job.identity(), force=force)
        with shown(progress, self.name) as tell:
            return _train(job, files, tell, log_dir)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """What is trained where.

    Attributes:
        settings: Algorithm and hyperparameters.
        task: The task.
        seed: Of everything.
        experience: The market.
    """

    settings: Sb3Settings
    task: Task
    seed: int = 0
    experience: MarketExperience = field(default_factory=MarketExperience)
    spec: BiddingSpec[LiveEnvMarket] = field(init=False)

    def __post_init__(self) -> None:
        action = asdict(self.settings.action)
        spec = live_spec(
            task=self.task,
            params=self.experience.params,
            population=self.experience.population,
            action_kind=action.pop("kind"),
            **action,
        )
        advertiser = self.experience.advertiser
        if advertiser is not None and not 0 <= advertiser < spec.market.population.n_advertisers:
            n = spec.market.population.n_advertisers
            raise ValueError(f"`advertiser` must be from 0 to {n - 1}, found {advertiser}")
        object.__setattr__(self, "spec", spec)

    def advertisers(self, n: int) -> NDArray[np.int64]:
        """Who is controlled in n episodes that are not drawn."""
        if self.experience.advertiser is not None:
            return np.full(n, self.experience.advertiser)
        return np.arange(n) % self.spec.market.population.n_advertisers

    def play(self, bidder: Any, first_seed: int, n: int) -> Any:
        """n fixed episodes of this market."""
        return rollout(
            bidder,
            seeds=first_seed + np.arange(n),
            advertisers=self.advertisers(n),
            task=self.task,
            params=self.spec.market.params,
            population=self.spec.market.population,
        )

    def identity(self) -> dict[str, Any]:
        """JSON values that two runs share if one can continue the other."""
        return {
            "agent": self.settings.name,
            "settings": self.settings.to_dict(),
            "task": self.task.to_json(),
            "seed": self.seed,
            "advertiser": self.experience.advertiser,
            "data": self.data_hash(),
        }

    def data_hash(self) -> str:
        """SHA-256 of the market."""
        return hashlib.sha256(f"{self.spec.market.params!r} {self.spec.market.population!r}".encode()).hexdigest()


def _train(job: TrainingJob, files: RunFiles, progress: Progress | None, log_dir: Path | None) -> Sb3Result:
    model = make_model(job)
    model.set_logger(configure(str(log_dir), ["tensorboard"]) if log_dir else Logger(folder=None, output_formats=[]))
    run = _Run(job, model, files, progress)
    files.resume(run.restore)
    if not run.history:
        run.validate()
    unit, steps = _unit(job, model), job.settings.run.steps
    # rollouts of an on-policy algorithm, but episodes of an off-policy one: all copies end together
    log_interval = 1 if isinstance(model, OnPolicyAlgorithm) else job.settings.run.n_envs
    while model.num_timesteps < steps:
        stretch = min(_up(job.settings.run.validate_every, unit), _up(steps - model.num_timesteps, unit))
        draws = np.random.SeedSequence([job.seed, model.num_timesteps])
        model.set_random_seed(int(draws.generate_state(1)[0] >> 1))
        model._last_obs = None  # all environments begin anew
        model.learn(stretch, callback=_Watch(run), log_interval=log_interval, reset_num_timesteps=False)
        run.validate()
    return run.finish()


def make_model(job: TrainingJob) -> BaseAlgorithm:
    """The untrained algorithm on its environments; ValueError for arguments that it refuses."""
    mean, std = measure_scale(job)
    envs = gym.make_vec(
        "auction_env/Bidding-v0",
        num_envs=job.settings.run.n_envs,
        autoreset_mode="SameStep",
        task=job.task,
        params=job.spec.market.params,
        population=job.spec.market.population,
        action_kind=job.spec.action_kind,
        advertiser=job.experience.advertiser,
    )
    name, arguments = job.settings.name, dict(job.settings.algorithm)
    cls: Any = algorithm_class(name)
    if issubclass(cls, OnPolicyAlgorithm) and "batch_size" in arguments and "n_steps" in arguments:
        held = arguments["n_steps"] * job.settings.run.n_envs
        most = min(arguments["batch_size"], held)
        # equal minibatches: a truncated last one would count more
        arguments["batch_size"] = next(size for size in range(most, 0, -1) if held % size == 0)
    if job.settings.run.action_noise:
        n = job.spec.action_kind.n_actions
        arguments["action_noise"] = NormalActionNoise(np.zeros(n), np.full(n, job.settings.run.action_noise))
    discount = arguments.get("gamma", algorithm_defaults(name)["gamma"])
    try:
        model: BaseAlgorithm = cls(
            "MlpLstmPolicy" if name == "recurrent_ppo" else "MlpPolicy",
            NativeVecEnv(LearningReward(envs, job.settings.reward, discount=discount)),
            seed=job.seed,
            device="cpu",
            policy_kwargs=policy_kwargs(job.settings.policy, mean, std),
            **arguments,
        )
    except (AssertionError, TypeError, ValueError) as error:
        raise ValueError(f"`algorithm` and `policy` must be settings that {name} takes, found {error}") from error
    return model


def measure_scale(job: TrainingJob) -> tuple[Float, Float]:
    """(31,) mean and standard deviation of the observation over episodes of random constants; constant: 1."""
    n = job.settings.run.scaling_episodes
    played = job.play(RandomMultiplierBidder(), SCALING_SEED, n)
    n_ticks = len(played.features)
    requirements = np.broadcast_to(played.requirements, (n_ticks, *played.requirements.shape))
    return scale_of(observe(played.features, requirements).reshape(n_ticks * n, -1))


class _Run:
    """Validations and the best policy so far."""

    def __init__(self, job: TrainingJob, model: BaseAlgorithm, files: RunFiles, progress: Progress | None) -> None:
        self._job, self._model, self._files, self._progress = job, model, files, progress
        self._bidder = Sb3Bidder(model.policy, job.settings, job.task, job.spec.action_kind, data_hash=job.data_hash())
        self.history: list[Numbers] = []

    def restore(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Goes on from a `state`."""
        self._best = below("best", tensors)
        restore(self._model, tensors, record["model"])
        self.history = [Numbers(**line) for line in record["history"]]

    def state(self) -> State:
        """Model, best policy and validations."""
        tensors, record = state_of(self._model)
        tensors |= {f"best/{name}": tensor for name, tensor in self._best.items()}
        return tensors, {"model": record, "history": [dataclasses.asdict(line) for line in self.history]}

    def tell(self, record: Numbers | None = None) -> None:
        """Shows the progress."""
        if self._progress is not None:
            step = self._model.num_timesteps
            self._progress(step, max(step, self._job.settings.run.steps), record)

    def validate(self) -> None:
        """Plays the validation episodes; keeps the policy if it is the best, and writes the state."""
        job, model = self._job, self._model
        played = job.play(self._bidder, VALIDATION_SEED, job.settings.run.validation_episodes)
        score = played.score(expected=True)
        share = score * job.task.unit_worth(played.targets) / played.targets.budget
        numbers = {"score": float(score.mean()), "share": float(share.mean())}
        found = Numbers(step=model.num_timesteps, numbers=numbers)
        if not self.history or numbers["share"] > self.best.numbers["share"]:
            self._best = {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}
        self.history.append(found)
        for name, value in numbers.items():
            model.logger.record(f"validation/{name}", value)
        model.logger.dump(found.step)
        self._files.save(self.state)
        self.tell(found)

    @property
    def best(self) -> Numbers:
        return max(self.history, key=lambda line: line.numbers["share"])  # the first of equal ones

    def finish(self) -> Sb3Result:
        self._model.policy.load_state_dict(self._best)
        self._model.logger.close()
        self._files.finish(self._bidder.to_file)
        return TrainResult(bidder=self._bidder, history=tuple(self.history), best=self.best)


class _Watch(BaseCallback):
    """Score and learning return of the training episodes, and the progress."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self._run = run

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        if "score" in infos[0]:  # all copies end together
            for name in ("score", "return"):
                self.logger.record_mean(f"rollout/{name}", float(np.mean([info[name] for info in infos])))
        self._run.tell()
        return True


def _unit(job: TrainingJob, model: BaseAlgorithm) -> int:
    """Environment steps of whole episodes that are whole updates too."""
    per_update = model.n_steps if isinstance(model, OnPolicyAlgorithm) else job.settings.algorithm.get("train_freq", 1)
    return job.settings.run.n_envs * math.lcm(job.spec.market.params.n_ticks, int(per_update))


def _up(steps: int, unit: int) -> int:
    return -(-steps // unit) * unit
