"""Trains the sharing methods, tunes every method on validation episodes, plays all on test episodes.

The steps are separate functions that hand each other plain values; the demo and later suites string them together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from agents import Bidder, Episodes, HindsightBidder, PidBidder, rollout_each
from auction_env import MarketParams, PacingGains, Population, Task
from auction_env.data import TrajectoryData
from benchmarks.console import Advance
from benchmarks.suites.methods.tuning import Choice, choose
from benchmarks.suites.storage.rows import Rows, concatenate, result_rows
from vamo import Config, TrainResult, VamoBidder, override, train

PID = "PID (tuned)"
SINGLE = "single-task"
METHODS = {SINGLE: "single", "pooled sharing": "pooled", "uniform sharing": "uniform", "VAO": "vao"}
"""Label -> `train.method` of the learned methods. Naive sharing has two forms, and both are reported."""

BUDGET_RATIOS = (0.9, 0.95, 1.0, 1.05, 1.1, 1.2)
"""What a policy that learned the best multiplier in hindsight may be told: its budget over the true one."""
ASKED_QUANTILES = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
"""What a policy that learned logged actions may be asked for: quantiles of the training returns."""
PID_STARTS = (0.7, 1.0)
PID_INTEGRAL_GAINS = (0.02, 0.05, 0.15)
"""The tuning grid of the PID; as many candidates as a policy has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeSet:
    """Market seeds and, for each, the advertiser that the tested bidder controls; (n,) int64 both."""

    seeds: NDArray[np.int64]
    advertisers: NDArray[np.int64]

    @classmethod
    def draw(cls, n: int, *, first_seed: int, n_advertisers: int) -> EpisodeSet:
        """Seeds from `first_seed` on; the advertisers take turns."""
        return cls(seeds=np.arange(first_seed, first_seed + n), advertisers=np.arange(n) % n_advertisers)

    def __len__(self) -> int:
        return len(self.seeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """The market that all methods meet, and the episodes to tune and to test on (disjoint seeds)."""

    params: MarketParams
    population: Population
    validation: EpisodeSet
    test: EpisodeSet

    def __post_init__(self) -> None:
        shared = np.intersect1d(self.validation.seeds, self.test.seeds)
        if len(shared):
            raise ValueError(f"validation and test must not share market seeds, found {shared[0]} in both")


def train_methods(
    sources: Mapping[str, TrajectoryData],
    validation: Mapping[str, TrajectoryData],
    overrides: tuple[str, ...],
    *,
    callback: Advance,
) -> dict[str, dict[str, TrainResult]]:
    """Trains every method; returns label -> target task -> result.

    The single-task method has a model for each target; the others have one for all, the same object under each
    target.
    """
    results: dict[str, dict[str, TrainResult]] = {}
    for label, method in METHODS.items():
        config = override(Config(), (f"train.method={method}", *overrides))
        groups = [[name] for name in validation] if method == "single" else [list(validation)]
        results[label] = {}
        for targets in groups:
            result = train(sources, validation, config, targets=targets, name=label, progress=_Steps(callback))
            results[label] |= dict.fromkeys(targets, result)
    return results


class _Steps:
    """Turns the records of a history into steps for a progress bar."""

    def __init__(self, advance: Advance) -> None:
        self._advance, self._done = advance, 0

    def __call__(self, step: int, n_steps: int, record: object) -> None:
        self._advance(step - self._done)
        self._done = step


def n_train_steps(n_targets: int, overrides: tuple[str, ...]) -> int:
    """Steps of `train_methods` in total."""
    runs = len(METHODS) - 1 + n_targets
    return runs * override(Config(), overrides).train.steps


def asked_candidates(bidder: VamoBidder) -> list[Bidder]:
    """The policy, told or asked for each of the things that it may be."""
    if bidder.config.data.action_label == "hindsight":
        return [bidder.conditioned_on(budget_ratio=ratio) for ratio in BUDGET_RATIOS]
    return [bidder.conditioned_on(quantile=quantile) for quantile in ASKED_QUANTILES]


def pid_candidates() -> list[Bidder]:
    """PIDs with other starts and integral gains."""
    grid = product(PID_STARTS, PID_INTEGRAL_GAINS)
    return [PidBidder(start, PacingGains(p=0.0, i=gain), name=PID) for start, gain in grid]


def candidates(task: Task, trained: Mapping[str, Mapping[str, TrainResult]]) -> Iterator[tuple[str, list[Bidder]]]:
    """(label, candidates) of every method for a task."""
    yield PID, pid_candidates()
    for label, of_target in trained.items():
        yield label, asked_candidates(of_target[task.name].bidder)


def tune(
    task: Task, trained: Mapping[str, Mapping[str, TrainResult]], arena: Arena, advance: Advance
) -> dict[str, Choice]:
    """The chosen candidate of every method, on validation episodes."""
    return {
        label: choose(
            bidders,
            seeds=arena.validation.seeds,
            advertisers=arena.validation.advertisers,
            task=task,
            params=arena.params,
            population=arena.population,
            progress=advance,
        )
        for label, bidders in candidates(task, trained)
    }


def test(
    task: Task, bidders: Mapping[str, Bidder], arena: Arena, advance: Advance
) -> tuple[dict[str, Episodes], Episodes]:
    """Plays the test episodes with every bidder, and with the hindsight reference."""
    best = HindsightBidder(task, params=arena.params, population=arena.population, expected=True)
    *played, reference = rollout_each(
        [*bidders.values(), best],
        seeds=arena.test.seeds,
        advertisers=arena.test.advertisers,
        task=task,
        params=arena.params,
        population=arena.population,
        progress=advance,
    )
    return dict(zip(bidders, played, strict=True)), reference


def rows_of(played: Mapping[str, tuple[dict[str, Episodes], Episodes]], *, suite: str, train_seed: int) -> Rows:
    """Result rows of all tasks; `train_seed` for the learned methods."""
    parts = []
    for episodes, reference in played.values():
        seeds = {label: train_seed if label in METHODS else -1 for label in episodes}
        parts.append(result_rows(episodes, reference, suite=suite, train_seed=seeds))
    return concatenate(parts)
