"""What a suite compares: how each kind of method is trained and tuned. An open table.

A method gets the logs of all tasks and the validation episodes of those that it is tuned for, and returns a bidder for
each; it never sees a test episode. To add one, write such a function, or reuse one, and add a line to `METHODS`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from agents import Bidder, make, record_prices, registry
from benchmarks.suites.data.variant import Games, Logs, World
from benchmarks.suites.methods.tuning import GENERATIVE_SPACES, Choice, candidates_of, choose, read_spaces, tune

HISTORY_SEED = 2**38
N_HISTORY = 8
"""Market episodes behind rules that know the prices of other days: apart from all that is played or logged."""


class Curve(NamedTuple):
    """What a training left behind: `vamo.TrainResult` without its bidders."""

    targets: tuple[str, ...]
    sources: tuple[str, ...]
    records: Sequence[Any]  # vamo.Record


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a method gets.

    Attributes:
        world: Logs and validation episodes. Its test episodes are not for methods.
        settings: "key=value" of the suite's method, in which later ones win.
        training: The suite's overrides of `vamo.Config`.
        train_seed: Seed of the training; -1 for what is not trained.
        n_candidates: Settings that a rule is tuned over.
        device: Where `vamo.train` trains.
    """

    world: World
    settings: tuple[str, ...]
    training: tuple[str, ...]
    train_seed: int
    n_candidates: int
    device: str = "cpu"

    @property
    def targets(self) -> dict[str, Games]:
        """The tasks to return bidders for, each with its validation episodes."""
        return self.world.targets

    @cached_property
    def logs(self) -> tuple[Logs, Logs]:
        """Training and validation trajectories by task."""
        return self.world.load()

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


def fit_rule(setting: Setting) -> Fitted:
    """An agent of the registry (`agent=NAME`), tuned on validation episodes where it has a search space."""
    agent, started = setting.option("agent"), time.perf_counter()
    space = read_spaces().get(agent, {})
    fitted = Fitted(bidders={})
    for name, games in setting.targets.items():
        fixed = {"history": _history(games)} if agent == "online-lp" else {}
        if not space:
            fitted.bidders[name] = make(agent, **fixed)
            continue
        bidder, record = tune(
            agent,
            space,
            n_candidates=setting.n_candidates,
            seed=0,
            task=games.task,
            params=games.params,
            population=games.population,
            seeds=games.seeds,
            advertisers=games.advertisers,
            days=games.days,
            fixed=fixed,
        )
        fitted.bidders[name] = bidder
        fitted.chosen[name] = {"parameters": record.parameters, "stability": record.stability}
    fitted.tune_seconds = time.perf_counter() - started
    return fitted


def _history(games: Games) -> Any:
    return record_prices(games.params, games.population, HISTORY_SEED + np.arange(N_HISTORY), task=games.task)


def fit_vamo(setting: Setting) -> Fitted:
    """One model for all tasks (`vamo.train`); the settings are overrides of `vamo.Config`."""
    return _fit_vamo(setting, [list(setting.logs[1])])


def fit_vamo_each(setting: Setting) -> Fitted:
    """A model of its own for every task that is tuned for: the single-task baseline, with `train.method=single`."""
    return _fit_vamo(setting, [[name] for name in setting.targets])


def _fit_vamo(setting: Setting, groups: Iterable[list[str]]) -> Fitted:
    from vamo import Config, VamoBidder, override, train

    overrides = (*setting.training, *setting.settings, f"train.seed={setting.train_seed}")
    config = override(Config(), overrides)
    sources, validation = setting.logs
    fitted, started = Fitted(bidders={}), time.perf_counter()
    policies: dict[str, VamoBidder] = {}
    for targets in groups:
        result = train(sources, validation, config, targets=targets, device=setting.device)
        policies |= dict.fromkeys(targets, result.bidder)
        fitted.curves.append(Curve(result.targets, result.sources, result.history))
        fitted.n_steps += result.history[-1].step
    fitted.train_seconds = time.perf_counter() - started
    fitted.step_seconds = float(np.mean([record.step_time for curve in fitted.curves for record in curve.records]))
    choose_asked(setting, fitted, {name: asked(policies[name]) for name in setting.targets})
    return fitted


def asked(policy: Any) -> dict[str, Bidder]:
    """What a `VamoBidder` may be told or asked for, by description."""
    from benchmarks.demo.experiment import ASKED_QUANTILES, BUDGET_RATIOS, asked_candidates

    is_hindsight = policy.config.data.action_label == "hindsight"
    name, values = ("budget_ratio", BUDGET_RATIOS) if is_hindsight else ("quantile", ASKED_QUANTILES)
    made = asked_candidates(policy)
    return {f"{name}={value:g}": bidder for value, bidder in zip(values, made, strict=True)}


def choose_asked(setting: Setting, fitted: Fitted, candidates: Mapping[str, Mapping[str, Bidder]]) -> None:
    """Chooses every target's bidder among its candidates by description, on its validation episodes."""
    started = time.perf_counter()
    for name, of_target in candidates.items():
        games = setting.targets[name]
        choice: Choice = choose(
            list(of_target.values()),
            seeds=games.seeds,
            advertisers=games.advertisers,
            task=games.task,
            params=games.params,
            population=games.population,
            days=games.days,
        )
        fitted.bidders[name] = choice.bidder
        fitted.chosen[name] = {"asked": list(of_target)[choice.position], "stability": choice.stability}
    fitted.tune_seconds += time.perf_counter() - started


def fit_generative(setting: Setting) -> Fitted:
    """A generative baseline (`algo=NAME` of `vamo.baselines`) for each task, from the task's own logs.

    Further settings are "section.key=value" of the algorithm. What it may be asked for is searched in
    `generative_spaces.toml`, by as many candidates as `vamo` has.
    """
    from benchmarks.demo.experiment import BUDGET_RATIOS

    algorithm = setting.option("algo")
    learner = registry.learner(algorithm)
    own = [assignment for assignment in setting.settings if not assignment.startswith("algo=")]
    settings = learner.settings(assignments=(*setting.training, *own, f"train.seed={setting.train_seed}"))
    points: list[dict[str, Any]] = list(
        candidates_of(read_spaces(GENERATIVE_SPACES)[algorithm], len(BUDGET_RATIOS), seed=0)
    )
    sources, validation = setting.logs
    fitted, started = Fitted(bidders={}), time.perf_counter()
    candidates: dict[str, dict[str, Bidder]] = {}
    for name in setting.targets:
        bidder = learner.train(sources[name], validation=validation[name], settings=settings).bidder
        candidates[name] = {_words(point): bidder.conditioned_on(**point) for point in points}
        fitted.n_steps += settings.train.steps
    fitted.train_seconds = time.perf_counter() - started
    fitted.step_seconds = fitted.train_seconds / fitted.n_steps
    choose_asked(setting, fitted, candidates)
    return fitted


def _words(point: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.3g}" for name, value in point.items()) or "as trained"


def fit_offline(setting: Setting) -> Fitted:
    """An offline learner (`algo=NAME` of `agents.offline`) for each task, from the task's own logs.

    It has nothing to be asked for, so it is not tuned; further settings are "key=value" of the algorithm.
    """
    learner = registry.learner(setting.option("algo"))
    own = [assignment for assignment in setting.settings if not assignment.startswith("algo=")]
    settings = learner.settings(assignments=own)
    fitted, started = Fitted(bidders={}), time.perf_counter()
    for name, games in setting.targets.items():
        logs = setting.logs[0][name]
        result = learner.train(logs, task=games.task, settings=settings, seed=setting.train_seed)
        fitted.bidders[name] = result.bidder
        fitted.n_steps += settings.steps
    fitted.train_seconds = time.perf_counter() - started
    fitted.step_seconds = fitted.train_seconds / fitted.n_steps
    return fitted


def fit_sb3(setting: Setting) -> Fitted:
    """A Stable-Baselines3 agent (`algo=NAME`, `steps=N` environment steps) for each task, trained in its market."""
    from agents.learning.learner import MarketExperience

    learner, steps = registry.learner(setting.option("algo")), int(setting.option("steps"))
    settings = learner.settings(assignments=[f"run.steps={steps}"])
    fitted, started = Fitted(bidders={}), time.perf_counter()
    for name, games in setting.targets.items():
        market = MarketExperience(params=games.params, population=games.population)
        result = learner.train(market, task=games.task, settings=settings, seed=setting.train_seed)
        fitted.bidders[name] = result.bidder
        fitted.n_steps += steps
    fitted.train_seconds = time.perf_counter() - started
    fitted.step_seconds = fitted.train_seconds / fitted.n_steps
    return fitted


METHODS: dict[str, Fit] = {
    "rule": fit_rule,
    "vamo": fit_vamo,
    "vamo-each": fit_vamo_each,
    "generative": fit_generative,
    "offline": fit_offline,
    "sb3": fit_sb3,
}
"""How the methods of suites are made, by the name that an `Arm` gives."""
