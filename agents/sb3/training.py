"""Trains Stable-Baselines3's algorithms on `Bidding-v0` and returns the bidder that validated best.

Needs the extra `sb3`; `agents` does not import this module. The training goes in stretches of whole episodes. Before
each, all generators are seeded by (seed, number of the stretch) and all environments begin anew; after each, the policy
is validated, the best one is written and so is the state of the run, from which it can go on to the same numbers.
Stable-Baselines3 draws from the global generators of torch and NumPy, which this therefore seeds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

import auction_env  # noqa: F401 - registers the environment
from agents.learning.checkpoint import read, write
from agents.learning.observation import observe, scale_of
from agents.rollout import rollout
from agents.rules.random_multiplier import RandomMultiplierBidder
from agents.sb3.bidder import Sb3Bidder, save
from agents.sb3.policy import algorithm_class, policy_kwargs
from agents.sb3.reward import LearningReward
from agents.sb3.settings import Sb3Settings, known_keys
from agents.sb3.state import restore, state_of
from agents.sb3.vector_env import NativeVecEnv
from auction_env.envs.live import LiveMarket, live_spec
from auction_env.envs.spec import BiddingSpec
from auction_env.market.params import MarketParams
from auction_env.market.population import Population
from auction_env.tasks import Task

Float = NDArray[np.float64]

VALIDATION_SEED, SCALING_SEED = 1_000_000, 3_000_000  # first of the episodes; training draws its own below 2**62
_STATE = "sb3-run"


class Validation(NamedTuple):
    """The deterministic policy on the validation episodes."""

    step: int  # environment steps of training before it
    score: float  # mean, of predicted amounts
    share: float  # mean of score over what the budget buys at the worth of a unit


Tell = Callable[[int, "Validation | None"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """What is trained where.

    Attributes:
        settings: Algorithm and hyperparameters.
        task: The task.
        steps: Environment steps, all copies together; rounded up to whole episodes and updates.
        n_envs: Copies of the environment.
        seed: Of everything.
        params, population: The market.
        advertiser: Who learns; None draws one for each episode.
    """

    settings: Sb3Settings
    task: Task
    steps: int
    n_envs: int = 64
    seed: int = 0
    params: MarketParams | None = None
    population: Population | None = None
    advertiser: int | None = None
    spec: BiddingSpec[LiveMarket] = field(init=False)

    def __post_init__(self) -> None:
        for name in ("steps", "n_envs"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, found {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"`seed` must not be negative, found {self.seed}")
        starts = self.settings.algorithm.get("learning_starts", 0)
        if self.steps <= starts:
            raise ValueError(f"`steps` must be above `algorithm.learning_starts` = {starts}, found {self.steps}")
        action = asdict(self.settings.action)
        spec = live_spec(
            task=self.task,
            params=self.params,
            population=self.population,
            action_kind=action.pop("kind"),
            **action,
        )
        if self.advertiser is not None and not 0 <= self.advertiser < spec.market.population.n_advertisers:
            n = spec.market.population.n_advertisers
            raise ValueError(f"`advertiser` must be from 0 to {n - 1}, found {self.advertiser}")
        object.__setattr__(self, "spec", spec)

    def advertisers(self, n: int) -> NDArray[np.int64]:
        """Who is controlled in n episodes that are not drawn."""
        if self.advertiser is not None:
            return np.full(n, self.advertiser)
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
        market = hashlib.sha256(f"{self.spec.market.params!r} {self.spec.market.population!r}".encode()).hexdigest()
        return {
            "algorithm": self.settings.name,
            "settings": self.settings.to_dict(),
            "task": self.task.to_json(),
            "n_envs": self.n_envs,
            "seed": self.seed,
            "advertiser": self.advertiser,
            "market": market,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """The outcome: the policy of the best validation, and all validations (the first is before training)."""

    bidder: Sb3Bidder
    best: Validation
    history: tuple[Validation, ...]


def train(
    job: TrainingJob, *, out: Path | None = None, log_dir: Path | None = None, tell: Tell | None = None
) -> TrainResult:
    """Trains; see the module.

    Args:
        job: What.
        out: Checkpoint of the best policy so far; the state of the run lies beside it until it is done (`OUT.run`).
        log_dir: Event files for TensorBoard.
        tell: Called with the environment steps done, and the validation after a stretch.

    Raises:
        ValueError: Settings that the algorithm refuses, or the state of another run beside `out`.
    """
    model = make_model(job)
    model.set_logger(configure(str(log_dir), ["tensorboard"]) if log_dir else Logger(folder=None, output_formats=[]))
    bidder = Sb3Bidder(model.policy, job.settings, job.task, job.spec.action_kind)
    run = _Run(job, model, bidder, out)
    run.resume()
    callback = _Watch(tell)
    if not run.history:
        run.validate(tell)
    unit = _unit(job, model)
    # rollouts of an on-policy algorithm, but episodes of an off-policy one: all copies end together
    log_interval = 1 if isinstance(model, OnPolicyAlgorithm) else job.n_envs
    while model.num_timesteps < job.steps:
        stretch = min(_up(job.settings.run.validate_every, unit), _up(job.steps - model.num_timesteps, unit))
        draws = np.random.SeedSequence([job.seed, model.num_timesteps])
        model.set_random_seed(int(draws.generate_state(1)[0] >> 1))
        model._last_obs = None  # all environments begin anew
        model.learn(stretch, callback=callback, log_interval=log_interval, reset_num_timesteps=False)
        run.validate(tell)
    return run.finish()


def make_model(job: TrainingJob) -> BaseAlgorithm:
    """The untrained algorithm on its environments; ValueError for arguments that it refuses."""
    mean, std = measure_scale(job)
    envs = gym.make_vec(
        "auction_env/Bidding-v0",
        num_envs=job.n_envs,
        autoreset_mode="SameStep",
        task=job.task,
        params=job.spec.market.params,
        population=job.spec.market.population,
        action_kind=job.spec.action_kind,
        advertiser=job.advertiser,
    )
    name, arguments = job.settings.name, dict(job.settings.algorithm)
    cls: Any = algorithm_class(name)
    if issubclass(cls, OnPolicyAlgorithm) and "batch_size" in arguments and "n_steps" in arguments:
        held = arguments["n_steps"] * job.n_envs
        most = min(arguments["batch_size"], held)
        # equal minibatches: a truncated last one would count more
        arguments["batch_size"] = next(size for size in range(most, 0, -1) if held % size == 0)
    if job.settings.run.action_noise:
        n = job.spec.action_kind.n_actions
        arguments["action_noise"] = NormalActionNoise(np.zeros(n), np.full(n, job.settings.run.action_noise))
    discount = arguments.get("gamma", known_keys(name)["algorithm"]["gamma"])
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
    """Validations, the best policy so far, and the files of both."""

    def __init__(self, job: TrainingJob, model: BaseAlgorithm, bidder: Sb3Bidder, out: Path | None) -> None:
        self._job, self._model, self._bidder, self._out = job, model, bidder, out
        self._state = None if out is None else out.with_name(f"{out.name}.run")
        self.history: list[Validation] = []

    def resume(self) -> None:
        """Goes on from the state beside `out`, if there is one; ValueError if it is another run's."""
        if self._state is None or not self._state.exists():
            return
        tensors, record = read(self._state, _STATE)
        for name, value in self._job.identity().items():
            if record["job"][name] != value:
                raise ValueError(
                    f"{self._state} must be of a run with the same {name}, found {record['job'][name]!r} and {value!r}:"
                    " remove it to begin anew"
                )
        self._best = {name.removeprefix("best/"): t for name, t in tensors.items() if name.startswith("best/")}
        restore(self._model, tensors, record["model"])
        self.history = [Validation(*line) for line in record["history"]]

    def validate(self, tell: Tell | None) -> None:
        """Plays the validation episodes; writes the policy if it is the best, and the state."""
        job, model = self._job, self._model
        played = job.play(self._bidder, VALIDATION_SEED, job.settings.run.validation_episodes)
        score = played.score(expected=True)
        share = score * job.task.unit_worth(played.targets) / played.targets.budget
        found = Validation(model.num_timesteps, float(score.mean()), float(share.mean()))
        if not self.history or found.share > self.best.share:
            self._best = {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}
            if self._out is not None:
                save(self._out, self._bidder)
        self.history.append(found)
        model.logger.record("validation/score", found.score)
        model.logger.record("validation/share", found.share)
        model.logger.dump(found.step)
        if self._state is not None:
            tensors, record = state_of(model)
            tensors |= {f"best/{name}": tensor for name, tensor in self._best.items()}
            lines = [list(line) for line in self.history]
            write(self._state, _STATE, tensors, {"job": job.identity(), "model": record, "history": lines})
        if tell is not None:
            tell(found.step, found)

    @property
    def best(self) -> Validation:
        return max(self.history, key=lambda line: line.share)  # the first of equal ones

    def finish(self) -> TrainResult:
        self._model.policy.load_state_dict(self._best)
        self._model.logger.close()
        if self._out is not None and self._state is not None:
            save(self._out, self._bidder)  # a kill between the two files of a validation leaves an older state
            self._state.unlink(missing_ok=True)
        return TrainResult(bidder=self._bidder, best=self.best, history=tuple(self.history))


class _Watch(BaseCallback):
    """Score and learning return of the training episodes, and the progress."""

    def __init__(self, tell: Tell | None) -> None:
        super().__init__()
        self._tell = tell

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        if "score" in infos[0]:  # all copies end together
            for name in ("score", "return"):
                self.logger.record_mean(f"rollout/{name}", float(np.mean([info[name] for info in infos])))
        if self._tell is not None:
            self._tell(self.num_timesteps, None)
        return True


def _unit(job: TrainingJob, model: BaseAlgorithm) -> int:
    """Environment steps of whole episodes that are whole updates too."""
    per_update = model.n_steps if isinstance(model, OnPolicyAlgorithm) else job.settings.algorithm.get("train_freq", 1)
    return job.n_envs * math.lcm(job.spec.market.params.n_ticks, int(per_update))


def _up(steps: int, unit: int) -> int:
    return -(-steps // unit) * unit
