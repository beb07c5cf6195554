"""What a suite compares: how each kind of method is trained and tuned. An open table.

A method gets the logs of all tasks and the validation episodes of those that it is tuned for, and returns a bidder for
each; it never sees a test episode. To add one, write such a function, or reuse one, and add a line to `METHODS`. The
settings that it runs with come from `benchmarks.suites.methods.resolved`, which the hash of a run reads too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from agents import Bidder, auctionnet_lp_table, make, prices_from_log, record_prices, record_scenarios, registry
from auction_env import ReplayMarket, Task
from auction_env.market.params import REFERENCE_IMPRESSIONS
from benchmarks.suites.methods import resolved
from benchmarks.suites.methods.conditions import choose_condition
from benchmarks.suites.methods.fitting import Curve, Fitted, Method, Setting
from benchmarks.suites.methods.tuning import read_spaces, tune
from benchmarks.suites.numbers import Package
from benchmarks.suites.spec import Arm
from benchmarks.suites.user_file import find_function
from vamo.conditions import conditioned


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
            seed=resolved.CANDIDATE_SEED,
            fixed=fixed,
            **episodes.arguments,
        )
        fitted.bidders[name] = bidder
        fitted.chosen[name] = {"parameters": record.parameters, "stability": record.stability}
    fitted.tune_seconds = time.perf_counter() - started
    return fitted


def _history(agent: str, task: str, setting: Setting) -> dict[str, Any]:
    """What a rule knows of other days, as its argument: prices of the market, or the task's own training logs."""
    episodes = setting.targets[task]
    if setting.data.price_log is not None and agent in (*resolved.WITH_PRICES, *resolved.WITH_TABLE):
        return _from_prices(agent, setting.data.price_log(), episodes.task)
    if agent in resolved.WITH_PRICES:
        seeds = resolved.HISTORY_SEED + np.arange(resolved.N_HISTORY)
        prices = record_prices(episodes.params, episodes.population, seeds, task=episodes.task)
        # a suite's tests may be of a market that has changed since: the history stays that of the logs' market
        return {"history": prices, "is_of_played_market": False}
    if agent in resolved.FROM_LOGS:
        return {"history": record_scenarios(setting.logs[0][task], episodes.task)}
    return {}


def _from_prices(agent: str, log: ReplayMarket, task: Task) -> dict[str, Any]:
    """What a rule knows of logged periods: prices, or AuctionNet's table at the size of the periods."""
    if agent in resolved.WITH_PRICES:
        return {"history": prices_from_log(log, task=task), "is_of_played_market": False}
    size = float(log.n_impressions.mean()) / REFERENCE_IMPRESSIONS
    money = resolved.TABLE_MONEY
    table = auctionnet_lp_table(log, interval=money["interval"] * size, max_budget=money["max_budget"] * size)
    return {"table": table}


def fit_vamo(setting: Setting) -> Fitted:
    """One model for all tasks (`vamo.train`); the settings are overrides of `vamo.Config`."""
    return _fit_vamo(setting, [list(setting.logs[1])])


def fit_vamo_each(setting: Setting) -> Fitted:
    """A model of its own for every task that is tuned for: the single-task baseline, with `train.method=single`."""
    return _fit_vamo(setting, [[name] for name in setting.targets])


def _fit_vamo(setting: Setting, groups: Iterable[list[str]]) -> Fitted:
    from vamo import VamoBidder, train

    config = resolved.vamo_config(setting.settings, setting.training)
    sources, validation = setting.logs
    fitted, started = Fitted(bidders={}), time.perf_counter()
    policies: dict[str, VamoBidder] = {}
    for targets in groups:
        result = train(sources, validation, config, targets=targets, seed=setting.train_seed, device=setting.device)
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
    settings = resolved.generative_settings(setting.settings, setting.training)
    points = resolved.generative_points(algorithm, settings)
    sources, validation = setting.logs
    fitted, started = Fitted(bidders={}), time.perf_counter()
    candidates: dict[str, dict[str, Bidder]] = {}
    for name in setting.targets:
        logs = {"validation": validation[name], "settings": settings, "seed": setting.train_seed}
        bidder = learner.train(sources[name], **logs).bidder
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
    settings = resolved.offline_settings(setting.settings)
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
    settings = resolved.sb3_settings(setting.settings)
    fitted, started = Fitted(bidders={}), time.perf_counter()
    for name, episodes in setting.targets.items():
        market = MarketExperience(params=episodes.params, population=episodes.population)
        result = learner.train(market, task=episodes.task, settings=settings, seed=setting.train_seed)
        fitted.bidders[name] = result.bidder
        fitted.n_steps += steps
    fitted.train_seconds = time.perf_counter() - started
    fitted.step_seconds = fitted.train_seconds / fitted.n_steps
    return fitted


_WITH_VAMO: tuple[Package, ...] = ("auction_env", "agents", "vamo", "benchmarks")

METHODS: dict[str, Method] = {
    "rule": Method(fit=fit_rule, resolve=resolved.of_rule, has_logs=False),
    "vamo": Method(fit=fit_vamo, resolve=resolved.of_vamo, packages=_WITH_VAMO),
    "vamo-each": Method(fit=fit_vamo_each, resolve=resolved.of_vamo, packages=_WITH_VAMO),
    "generative": Method(fit=fit_generative, resolve=resolved.of_generative, packages=_WITH_VAMO),
    "offline": Method(fit=fit_offline, resolve=resolved.of_offline),
    "sb3": Method(fit=fit_sb3, resolve=resolved.of_sb3, has_logs=False),
}
"""How the methods of suites are made, by the name that an `Arm` gives."""


def method_of(arm: Arm) -> Method:
    """The method of an arm: one of `METHODS`, or a function of a user's own, "module:function".

    Nothing is known of a user's function but its settings, so that a run of it depends on all packages.

    Raises:
        ValueError: No such method, or an arm that chooses logs for a method that learns from none.
    """
    if ":" in arm.method:
        return Method(fit=find_function(arm.method), packages=_WITH_VAMO)
    if arm.method not in METHODS:
        known = f"one of {sorted(METHODS)} or 'module:function'"
        raise ValueError(f"`method` of {arm.name!r} must be {known}, found {arm.method!r}")
    method = METHODS[arm.method]
    if arm.logs != "training" and not method.has_logs:
        rule = f"'training' for method {arm.method!r}, which learns from no logs"
        raise ValueError(f"`logs` of {arm.name!r} must be {rule}, found {arm.logs!r}")
    return method
