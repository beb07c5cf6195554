"""What a suite compares: how each kind of method is trained and tuned. An open table.

A method gets the logs of all tasks and the validation episodes of those that it is tuned for, and returns a bidder for
each; it never sees a test episode. To add one, write such a function, or reuse one, and add a line to `METHODS`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from agents import Bidder, make, record_prices, record_scenarios, registry
from benchmarks.suites.methods.conditions import BUDGET_RATIOS, choose_condition, conditioned
from benchmarks.suites.methods.fitting import Curve, Fit, Fitted, Setting
from benchmarks.suites.methods.tuning import GENERATIVE_SPACES, candidates_of, read_spaces, tune
from benchmarks.suites.spec import Arm
from benchmarks.suites.user_file import find_function

HISTORY_SEED = 2**38
N_HISTORY = 8
"""Market episodes behind rules that know the prices of other days: apart from all that is played or logged."""
FROM_LOGS = ("grm", "mpc-response")
"""Rules that know the response that the task's training logs give: what the learners of these logs know."""


def fit_rule(setting: Setting) -> Fitted:
    """An agent of the registry (`agent=NAME`), tuned on validation episodes where it has a search space."""
    agent, started = setting.option("agent"), time.perf_counter()
    space = read_spaces().get(agent, {})
    fitted = Fitted(bidders={})
    for name, episodes in setting.targets.items():
        fixed = _history(agent, name, setting)
        if not space:
            fitted.bidders[name] = make(agent, **fixed)
            continue
        bidder, record = tune(
            agent,
            space,
            n_candidates=setting.n_candidates,
            seed=0,
            task=episodes.task,
            params=episodes.params,
            population=episodes.population,
            seeds=episodes.seeds,
            advertisers=episodes.advertisers,
            days=episodes.days,
            fixed=fixed,
        )
        fitted.bidders[name] = bidder
        fitted.chosen[name] = {"parameters": record.parameters, "stability": record.stability}
    fitted.tune_seconds = time.perf_counter() - started
    return fitted


def _history(agent: str, task: str, setting: Setting) -> dict[str, Any]:
    """What a rule knows of other days, as its argument: prices of the market, or the task's own training logs."""
    episodes = setting.targets[task]
    if agent == "online-lp":
        seeds = HISTORY_SEED + np.arange(N_HISTORY)
        return {"history": record_prices(episodes.params, episodes.population, seeds, task=episodes.task)}
    if agent in FROM_LOGS:
        return {"history": record_scenarios(setting.logs[0][task], episodes.task)}
    return {}


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
    choose_condition(setting, fitted, {name: conditioned(policies[name]) for name in setting.targets})
    return fitted


def fit_generative(setting: Setting) -> Fitted:
    """A generative baseline (`algo=NAME` of `vamo.baselines`) for each task, from the task's own logs.

    Further settings are "section.key=value" of the algorithm. What it is conditioned on is searched in
    `generative_spaces.toml`, with as many candidates as `vamo` has.
    """
    algorithm = setting.option("algo")
    learner = registry.learner(algorithm)
    own = [assignment for assignment in setting.settings if not assignment.startswith("algo=")]
    settings = learner.settings(assignments=(*setting.training, *own, f"train.seed={setting.train_seed}"))
    points: list[dict[str, Any]] = [{"budget_ratio": ratio} for ratio in BUDGET_RATIOS]
    if settings.data.action_label == "logged":
        points = list(candidates_of(read_spaces(GENERATIVE_SPACES)[algorithm], len(BUDGET_RATIOS), seed=0))
    sources, validation = setting.logs
    fitted, started = Fitted(bidders={}), time.perf_counter()
    candidates: dict[str, dict[str, Bidder]] = {}
    for name in setting.targets:
        bidder = learner.train(sources[name], validation=validation[name], settings=settings).bidder
        candidates[name] = {_words(point): bidder.conditioned_on(**point) for point in points}
        fitted.n_steps += settings.train.steps
    fitted.train_seconds = time.perf_counter() - started
    fitted.step_seconds = fitted.train_seconds / fitted.n_steps
    choose_condition(setting, fitted, candidates)
    return fitted


def _words(point: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.3g}" for name, value in point.items()) or "as trained"


def fit_offline(setting: Setting) -> Fitted:
    """An offline learner (`algo=NAME` of `agents.offline`) for each task, from the task's own logs.

    It is conditioned on nothing, so it is not tuned; further settings are "key=value" of the algorithm.
    """
    learner = registry.learner(setting.option("algo"))
    own = [assignment for assignment in setting.settings if not assignment.startswith("algo=")]
    settings = learner.settings(assignments=own)
    fitted, started = Fitted(bidders={}), time.perf_counter()
    for name, episodes in setting.targets.items():
        logs = setting.logs[0][name]
        result = learner.train(logs, task=episodes.task, settings=settings, seed=setting.train_seed)
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
    for name, episodes in setting.targets.items():
        market = MarketExperience(params=episodes.params, population=episodes.population)
        result = learner.train(market, task=episodes.task, settings=settings, seed=setting.train_seed)
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


def method_of(arm: Arm) -> Fit:
    """How an arm is made: one of `METHODS`, or a function of a user's own, "module:function".

    Raises:
        ValueError: No such method.
    """
    if ":" in arm.method:
        found: Fit = find_function(arm.method)
        return found
    if arm.method not in METHODS:
        known = f"one of {sorted(METHODS)} or 'module:function'"
        raise ValueError(f"`method` of {arm.name!r} must be {known}, found {arm.method!r}")
    return METHODS[arm.method]
