"""All settings that a method runs with: its own over the suite's over the packaged ones.

The functions that train call these, and so does the hash of a run: a changed default, a changed search space or a
changed condition gives another hash, though no suite names it.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from agents import HindsightBidder, registry
from benchmarks.suites.methods.tuning import GENERATIVE_SPACES, candidates_of, read_spaces
from vamo.conditions import BUDGET_RATIOS, RETURN_QUANTILES

if TYPE_CHECKING:  # torch only where something is trained
    from vamo import Config

HISTORY_SEED = 2**38
N_HISTORY = 8
"""Market episodes behind rules that know the prices of other days: apart from all that is played or logged."""
WITH_PRICES = ("online-lp",)
"""Rules that get such a history."""
WITH_TABLE = ("auctionnet-lp",)
TABLE_MONEY = {"interval": 10.0, "max_budget": 6000.0}
"""Rules that need the table of a logged period, and its money for a full-size period: AuctionNet's."""
FROM_LOGS = ("grm", "mpc-response")
"""Rules that know the response that the task's training logs give: what the learners of these logs know."""
CANDIDATE_SEED = 0
"""Of the candidates that a rule or a generative baseline is tuned over."""

Settings = tuple[str, ...]


def option(settings: Settings, key: str) -> str:
    """A setting by name; ValueError if the suite's method has none."""
    found = dict(setting.split("=", 1) for setting in settings)
    if key not in found:
        raise ValueError(f"`settings` of the method must have {key!r}, found {list(settings)}")
    return found[key]


def _without(settings: Settings, key: str) -> Settings:
    return tuple(setting for setting in settings if not setting.startswith(f"{key}="))


PLAIN = ("weighting.candidates=all", "data.dagger_rounds=0")
"""What the methods of all suites have unless they say otherwise: released suites compare weightings and learners one by
one, and were written before these two became defaults of the library (`checked/v2` and `own-states/v1` decided it)."""


def vamo_config(settings: Settings, training: Settings) -> Config:
    """The configuration of `vamo.train`, but for the seed: the library's defaults but for `PLAIN`."""
    from vamo import Config, override

    return override(Config(), (*PLAIN, *training, *settings))


def generative_settings(settings: Settings, training: Settings) -> Any:
    """The settings of a generative baseline (`algo=NAME`), but for the seed."""
    learner = registry.learner(option(settings, "algo"))
    return learner.settings(assignments=(*training, *_without(settings, "algo")))


def generative_points(algorithm: str, settings: Any) -> list[dict[str, Any]]:
    """What a generative baseline may be conditioned on: as many candidates as `vamo` has; the same with its labels."""
    if settings.data.action_label == "hindsight":
        return [{"budget_ratio": ratio} for ratio in BUDGET_RATIOS]
    return list(candidates_of(read_spaces(GENERATIVE_SPACES)[algorithm], len(BUDGET_RATIOS), seed=CANDIDATE_SEED))


def offline_settings(settings: Settings) -> Any:
    """The settings of an offline learner (`algo=NAME`)."""
    return registry.learner(option(settings, "algo")).settings(assignments=_without(settings, "algo"))


def sb3_settings(settings: Settings) -> Any:
    """The settings of a Stable-Baselines3 agent (`algo=NAME`, `steps=N`)."""
    learner = registry.learner(option(settings, "algo"))
    return learner.settings(assignments=[f"run.steps={int(option(settings, 'steps'))}"])


def of_rule(settings: Settings, training: Settings) -> Mapping[str, Any]:
    """Defaults and search space of a rule."""
    agent = option(settings, "agent")
    space = {name: dataclasses.asdict(where) for name, where in read_spaces().get(agent, {}).items()}
    history = {"seed": HISTORY_SEED, "n": N_HISTORY} if agent in WITH_PRICES else {}
    return {
        "defaults": defaults_of(registry.get(agent).load()),
        "space": space,
        "candidate_seed": CANDIDATE_SEED,
        "history": history,
        **({"table": dict(TABLE_MONEY)} if agent in WITH_TABLE else {}),
    }


def of_vamo(settings: Settings, training: Settings) -> Mapping[str, Any]:
    """The configuration, and what the policy may be conditioned on."""
    config = vamo_config(settings, training)
    conditions = BUDGET_RATIOS if config.data.action_label == "hindsight" else RETURN_QUANTILES
    return {"settings": config.to_dict(), "conditions": conditions}


def of_generative(settings: Settings, training: Settings) -> Mapping[str, Any]:
    """The settings, and what the policy may be conditioned on."""
    resolved = generative_settings(settings, training)
    points = generative_points(option(settings, "algo"), resolved)
    return {"settings": resolved.to_dict(), "conditions": points}


def of_offline(settings: Settings, training: Settings) -> Mapping[str, Any]:
    """The settings; nothing is tuned."""
    return {"settings": offline_settings(settings).to_dict()}


def of_sb3(settings: Settings, training: Settings) -> Mapping[str, Any]:
    """The settings; nothing is tuned."""
    return {"settings": sb3_settings(settings).to_dict()}


def of_reference() -> dict[str, Any]:
    """How the best constant multiplier in hindsight is searched for."""
    return defaults_of(HindsightBidder) | {"expected": True}


def defaults_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Defaults of the arguments that are numbers, texts or dataclasses of such; the numbers version covers the rest."""
    found = {}
    for parameter in inspect.signature(function).parameters.values():
        default = parameter.default
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            default = dataclasses.asdict(default)
        if isinstance(default, bool | int | float | str | dict):
            found[parameter.name] = default
    return found
