"""OIL (arXiv 2412.11434): a network plays, an oracle says what it should have bid in each tick, and it learns that.

The student begins at random and plays its own episodes, so that the oracle answers for the states that the student
gets into, as in DAgger. Each iteration's episodes are used for some epochs and then dropped, as the authors found best.
The oracle knows what all others bid in the episode (`agents.hindsight.imitation.oracle`); theirs solves a knapsack over
slots greedily, ours takes the best constant multiplier of the rest of the episode, which is what that greedy choice by
value over cost comes to where an action is one multiplier a tick.
"""

from __future__ import annotations

import dataclasses
import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.hindsight.imitation.oracle import Brought, best_log_ratios, brought_by
from agents.hindsight.prices import check_prices_settled
from agents.labels.hindsight import LOG_GRID
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
from agents.learning.policy import DeterministicActor, Policy
from agents.learning.policy_bidder import PolicyBidder
from agents.learning.progress import Progress, shown
from agents.learning.run_state import RunFiles, State, below, load_optimizer, optimizer_tensors
from agents.learning.scalars import scalar_writer
from agents.learning.settings import Settings, check_fields, require, require_positive
from agents.rollouts import Episodes, rollout
from agents.rules.random_multiplier import RandomMultiplierBidder
from auction_env.control.simulation import LiveMarket
from auction_env.market.market import BatchMarket
from auction_env.market.params import MarketParams
from auction_env.market.population import auctionnet_population
from auction_env.market.tracing import check_traceable, trace_tick
from auction_env.tasks import BASES, QUANTITIES, Task

Float = NDArray[np.float64]

VALIDATION_SEED, SCALING_SEED = 1_000_000, 3_000_000  # first of the episodes; training draws its own below 2**62
_PLAY, _BATCHES, _WEIGHTS = 0, 1, 2  # streams of random numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class OilSettings(Settings):
    """Of the student and of its training.

    Attributes:
        hidden: Widths of the network's layers.
        iterations: Of playing and learning.
        episodes: That an iteration plays.
        epochs: How often an iteration goes through what it played.
        batch_size: Ticks of a gradient step.
        learning_rate: Of Adam.
        scaling_episodes: Of random constants, over which the observation is normalised.
        validation_episodes: Fixed ones, whose score chooses among the iterations.
        validate_every: Iterations between two validations, and two states of the run.
    """

    hidden: tuple[int, ...] = (64, 64)
    iterations: int = 40
    episodes: int = 24
    epochs: int = 8
    batch_size: int = 64
    learning_rate: float = 1e-3
    scaling_episodes: int = 48
    validation_episodes: int = 48
    validate_every: int = 5

    def __post_init__(self) -> None:
        check_fields(self)
        require_positive(self, "learning_rate")
        require(bool(self.hidden) and min(self.hidden) > 0, "hidden", "a list of positive widths", self.hidden)
        for part in dataclasses.fields(self):
            if part.name not in ("hidden", "learning_rate"):
                require(getattr(self, part.name) >= 1, part.name, "at least 1", getattr(self, part.name))


class OilLearner(Learner):
    """Learns one task by playing in a market whose impressions can be traced."""

    experience = "market"

    def defaults(self) -> OilSettings:
        """See `Learner`."""
        return OilSettings()

    def restore(self, file: AgentFile, device: str) -> PolicyBidder:
        """See `Learner`."""
        check_cpu(self.name, device)
        settings = OilSettings.from_dict(file.settings)
        return PolicyBidder.from_file(file, settings, DeterministicActor(settings.hidden))

    def train(
        self,
        experience: MarketExperience,
        *,
        task: Tasks = None,
        validation: None = None,
        settings: OilSettings | None = None,
        seed: int | None = None,
        device: str = "cpu",
        out: Path | str | None = None,
        force: bool = False,
        save_every: int | None = None,
        progress: Progress | bool | None = None,
        log_dir: Path | None = None,
    ) -> TrainResult[PolicyBidder, Numbers]:
        """See `Learner`; a state is written after each validation, every `validate_every` iterations.

        Raises:
            ValueError: A market for which the oracle has no answer, or a `save_every`.
        """
        check_cpu(self.name, device)
        if save_every is not None:
            raise ValueError(f"`save_every` must not be given for {self.name!r}: set `validate_every`")
        learned = one_task(self.name, task)
        school = _School(self.name, settings or self.defaults(), learned, experience, check_seed(seed))
        files = RunFiles(out, school.identity, force=force)
        with torch.random.fork_rng(devices=[]), shown(progress, self.name) as tell:
            return school.train(files, tell, log_dir)


class _Lesson(NamedTuple):
    """Ticks that were played, and what the oracle says of them: n of them."""

    observation: NDArray[np.float32]  # (n, 31)
    log_ratio: Float  # (n,)


class _School:
    """Student, market and history of one training."""

    def __init__(self, name: str, settings: OilSettings, task: Task, experience: MarketExperience, seed: int) -> None:
        params = experience.params or MarketParams.for_task(task)
        params.check_task(task)
        check_prices_settled(params)
        check_traceable(params)
        self._market = LiveMarket(params=params, population=experience.population or auctionnet_population())
        n = self._market.population.n_advertisers
        self._advertiser = experience.advertiser
        if self._advertiser is not None and not 0 <= self._advertiser < n:
            raise ValueError(f"`advertiser` must be from 0 to {n - 1}, found {self._advertiser}")
        self._name, self._settings, self._task, self._seed = name, settings, task, seed
        text = f"{params!r} {self._market.population!r}"
        self._data_hash = hashlib.sha256(text.encode()).hexdigest()
        self.identity = {
            "agent": name, "settings": settings.to_dict(), "task": task.to_json(), "seed": seed,
            "advertiser": self._advertiser, "data": self._data_hash,
        }  # fmt: skip
        self._n_done = 0
        self.history: list[Numbers] = []

    def train(
        self, files: RunFiles, progress: Progress | None, log_dir: Path | None
    ) -> TrainResult[PolicyBidder, Numbers]:
        """Iterations until all are done."""
        total = self._settings.iterations
        self._make_student()
        if not files.resume(self._restore):
            self._validate()
        with ExitStack() as stack:
            events = None if log_dir is None else stack.enter_context(scalar_writer(log_dir, self._n_done))
            while self._n_done < total:
                loss = self._iterate()
                self._n_done += 1
                record = None
                if self._n_done % self._settings.validate_every == 0 or self._n_done == total:
                    record = self._validate(loss)
                    files.save(self._state)
                    if events is not None:
                        for label, value in record.numbers.items():
                            events.add_scalar(label, value, self._n_done)
                if progress is not None:
                    progress(self._n_done, total, record)
        self._policy.load_state_dict(self._best)
        bidder = self._bidder()
        files.finish(bidder.to_file)
        return TrainResult(bidder=bidder, history=tuple(self.history), best=self._best_record())

    def _make_student(self) -> None:
        n = self._settings.scaling_episodes
        played = self._play(RandomMultiplierBidder(), SCALING_SEED, n)
        shape = (*played.features.shape[:2], played.requirements.shape[1])
        seen = observe(played.features, np.broadcast_to(played.requirements, shape))
        mean, std = scale_of(seen.reshape(-1, seen.shape[-1]))
        torch.manual_seed(_draw(self._seed, _WEIGHTS, 0))
        actor = DeterministicActor(self._settings.hidden)
        self._policy = Policy(
            actor, torch.from_numpy(mean), torch.from_numpy(std), float(LOG_GRID[0]), float(LOG_GRID[-1])
        )
        self._optimizer = torch.optim.Adam(actor.parameters(), self._settings.learning_rate)
        self._best = self._weights()

    def _bidder(self) -> PolicyBidder:
        return PolicyBidder(self._policy.eval(), self._name, self._settings, self._task, data_hash=self._data_hash)

    def _advertisers(self, n: int) -> NDArray[np.int64]:
        if self._advertiser is not None:
            return np.full(n, self._advertiser)
        return np.arange(n) % self._market.population.n_advertisers

    def _play(self, bidder: Any, first_seed: int, n: int) -> Episodes:
        """n fixed episodes of the market."""
        return rollout(
            bidder,
            seeds=first_seed + np.arange(n),
            advertisers=self._advertisers(n),
            task=self._task,
            market=self._market,
            progress=False,
        )

    def _iterate(self) -> float:
        """Plays, asks the oracle and learns; the mean loss of the last epoch."""
        lesson = self._played()
        observation = self._policy.normalise(torch.from_numpy(lesson.observation))
        label = self._policy.to_action(torch.from_numpy(lesson.log_ratio))
        generator = torch.Generator().manual_seed(_draw(self._seed, _BATCHES, self._n_done))
        losses: list[Tensor] = []
        for _ in range(self._settings.epochs):
            losses, order = [], torch.randperm(len(label), generator=generator)
            for first in range(0, len(order), self._settings.batch_size):
                rows = order[first : first + self._settings.batch_size]
                loss = (self._policy.actor(observation[rows]) - label[rows]).square().mean()
                self._optimizer.zero_grad()
                loss.backward()
                self._optimizer.step()
                losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def _played(self) -> _Lesson:
        """The student's own episodes, tick by tick, with the oracle's answers; without those of ended campaigns."""
        rng = np.random.default_rng([self._seed, _PLAY, self._n_done])
        n = self._settings.episodes
        seeds = rng.integers(2**40, 2**62, n)
        drawn = rng.integers(self._market.population.n_advertisers, size=n)
        advertisers = drawn if self._advertiser is None else np.full(n, self._advertiser)
        simulation, student = self._market.one_each(self._task, advertisers), self._bidder()
        simulation.reset(seeds)
        counting = self._counting(seeds)
        campaigns = simulation.campaigns()
        student.reset(campaigns)
        brought: list[list[Brought]] = [[] for _ in range(n)]
        seen, active, spent = [], [], [np.zeros(n)]
        earned = {basis: [np.zeros(n)] for basis in self._task.needs}
        for _ in range(self._market.params.n_ticks):
            view = simulation.view()
            seen.append(student.observe(view))
            active.append(simulation.active)
            everyone = simulation.decide(student.act(view))
            for row, advertiser in enumerate(advertisers):
                traced = trace_tick(simulation.market, everyone.multipliers[row], row, any_basis=True)
                worth, j = float(campaigns.base[row]), int(advertiser)
                others = {basis: market.values_of(row, j).astype(np.float64) for basis, market in counting.items()}
                brought[row].append(brought_by(self._market.params, traced, j, worth, self._task, others))
            for market in counting.values():
                market.step(np.zeros((n, market.n_advertisers)))
            tick, _ = simulation.play(everyone)
            spent.append(spent[-1] + tick.cost)
            for basis, sums in earned.items():
                sums.append(sums[-1] + getattr(tick, QUANTITIES[basis].expected))
        paid = np.stack(spent[:-1])  # (T, n)
        gained = {basis: np.stack(sums[:-1]) for basis, sums in earned.items()}
        answers = [
            best_log_ratios(
                self._task, campaigns.targets.at(row), brought[row], paid[:, row],
                {basis: sums[:, row] for basis, sums in gained.items()},
            )
            for row in range(n)
        ]  # fmt: skip
        kept = np.stack(active, axis=1)  # (n, T)
        return _Lesson(np.stack(seen, axis=1)[kept], np.stack(answers)[kept])

    def _counting(self, seeds: NDArray[np.int64]) -> dict[str, BatchMarket]:
        """The same impressions by what the task's limits count beside its objective: a market each, without bids."""
        params, population = self._market.params, self._market.population
        others = [basis for basis in self._task.needs if basis != self._task.basis]
        markets = {basis: BatchMarket(params, population, len(seeds)) for basis in others}
        for basis, market in markets.items():
            market.reset(seeds, None, np.full((len(seeds), market.n_advertisers), BASES.index(basis)))
        return markets

    def _validate(self, loss: float | None = None) -> Numbers:
        """Plays the validation episodes; keeps the student if it is the best so far."""
        played = self._play(self._bidder(), VALIDATION_SEED, self._settings.validation_episodes)
        score = played.score(expected=True)
        share = score * self._task.unit_worth(played.targets) / played.targets.budget
        numbers = {"score": float(score.mean()), "share": float(share.mean())}
        if loss is not None:
            numbers["loss"] = loss
        if not self.history or numbers["share"] > self._best_record().numbers["share"]:
            self._best = self._weights()
        self.history.append(Numbers(step=self._n_done, numbers=numbers))
        return self.history[-1]

    def _best_record(self) -> Numbers:
        return max(self.history, key=lambda line: line.numbers["share"])  # the first of equal ones

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self._policy.state_dict().items()}

    def _state(self) -> State:
        tensors = {f"policy/{name}": tensor for name, tensor in self._policy.state_dict().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self._best.items()}
        tensors |= optimizer_tensors("optimizer", self._optimizer)
        return tensors, {"done": self._n_done, "history": [dataclasses.asdict(line) for line in self.history]}

    def _restore(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        self._policy.load_state_dict(below("policy", tensors))
        self._best = below("best", tensors)
        load_optimizer("optimizer", self._optimizer, tensors)
        self._n_done = int(record["done"])
        self.history = [Numbers(**line) for line in record["history"]]


def _draw(seed: int, stream: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, stream, number]).generate_state(1, np.uint64)[0] >> 1)
